//! What is answered to an editor: completions at a cursor, pages below a pointer, actions about findings.
//!
//! In the texts `|` is the cursor.

use std::fmt::Write as _;

use rbuild_containerfile as containerfile;

use containerfile::editor::{self, CompletionKind, completions, hover};
use containerfile::lint::{self, Options};
use containerfile::{Fix, Source, Span, parse};

/// The text without the cursor, and where that was.
fn cursor(text: &str) -> (String, usize) {
    let at = text.find('|').expect("a cursor");
    (text.replacen('|', "", 1), at)
}

/// What the text becomes by each completion, as the line of the cursor.
fn written(text: &str) -> Vec<String> {
    let (text, at) = cursor(text);
    let all = completions(&text, at).into_iter();
    all.map(|one| {
        let mut text = text.clone();
        text.replace_range(one.replaces.start()..at, &one.text);
        let start = text[..one.replaces.start()]
            .rfind('\n')
            .map_or(0, |end| end + 1);
        text[start..].lines().next().unwrap_or_default().to_owned()
    })
    .collect()
}

fn labels(text: &str) -> Vec<String> {
    let (text, at) = cursor(text);
    completions(&text, at)
        .into_iter()
        .map(|one| one.label)
        .collect()
}

const NONE: [&str; 0] = [];

#[test]
fn instructions_are_completed_where_a_line_begins() {
    let all = labels("|");
    assert_eq!(all.len(), 18);
    assert_eq!(labels("FROM a\nRU|N x"), all);
    assert!(written("FROM a\n  ru|").contains(&"  run".to_owned()));
    assert!(written("FROM a\nRUN x \\\n # y\n  z\nW|").contains(&"WORKDIR".to_owned()));
    let inner = labels("FROM a\nONBUILD |");
    assert!(inner.contains(&"RUN".to_owned()) && !inner.contains(&"FROM".to_owned()));
    assert_eq!(labels("FROM a\n# R|"), NONE);
    assert_eq!(labels("FROM a\nRUN x \\\n  R|"), NONE);
    assert_eq!(labels("FROM a\nRUN <<EOF\nR|\nEOF\n"), NONE);
    let (text, at) = cursor("|");
    let first = &completions(&text, at)[0];
    assert!(first.page.contains("--checksum") && first.kind == CompletionKind::Keyword);
}

#[test]
fn flags_are_those_of_the_instruction() {
    assert_eq!(written("FROM --p|"), ["FROM --platform=", "FROM --after="]);
    assert!(
        written("FROM a\nCOPY --link --fr| x y").contains(&"COPY --link --from= x y".to_owned())
    );
    assert!(written("FROM a\nCOPY \\\n  --|").contains(&"  --link".to_owned()));
    assert!(written("FROM a\nONBUILD ADD -|").contains(&"ONBUILD ADD --checksum=".to_owned()));
    assert!(labels("FROM a\nRUN |").contains(&"--mount".to_owned()));
    assert_eq!(
        labels("FROM a\nRUN ls -|"),
        NONE,
        "behind the first word flags are the program's"
    );
    assert_eq!(labels("FROM a\nENV --|"), NONE);
}

#[test]
fn stages_are_completed_where_they_can_be_meant() {
    let file = "FROM x AS Build\nFROM build AS test\n";
    assert_eq!(
        labels(&format!("{file}FROM |")),
        ["Build", "test", "scratch", "--platform", "--after"]
    );
    assert_eq!(
        written(&format!("{file}FROM te|")),
        ["FROM Build", "FROM test", "FROM scratch"]
    );
    assert_eq!(
        written(&format!("{file}COPY --from=|")),
        ["COPY --from=Build"]
    );
    assert_eq!(
        labels(&format!(
            "{file}FROM scratch\nCOPY --from=b| /a /b\nFROM y AS later"
        )),
        ["Build", "test"]
    );
    assert_eq!(
        labels(&format!("{file}RUN --mount=type=bind,from=|")),
        ["Build"]
    );
    assert_eq!(labels("FROM a |"), ["AS"]);
    assert_eq!(labels("FROM a AS |"), NONE);
}

#[test]
fn values_of_flags_are_completed() {
    assert_eq!(
        written("FROM a\nRUN --mount=type=ca|,x"),
        ["bind", "cache", "secret", "ssh", "tmpfs"]
            .map(|kind| format!("RUN --mount=type={kind},x"))
    );
    assert!(
        written("FROM a\nRUN --mount=type=cache,ta|")
            .contains(&"RUN --mount=type=cache,target=".to_owned())
    );
    assert_eq!(
        written("FROM a\nCOPY --chown=|"),
        ["COPY --chown=65532:65532"]
    );
    assert_eq!(labels("FROM a\nCOPY --link=|"), ["true", "false"]);
    assert!(written("FROM --platform=|").contains(&"FROM --platform=$BUILDPLATFORM".to_owned()));
    assert_eq!(
        labels("FROM a\nHEALTHCHECK --interval=5s |")[..2],
        ["CMD", "NONE"]
    );
    assert_eq!(written("FROM a\nUSER 6|"), ["USER 65532:65532"]);
}

#[test]
fn variables_are_those_that_can_be_seen() {
    let file =
        "ARG BASE=a\nFROM $BASE AS b\nARG VERSION=1 OTHER\nENV A=1 PATH=/x\nFROM b\nENV B=2\n";
    assert_eq!(
        labels(&format!("{file}RUN echo $|\nENV LATER=1")),
        ["A", "B", "OTHER", "PATH", "VERSION"]
    );
    assert_eq!(labels(&format!("{file}ENV OWN=1 C=${{V|}}"))[4], "VERSION");
    assert_eq!(
        written(&format!("{file}USER ${{V|"))
            .last()
            .map(String::as_str),
        Some("USER ${VERSION}")
    );
    assert_eq!(
        written(&format!("{file}USER ${{V|}}"))
            .last()
            .map(String::as_str),
        Some("USER ${VERSION}")
    );
    assert_eq!(labels(&format!("{file}WORKDIR \\$|")), NONE);
    assert_eq!(
        labels(&format!("{file}RUN <<EOF\necho \"$|\nEOF")),
        ["A", "B", "OTHER", "PATH", "VERSION"]
    );
    let global = labels("ARG BASE=a\nFROM $|");
    assert!(global.contains(&"BASE".to_owned()) && global.contains(&"BUILDPLATFORM".to_owned()));
    let declared = labels(&format!("{file}ARG |"));
    assert!(declared.contains(&"BASE".to_owned()) && declared.contains(&"TARGETARCH".to_owned()));
    assert!(!declared.contains(&"VERSION".to_owned()));
}

#[test]
fn no_place_in_any_text_is_too_strange() {
    let texts = [
        "",
        "😀 |\u{fffc}",
        "FROM a\nRUN <<A <<B\nx\nA\n$y\nB\n",
        "ONBUILD ONBUILD ONBUILD RUN --",
        "# escape=`\nFROM a `\n AS b\nRUN ${x:-$y} \\",
        "\u{feff}FROM a\r\nCOPY --from=\\\r\n a b",
        "COPY [\"a\", \"--x\", $",
    ];
    for text in texts {
        for at in 0..=text.len() {
            for one in completions(text, at) {
                assert!(one.replaces.start() <= one.replaces.end() && one.replaces.end() <= at);
                assert!(
                    text.is_char_boundary(one.replaces.start())
                        && text.is_char_boundary(one.replaces.end())
                );
            }
            let source = Source::new("", text);
            let findings = lint::lint(&source, &Options::default()).findings;
            if let Some(hover) = hover(&source, &findings, at) {
                assert!(hover.span.start() <= at && at <= hover.span.end());
            }
        }
    }
}

fn hovered(text: &str) -> Option<(String, String)> {
    let (text, at) = cursor(text);
    let source = Source::new("Containerfile", text);
    let report = lint::lint(&source, &Options::default());
    let hover = hover(&source, &report.findings, at)?;
    Some((hover.text, source.slice(hover.span).to_owned()))
}

#[test]
fn a_pointer_shows_the_pages_of_rules_and_instructions() {
    let (text, place) = hovered("FROM scratch\nCOPY a /a\nUSER a|pp\n").expect("an answer");
    assert!(
        text.contains("## RB103: ") && text.contains("## RB105: "),
        "{text}"
    );
    assert_eq!(place, "app");
    let (text, place) = hovered("FROM scratch\nC|OPY a /a\n").expect("an answer");
    assert!(
        text.contains("COPY [FLAGS]") && text.contains("- `--chown`: "),
        "{text}"
    );
    assert_eq!(place, "COPY");
    let (text, place) =
        hovered("FROM scratch\nONBUILD COPY --ch|own=1:1 a /a\n").expect("an answer");
    assert!(
        text.contains("`--chown`") && !text.contains("COPY [FLAGS]"),
        "{text}"
    );
    assert_eq!(place, "--chown=1:1");
    assert_eq!(hovered("FROM scratch\nCOPY a| /a\nUSER 7:7\n"), None);
    assert_eq!(hovered("# COP|Y a\nFROM scratch\nUSER 7:7\n"), None);
}

fn acted(text: &str) -> String {
    let (text, at) = cursor(text);
    let source = Source::new("Containerfile", text.as_str());
    let findings = lint::lint(&source, &Options::default()).findings;
    let file = parse(&source).file;
    let mut shown = String::new();
    for action in editor::actions(&source, &file, &findings, Span::new(at, at)) {
        let Fix { span, replacement } = action.edit;
        let mut text = text.clone();
        text.replace_range(span.range(), &replacement);
        let mark = if action.mends { "*" } else { "-" };
        let _ = writeln!(shown, "{mark} {}\n{text}", action.title);
    }
    shown
}

#[test]
fn a_finding_can_be_mended_or_ignored_with_a_reason() {
    let shown = acted("FROM scratch\nCOPY a /a\n  USER \\\n    7|\n");
    let expected = "\
* write: USER 7:7
FROM scratch
COPY a /a
  USER \\
    7:7

- ignore RB105 here, with a reason
FROM scratch
COPY a /a
  # rbuild ignore=RB105 <why>
  USER \\
    7
";
    assert_eq!(shown.trim_end(), expected.trim_end());
    assert!(acted("FROM scratch\r\nUSER 7|\r\n").contains("<why>\r\nUSER 7\r\n"));
    assert!(acted("\u{feff}FROM |debian\nUSER 7:7\n").contains("\n\u{feff}# rbuild ignore="));
    assert_eq!(
        acted("FROM scratch\nNONSENSE| x\n"),
        "",
        "what cannot be read is not ignored"
    );
}

#[test]
fn a_quote_that_never_closes_swallows_the_cursor_and_nothing_happens() {
    for text in [
        "ONBUILD --mount=\"",
        "ONBUILD --a='''ONBUILD ",
        "FROM a\nRUN --mount=\"",
    ] {
        for at in 0..=text.len() {
            let found = containerfile::editor::completions(text, at);
            let fits = |one: &containerfile::editor::Completion| one.replaces.end() <= at;
            assert!(found.iter().all(fits), "{text} {at}");
        }
    }
}

#[test]
fn a_comment_without_its_reason_ignores_nothing() {
    let text = "FROM scratch\n# rbuild ignore=RB105 <why>\nUSER 7\n";
    let report = lint::lint(&Source::new("", text), &Options::default());
    let found: Vec<_> = report
        .findings
        .iter()
        .filter_map(|found| found.rule)
        .collect();
    assert_eq!(found, ["RB001", "RB105"]);
}

#[test]
fn all_fixes_are_made_at_once() {
    let text = "FROM scratch\nEXPOSE 8080/TCP\nUSER 7\n";
    let source = Source::new("", text);
    let findings = lint::lint(&source, &Options::default()).findings;
    let fixes = editor::fix_all(&source, &findings);
    let fixes: Vec<&Fix> = fixes.iter().collect();
    assert_eq!(
        lint::fixed(text, &fixes),
        "FROM scratch\nEXPOSE 8080/tcp\nUSER 7:7\n"
    );
}

#[test]
fn rules_of_other_linters_have_their_pages() {
    let link = |name| lint::rule(name).and_then(lint::Rule::link);
    assert_eq!(link("RB103"), None);
    assert_eq!(link("MalformedJSONArgs"), None);
    assert_eq!(
        link("DL3009").as_deref(),
        Some("https://github.com/hadolint/hadolint/wiki/DL3009")
    );
    assert_eq!(
        link("JSONArgsRecommended").as_deref(),
        Some("https://docs.docker.com/reference/build-checks/json-args-recommended/")
    );
}
