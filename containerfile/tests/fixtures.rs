//! The shared fixtures: parser trees, expansion cases, ignore patterns, ten realistic files.
#![expect(
    clippy::print_stderr,
    reason = "a skipped test and a measured time must be seen"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use rbuild_containerfile as containerfile;

use containerfile::ignore::IgnoreFile;
use containerfile::{EscapeChar, Source, dump, expand, parse};

/// The fixtures, or a line on stderr that says why a test does nothing.
fn fixtures(test: &str) -> Option<PathBuf> {
    let directory = PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../shared/fixtures"
    ));
    if directory.is_dir() {
        return Some(directory);
    }
    eprintln!(
        "SKIP fixtures: {test}, {} does not exist",
        directory.display()
    );
    None
}

fn read(path: PathBuf) -> String {
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn directories(parent: PathBuf) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(&parent)
        .expect("fixtures")
        .map(|entry| entry.expect("entry").path())
        .collect();
    found.sort();
    found
}

#[test]
fn every_valid_file_dumps_as_buildkit_does() {
    let Some(fixtures) = fixtures("every_valid_file_dumps_as_buildkit_does") else {
        return;
    };
    let cases = directories(fixtures.join("parser/valid"));
    assert_eq!(cases.len(), 21);
    for case in cases {
        let source = Source::new("Dockerfile", read(case.join("Dockerfile")));
        assert_eq!(
            dump::s_expressions(&source),
            read(case.join("result")),
            "{}",
            case.display()
        );
    }
}

#[test]
fn every_invalid_file_is_an_error_with_a_span() {
    let Some(fixtures) = fixtures("every_invalid_file_is_an_error_with_a_span") else {
        return;
    };
    for case in directories(fixtures.join("parser/invalid")) {
        let source = Source::new("Dockerfile", read(case.join("Dockerfile")));
        let parsed = parse(&source);
        assert!(parsed.has_errors(), "{}", case.display());
        assert!(
            parsed
                .diagnostics
                .iter()
                .all(|found| found.span.end() <= source.text().len()),
            "{}",
            case.display()
        );
    }
}

#[test]
fn instructions_report_their_lines() {
    let Some(fixtures) = fixtures("instructions_report_their_lines") else {
        return;
    };
    let source = Source::new("Dockerfile", read(fixtures.join("parser/lines/Dockerfile")));
    let parsed = parse(&source);
    let stage = &parsed.file.stages[0];
    let ranges: Vec<_> = std::iter::once(stage.from.span)
        .chain(
            stage
                .instructions
                .iter()
                .map(|instruction| instruction.span),
        )
        .map(|span| source.line_range(span))
        .collect();
    assert_eq!(ranges, [5..=5, 11..=12, 17..=31]);
}

#[test]
fn words_expand_as_in_a_shell() {
    let Some(fixtures) = fixtures("words_expand_as_in_a_shell") else {
        return;
    };
    let lookup = |name: &str| match name {
        "PWD" => Some("/home".to_owned()),
        "SHELL" => Some("bash".to_owned()),
        "KOREAN" => Some("한국어".to_owned()),
        "NULL" => Some(String::new()),
        _ => None,
    };
    let mut cases = 0;
    for (number, line) in read(fixtures.join("shell/envVarTest")).lines().enumerate() {
        let fields: Vec<&str> = line.split('|').map(str::trim).collect();
        let &[platform, input, expected] = fields.as_slice() else {
            continue;
        };
        if line.starts_with('#') || platform == "W" {
            continue;
        }
        cases += 1;
        let result = expand::expand(input, &lookup, EscapeChar::Backslash, expand::Mode::Word);
        match (expected, result) {
            ("error", result) => assert!(
                result.is_err(),
                "line {}: {input} gave {result:?}",
                number + 1
            ),
            (expected, result) => assert_eq!(
                result.map(|one| one.text).as_deref(),
                Ok(expected),
                "line {}: {input}",
                number + 1
            ),
        }
    }
    assert!(cases > 200, "only {cases} cases");
}

#[test]
fn values_split_into_words_as_in_a_shell() {
    let Some(fixtures) = fixtures("values_split_into_words_as_in_a_shell") else {
        return;
    };
    let mut environment = BTreeMap::new();
    for (number, line) in read(fixtures.join("shell/wordsTest")).lines().enumerate() {
        if let Some((name, value)) = line
            .strip_prefix("ENV ")
            .and_then(|pair| pair.split_once('='))
        {
            environment.insert(name.to_owned(), value.to_owned());
        } else if let Some((input, expected)) =
            line.split_once('|').filter(|_| !line.starts_with('#'))
        {
            let lookup = |name: &str| environment.get(name).cloned();
            let words = expand::expand_words(input.trim(), &lookup, EscapeChar::Backslash)
                .map(|one| one.words);
            let words = words.unwrap_or_else(|_| vec!["error".to_owned()]);
            let expected: Vec<&str> = expected.trim_start_matches(' ').split(',').collect();
            assert_eq!(words, expected, "line {}: {input}", number + 1);
        }
    }
}

/// The answer for a path asked whole, and level by level, which must agree.
fn ignored(file: &IgnoreFile, path: &str) -> bool {
    let whole = file.matches(path);
    let mut directory = file.root();
    let mut answer = false;
    let mut reachable = true;
    for name in path.trim_end_matches('/').split('/') {
        answer = file.ignores(&directory, name);
        assert!(
            reachable || answer,
            "{path}: skipped a directory above a wanted path"
        );
        let entered = file.enter(&directory, name);
        assert_eq!(entered.ignored, answer, "{path}");
        reachable &= entered.descend;
        directory = entered.directory;
    }
    if !path.starts_with('/') {
        assert_eq!(whole, answer, "{path}");
    }
    whole
}

#[test]
fn ignore_patterns_match_as_moby_has_them() {
    let Some(fixtures) = fixtures("ignore_patterns_match_as_moby_has_them") else {
        return;
    };
    let mut cases = 0;
    for line in read(fixtures.join("patterns/matches.tsv")).lines().skip(1) {
        let fields: Vec<&str> = line.split('\t').collect();
        let &[pattern, path, expected] = fields.as_slice() else {
            panic!("{line:?}")
        };
        let file = IgnoreFile::from_patterns([pattern]).expect(pattern);
        assert_eq!(
            ignored(&file, path).to_string(),
            expected,
            "{pattern} on {path}"
        );
        cases += 1;
    }
    for line in read(fixtures.join("patterns/matches-multi.tsv"))
        .lines()
        .skip(1)
    {
        let fields: Vec<&str> = line.split('\t').collect();
        let file = IgnoreFile::from_patterns(fields[2..].iter().copied()).expect(line);
        assert_eq!(ignored(&file, fields[0]).to_string(), fields[1], "{line}");
        cases += 1;
    }
    assert_eq!(cases, 72);
}

#[test]
fn the_ten_realistic_files_parse_without_errors() {
    let Some(fixtures) = fixtures("the_ten_realistic_files_parse_without_errors") else {
        return;
    };
    let cases = directories(fixtures.join("containerfiles"));
    assert_eq!(cases.len(), 10);
    for case in cases {
        let source = Source::new("Containerfile", read(case.join("Containerfile")));
        let parsed = parse(&source);
        assert!(
            !parsed.has_errors(),
            "{}: {:#?}",
            case.display(),
            parsed.diagnostics
        );
        assert!(!parsed.file.stages.is_empty());
    }
}
