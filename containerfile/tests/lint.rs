//! The linter: every rule on its own examples and cases, the shared fixtures, fixes, comments, the documentation.
//!
//! `tests/lint/RULE` holds the cases of a rule: after `--- hits 3, 5` comes a file in which the rule finds something on these lines
//! and nowhere else, after `--- none` one in which it finds nothing. Other rules may say what they like there.
#![expect(clippy::print_stderr, reason = "a skipped test must be seen")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use rbuild_containerfile as containerfile;

use containerfile::ignore::IgnoreFile;
use containerfile::lint::{self, LabelForm, Limits, Neighbour, Options, Report, Rule};
use containerfile::{Diagnostic, Severity, Source};

fn source(text: &str) -> Source {
    Source::new("Containerfile", text)
}

/// What the rules of these names need to say anything.
fn options(rule: &str) -> Options {
    let ignore = (rule == "CopyIgnoredFile")
        .then(|| IgnoreFile::parse("secret.txt\nbuild\nsrc\n!src/keep\n").expect("patterns"));
    let trusted = if rule == "DL3026" {
        vec!["quay.io".to_owned()]
    } else {
        Vec::new()
    };
    Options {
        ignore,
        trusted_registries: trusted,
        neighbours: neighbours(rule),
        labels: labels(rule),
        strict_labels: rule == "DL3050",
        ..Options::default()
    }
}

/// The label schema of the rules that need one.
fn labels(rule: &str) -> BTreeMap<String, LabelForm> {
    match rule {
        "DL3049" | "DL3050" | "DL3051" | "DL3052" => {
            [("version".to_owned(), LabelForm::Semver)].into()
        }
        _ => BTreeMap::new(),
    }
}

/// What lies beside the files of the rules that look there.
fn neighbours(rule: &str) -> Vec<Neighbour> {
    let (name, text) = match rule {
        "RB403" => (
            "run.sh",
            "# podman run --net=host x\nexec podman run --rm --network host app\n",
        ),
        "RB503" => ("Makefile", "image:\n\tpodman build -t app .\n"),
        "RB709" => (
            ".github/workflows/ci.yml",
            "env:\n  # PY_VERSION: 1\n  GO_VERSION: '1.21'\n  TOOL_VERSION: \"1.2.3\"\n  OFF_VERSION: ${{ x }}\n\
             run: build --build-arg MAKE_VERSION=8 .\n",
        ),
        "RB901" => ("dir/Containerfile", "FROM scratch\nUSER 65532:65533\n"),
        _ => return Vec::new(),
    };
    vec![Neighbour {
        name: name.to_owned(),
        text: text.into(),
    }]
}

fn lint(text: &str, rule: &str) -> Report {
    let name = lint::rule(rule).map_or("Containerfile", Rule::example_name);
    lint::lint(&Source::new(name, text), &options(rule))
}

fn shown(text: &str, findings: &[Diagnostic]) -> String {
    let source = source(text);
    findings.iter().fold(String::new(), |mut all, found| {
        let place = source.line_col(found.span.start());
        let _ = writeln!(
            all,
            "{}:{} {} {}",
            place.line,
            place.column,
            found.rule.unwrap_or("-"),
            found.message
        );
        all
    })
}

/// Images have cases of their own, in `lint_images.rs`.
fn of_texts() -> impl Iterator<Item = &'static &'static Rule> {
    let all = lint::rules().iter();
    all.filter(|rule| !rule.is_about_images_only())
}

/// The cases of `tests/peers/hadolint`: after `--- CODE hadolint LINES here LINES` comes a file, in which hadolint 2.15.1 finds the code on
/// the first lines, and the rule that stands for it here something on the second ones.
#[test]
fn hadolints_cases_end_as_hadolint_has_them_or_as_the_documentation_says() {
    let cases = include_str!("peers/hadolint");
    let documented = include_str!("../../docs/lint.md");
    let (mut wrong, mut number) = (String::new(), 0);
    for case in cases.split("--- ").skip(1) {
        let (head, text) = case.split_once('\n').expect("a head");
        let [code, _, theirs, _, expected] = head.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{head}")
        };
        let rule = lint::rule(code).expect("a rule");
        let found = lint::lint(&source(text), &Options::default()).findings;
        let lines: BTreeSet<usize> = found
            .iter()
            .filter(|found| found.rule == Some(rule.id))
            .map(|found| source(text).line(found.span.start()))
            .collect();
        let lines: Vec<String> = lines.iter().map(usize::to_string).collect();
        let ours = if lines.is_empty() {
            "-".to_owned()
        } else {
            lines.join(",")
        };
        if ours != expected {
            let _ = writeln!(wrong, "{head}: {ours}\n{text}");
        }
        let differs = format!("| {code} | {}: ", rule.id);
        if ours != theirs && !documented.contains(&differs) {
            let _ = writeln!(wrong, "{head}: {ours}, which is not documented\n{text}");
        }
        number += 1;
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(number > 200);
}

#[test]
fn ids_and_aliases_name_one_rule_each() {
    let mut names = BTreeSet::new();
    for rule in lint::rules() {
        for name in std::iter::once(&rule.id).chain(rule.aliases) {
            assert!(names.insert(name.to_ascii_lowercase()), "{name} twice");
        }
        assert!(
            !rule.title.ends_with('.') && rule.why.ends_with('.'),
            "{}",
            rule.id
        );
        assert!(std::ptr::eq(lint::rule(rule.id).expect("found"), *rule));
    }
}

#[test]
fn a_bad_example_hits_its_rule_alone_and_a_good_one_none() {
    let mut wrong = String::new();
    for rule in of_texts() {
        let bad = lint(rule.bad, rule.id).findings;
        let hit: BTreeSet<_> = bad.iter().filter_map(|found| found.rule).collect();
        if hit != BTreeSet::from([rule.id]) {
            let _ = writeln!(
                wrong,
                "bad example of {}:\n{}\n{}",
                rule.id,
                rule.bad,
                shown(rule.bad, &bad)
            );
        }
        let good = lint(rule.good, rule.id).findings;
        if !good.is_empty() {
            let _ = writeln!(
                wrong,
                "good example of {}:\n{}\n{}",
                rule.id,
                rule.good,
                shown(rule.good, &good)
            );
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

fn cases(rule: &Rule) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/lint")
        .join(rule.id)
}

#[test]
fn every_rule_hits_the_lines_of_its_cases_and_no_others() {
    let mut wrong = String::new();
    for rule in of_texts() {
        let path = cases(rule);
        let text =
            fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let (mut hits, mut misses) = (0, 0);
        for case in text.split("--- ").skip(1) {
            let (head, body) = case.split_once('\n').expect("a file below");
            let expected: Vec<usize> = match head.trim().strip_prefix("hits") {
                Some(lines) => lines
                    .split(',')
                    .map(|line| line.trim().parse().expect("a line"))
                    .collect(),
                None => Vec::new(),
            };
            let report = lint(body, rule.id);
            let own = report
                .findings
                .iter()
                .filter(|found| found.rule == Some(rule.id));
            let found: Vec<usize> = own
                .map(|found| source(body).line(found.span.start()))
                .collect();
            if found != expected {
                let _ = writeln!(
                    wrong,
                    "{}, --- {head}\n{body}\n{}",
                    rule.id,
                    shown(body, &report.findings)
                );
            }
            if expected.is_empty() {
                misses += 1
            } else {
                hits += 1
            }
        }
        assert!(
            hits > 0 && misses > 0,
            "{} needs cases of both kinds",
            rule.id
        );
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn no_case_is_of_no_rule() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lint");
    for entry in fs::read_dir(directory).expect("cases") {
        let name = entry.expect("an entry").file_name();
        let name = name.to_string_lossy();
        assert!(lint::rules().iter().any(|rule| rule.id == name), "{name}");
    }
}

/// A fix makes its finding go away and brings no error.
#[test]
fn a_fixed_file_has_none_of_the_findings_that_had_a_fix() {
    let mut fixes = BTreeSet::new();
    for rule in lint::rules() {
        let before = lint(rule.bad, rule.id).findings;
        let fixed: Vec<_> = before.iter().filter(|found| found.fix.is_some()).collect();
        if fixed.is_empty() {
            continue;
        }
        fixes.insert(rule.id);
        let after_text = lint::fixed(rule.bad, &lint::fixes(rule.bad, &before));
        let after = lint(&after_text, rule.id).findings;
        assert!(
            after.iter().all(|found| found.fix.is_none()),
            "{after_text}\n{}",
            shown(&after_text, &after)
        );
        assert!(
            after.iter().all(|found| found.severity != Severity::Error),
            "{after_text}\n{}",
            shown(&after_text, &after)
        );
    }
    assert!(fixes.len() > 12, "{fixes:?}");
}

#[test]
fn units_have_comments_and_rules_of_their_own() {
    let unit = |text: &str| {
        let report = lint::lint(&Source::new("a/x.volume", text), &Options::default());
        shown(text, &report.findings)
    };
    let text = "[Volume]\nVolumeName=x\n[Service]\nExecStartPost=/usr/bin/podman unshare chmod -R 777 \"x y\"\n";
    assert_eq!(unit(text), "4:48 RB604 everybody may write this\n");
    let excused = text.replace("Exec", "# rbuild ignore=RB604 for a test\nExec");
    assert_eq!(unit(&excused), "");
    let useless = "# rbuild ignore=RB903 no\n[Volume]\nVolumeName=x\n";
    assert_eq!(
        unit(useless),
        "1:1 RB002 nothing is found here that this comment ignores\n"
    );
    assert_eq!(
        unit("[Volume]\nVolumeName\n"),
        "2:1 RB000 this is neither a section nor KEY=VALUE\n"
    );
    // What is called like a unit and has nothing of one is a Containerfile.
    assert_eq!(unit("FROM scratch\nUSER 7:7\n"), "");
}

#[test]
fn overlapping_fixes_are_made_one_after_the_other() {
    let text = "from scratch as A\nexpose 80/TCP\nuser 7\n";
    let mut text = text.to_owned();
    for _ in 0..4 {
        let findings = lint(&text, "").findings;
        text = lint::fixed(&text, &lint::fixes(&text, &findings));
    }
    assert_eq!(text, "from scratch as a\nexpose 80/tcp\nuser 7:7\n");
}

#[test]
fn comments_excuse_what_they_name_for_one_instruction() {
    let count = |text: &str, rule: &str| {
        let findings = lint(text, rule).findings;
        findings
            .iter()
            .filter(|found| found.rule == Some(rule))
            .count()
    };
    let file = |comment: &str| format!("FROM scratch\n{comment}\nUSER app:app\n");
    for (comment, left) in [
        ("# rbuild ignore=RB103 the base knows it", 0),
        ("# rbuild ignore=RB105,rb103 the base knows it", 0),
        ("# hadolint ignore=DL3066", 0),
        ("#hadolint ignore=DL3000, DL3066", 0),
        ("# trivy:ignore:AVD-DS-0002", 1),
        ("# rbuild ignore=RB103", 1),
        ("# rbuild ignore=RB105 another one", 1),
        ("# rbuild ignore=RB103 too far away\n", 0),
        ("# rbuild ignore=RB103 too far away\nLABEL a=b", 1),
        ("# a comment that says ignore=RB103", 1),
    ] {
        assert_eq!(count(&file(comment), "RB103"), left, "{comment:?}");
    }
    let root = |comment: &str| format!("FROM scratch\n{comment}\nUSER 0:0\n");
    assert_eq!(
        count(
            &root("# trivy:ignore:DS026 trivy:ignore:AVD-DS-0002"),
            "RB102"
        ),
        0
    );
    assert_eq!(count(&root("# trivy:ignore:DS026"), "RB102"), 1);
    let inside = "FROM scratch\nUSER \\\n# rbuild ignore=RB103 inside of it\n app:app\n";
    assert_eq!(count(inside, "RB103"), 0);
    let global = "# hadolint global ignore=DL3066\nFROM scratch\nLABEL a=b\nUSER app:app\n";
    assert_eq!(count(global, "RB103"), 0);
    let data = "FROM scratch\nCOPY <<E /x\n# rbuild ignore=RB103 this is data\nE\nUSER app:app\n";
    assert_eq!((count(data, "RB103"), count(data, "RB002")), (1, 0));
    // What cannot be read is never excused, and an ignore beside it is not called useless.
    let broken = "FROM scratch\n# rbuild ignore=RB000 no\nUSERR app:app\n";
    assert_eq!((count(broken, "RB000"), count(broken, "RB002")), (1, 0));
}

#[test]
fn the_check_directive_leaves_buildkits_rules_out() {
    let rules = |text: &str| -> Vec<&'static str> {
        let report = lint(text, "");
        report
            .findings
            .iter()
            .filter_map(|found| found.rule)
            .collect()
    };
    let body = "FROM scratch\nARG API_TOKEN\nWORKDIR x\nUSER app:app\n";
    assert_eq!(rules(body), ["RB801", "WorkdirRelativePath", "RB103"]);
    let skip = |names: &str| rules(&format!("# check=skip={names}\n{body}"));
    assert_eq!(skip("WorkdirRelativePath"), ["RB801", "RB103"]);
    assert_eq!(
        skip("SecretsUsedInArgOrEnv"),
        ["WorkdirRelativePath", "RB103"]
    );
    assert_eq!(skip("all"), ["RB103"]);
    assert!(lint(&format!("# check=error=true\n{body}"), "").warnings_fail);
}

#[test]
fn a_project_decides_about_severities_but_not_about_what_cannot_be_read() {
    let options = Options {
        severities: [
            ("RB103", None),
            ("WorkdirRelativePath", Some(Severity::Error)),
            ("RB000", None),
        ]
        .into(),
        ..Options::default()
    };
    let report = lint::lint(
        &source("FROM scratch\nWORKDIR x\nUSER app:app\nNOTHING\n"),
        &options,
    );
    let found: Vec<_> = report
        .findings
        .iter()
        .map(|found| (found.rule.unwrap_or_default(), found.severity))
        .collect();
    assert_eq!(
        found,
        [
            ("WorkdirRelativePath", Severity::Error),
            ("RB000", Severity::Error)
        ]
    );
}

#[test]
fn a_named_context_is_no_image() {
    let text = "FROM debian\nCOPY --chown=7:7 a /srv/a\nUSER 7:7\n";
    let found = |contexts: &[&str]| {
        let options = Options {
            contexts: contexts.iter().map(|name| (*name).to_owned()).collect(),
            ..Options::default()
        };
        shown(text, &lint::lint(&source(text), &options).findings)
    };
    assert!(found(&["other"]).contains("RB701"));
    assert_eq!(found(&["debian"]), "");
}

#[test]
fn a_project_draws_the_lines_of_rules() {
    let text = "FROM scratch\nEXPOSE 80\nUSER 100000:100000\n";
    let found = |limits| {
        let options = Options {
            limits,
            ..Options::default()
        };
        shown(text, &lint::lint(&source(text), &options).findings)
    };
    let usual = found(Limits::default());
    assert!(
        usual.contains("RB106") && usual.contains("RB401"),
        "{usual}"
    );
    let limits = Limits {
        highest_id: 100_000,
        first_port: 80,
    };
    assert_eq!(found(limits), "");
}

#[test]
fn everything_is_found_in_one_run_also_after_errors() {
    let report = lint(
        "FROM scratch\nNOTHING\nRUN --nothing x\nUSER app:app\nEXPOSE 80/TCP\n",
        "",
    );
    let rules: Vec<_> = report
        .findings
        .iter()
        .filter_map(|found| found.rule)
        .collect();
    assert_eq!(
        rules,
        ["RB000", "RB000", "RB103", "RB401", "ExposeProtoCasing"]
    );
}

/// What the rows of the fixtures say and the rule does not: `COPY --from=web / /` does take the passwd file along.
const DISAGREED: [(&str, &str); 1] = [("09-nginx-dynamic", "RB110")];

#[test]
fn the_ten_realistic_files_have_the_findings_that_they_must_have() {
    let directory =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/fixtures/containerfiles");
    let Ok(entries) = fs::read_dir(&directory) else {
        eprintln!("SKIP fixtures: {} does not exist", directory.display());
        return;
    };
    let mut rows = 0;
    let mut wrong = String::new();
    for entry in entries {
        let case = entry.expect("an entry").path();
        let name = case
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let table = fs::read_to_string(case.join("expect.tsv")).expect("rows");
        for row in table.lines().skip(1) {
            let [file, kind, rule, line, ..] = row.split('\t').collect::<Vec<_>>()[..] else {
                panic!("{row}");
            };
            // Rules that need the built image are not rules yet.
            let known = kind == "none" || lint::rule(rule).is_some();
            if !known || !["must", "must-not", "none"].contains(&kind) {
                continue;
            }
            let text = fs::read_to_string(case.join(file)).expect("a file");
            let beside = fs::read_to_string(case.join("Containerfile")).expect("a Containerfile");
            let options = Options {
                neighbours: vec![Neighbour {
                    name: "Containerfile".to_owned(),
                    text: beside.into(),
                }],
                ..Options::default()
            };
            let findings = lint::lint(&Source::new(file, text.as_str()), &options).findings;
            let hits = |rule: &str, line: &str| {
                findings.iter().any(|found| {
                    found.rule == Some(rule)
                        && (line == "-"
                            || source(&text).line(found.span.start()).to_string() == line)
                })
            };
            let right = match kind {
                "must" => hits(rule, line),
                "must-not" => !hits(rule, "-"),
                _ => findings.is_empty(),
            };
            rows += 1;
            if !right && !DISAGREED.contains(&(name.as_str(), rule)) {
                let _ = writeln!(wrong, "{name}: {row}\n{}", shown(&text, &findings));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(rows > 50, "{rows} rows");
}

/// The files are like well-known ones; each finding was looked at and is right.
#[test]
fn well_known_files_have_these_findings_and_no_others() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wellknown");
    let mut paths: Vec<PathBuf> = fs::read_dir(&directory)
        .expect("files")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|end| end == "Containerfile"))
        .collect();
    paths.sort();
    assert!(paths.len() > 30, "{} files", paths.len());
    let mut current = String::new();
    for path in paths {
        let text = fs::read_to_string(&path).expect("a file");
        let name = path.file_stem().expect("a name").to_string_lossy();
        let findings = lint(&text, "").findings;
        let _ = writeln!(current, "{name}\n{}", shown(&text, &findings));
    }
    let path = directory.join("findings");
    if std::env::var_os("RBUILD_BLESS").is_some() {
        fs::write(&path, &current).expect("findings");
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(written == current, "{current}");
}

#[test]
fn the_documentation_is_that_of_the_rules() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/lint.md");
    let current = lint::catalogue();
    if std::env::var_os("RBUILD_BLESS").is_some() {
        fs::write(&path, &current).expect("docs/lint.md");
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == current,
        "run RBUILD_BLESS=1 cargo test -p rbuild-containerfile --test lint"
    );
}
