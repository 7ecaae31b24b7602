//! The Containerfile's language: the parser, the linter, the expander, the ignore patterns.
//!
//! Invariant: what is asserted here is what the crate promises, so a panic is a finding whoever caused it.

use containerfile::editor;
use containerfile::expand::{self, Mode};
use containerfile::ignore::IgnoreFile;
use containerfile::lint::{self, Neighbour, Options, ShellFinding};
use containerfile::{
    Diagnostic, EscapeChar, Parsed, Source, Span, dump, glob, mode, parse, parse_onbuild_trigger,
};

/// A Containerfile, or a trigger of ONBUILD: every span lies in the text, and what is said about it is bounded.
pub fn containerfile(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let source = Source::new("Containerfile", text.as_ref());
    let parsed = parse(&source);
    check_spans(&source, &parsed);
    check_diagnostics(&parsed);
    let _ = dump::s_expressions(&source);
    if let Err(diagnostics) = parse_onbuild_trigger(&text) {
        assert!(!diagnostics.is_empty(), "refused without a reason");
    }
}

fn check_diagnostics(parsed: &Parsed) {
    let findings = &parsed.diagnostics;
    assert!(findings.is_sorted_by_key(|found| found.span.start()));
    assert!(findings.len() <= 1001, "{} diagnostics", findings.len());
    for found in findings {
        assert!(found.message.len() <= 2048, "{}", found.message);
    }
}

fn check_spans(source: &Source, parsed: &Parsed) {
    let text = source.text();
    let mut found = Vec::new();
    let tree = serde_json::to_value(parsed).expect("a tree of plain data");
    spans(&tree, &mut found);
    for span in found {
        assert!(
            span.start() <= span.end() && span.end() <= text.len(),
            "{span:?}"
        );
        let whole = text.is_char_boundary(span.start()) && text.is_char_boundary(span.end());
        assert!(whole, "{span:?} cuts a character");
        let lines = source.line_range(span);
        assert!(lines.start() <= lines.end());
        assert!(source.line_col(span.end()).line >= *lines.start());
    }
}

/// All spans of a serialised tree.
fn spans(value: &serde_json::Value, found: &mut Vec<Span>) {
    match value {
        serde_json::Value::Object(fields) => {
            let number = |name: &str| {
                let at = fields.get(name).and_then(serde_json::Value::as_u64);
                at.and_then(|at| usize::try_from(at).ok())
            };
            if let (2, Some(start), Some(end)) = (fields.len(), number("start"), number("end")) {
                found.push(Span::new(start, end));
            }
            fields.values().for_each(|field| spans(field, found));
        }
        serde_json::Value::Array(elements) => {
            elements.iter().for_each(|element| spans(element, found));
        }
        _ => {}
    }
}

/// A word with variables: its value is bounded, and says the same whether it is split or not.
pub fn expand(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let lookup = |name: &str| match name {
        "e" => Some(String::new()),
        "p" => Some("/a/foo/b/c.txt".to_owned()),
        "d" => Some("$p ${p} 'x' \"y\" \\".to_owned()),
        "k" => Some("한국어 ß".to_owned()),
        "l" => Some("ab*?".repeat(64)),
        _ => None,
    };
    for escape in [EscapeChar::Backslash, EscapeChar::Backtick] {
        let whole = expand::expand(&text, &lookup, escape, Mode::Word);
        let words = expand::expand_words(&text, &lookup, escape);
        match (&whole, &words) {
            (Ok(whole), Ok(words)) => {
                let glued: String = words.words.concat();
                let visible = |text: &str| text.chars().filter(|one| !one.is_whitespace()).count();
                assert_eq!(visible(&whole.text), visible(&glued));
                assert_eq!((&whole.used, &whole.unset), (&words.used, &words.unset));
            }
            (Err(one), Err(other)) => assert_eq!(one, other),
            _ => panic!("{whole:?} but {words:?}"),
        }
    }
    let _ = expand::expand(&text, &lookup, EscapeChar::Backslash, Mode::Heredoc);
}

/// An ignore file, and behind a NUL byte the path that it is asked about: asking for the whole path and walking down to it agree,
/// and nothing that is wanted lies below a directory that may be skipped.
pub fn ignore(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (patterns, path) = text.split_once('\0').unwrap_or((&text, "a/b/c.txt"));
    for line in patterns.lines() {
        let _ = glob::matches(line, path);
        let _ = line.parse::<mode::Mode>();
        let _ = glob::split_pivot(line);
    }
    let Ok(file) = IgnoreFile::parse(patterns) else {
        return;
    };
    let names: Vec<&str> = path
        .split('/')
        .filter(|name| !matches!(*name, "" | "." | ".."))
        .collect();
    let (mut directory, mut answer, mut skipped) = (file.root(), false, false);
    for name in &names {
        answer = file.ignores(&directory, name);
        assert!(
            answer || !skipped,
            "{name} is wanted below a skipped directory"
        );
        let entered = file.enter(&directory, name);
        assert_eq!(entered.ignored, answer, "{name}");
        skipped |= !entered.descend;
        directory = entered.directory;
    }
    if !names.is_empty() {
        assert_eq!(file.matches(&names.join("/")), answer);
    }
}

fn check_findings(text: &str, findings: &[Diagnostic]) {
    assert!(findings.is_sorted_by_key(|found| found.span.start()));
    assert!(findings.len() <= 1001, "{} findings", findings.len());
    for found in findings {
        assert!(
            text.get(found.span.range()).is_some(),
            "{found:?} is not of the text"
        );
        assert!(found.message.len() <= 2048, "{}", found.message);
        assert!(found.rule.is_none_or(|rule| lint::rule(rule).is_some()));
    }
}

/// A unit of Quadlet, beside a Containerfile of the same text: every finding lies in it, and what its fixes make of it can be examined
/// again.
pub fn unit(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let options = Options {
        neighbours: vec![Neighbour {
            name: "Containerfile".to_owned(),
            text: text.as_ref().into(),
        }],
        ..Options::default()
    };
    for name in ["app.container", "app.pod", "app.kube", "app.build"] {
        let report = lint::lint(&Source::new(name, text.as_ref()), &options);
        check_findings(&text, &report.findings);
        let fixed = lint::fixed(&text, &lint::fixes(&text, &report.findings));
        let _ = lint::lint(&Source::new(name, fixed), &options);
    }
}

/// A Containerfile for the linter: every finding lies in the text, and what its fixes make of it can be examined again.
pub fn linter(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let options = Options {
        ignore: IgnoreFile::parse("a\n!a/b\n").ok(),
        trusted_registries: vec!["docker.io".to_owned()],
        ..Options::default()
    };
    let source = Source::new("Containerfile", text.as_ref());
    let report = lint::lint(&source, &options);
    let findings = &report.findings;
    check_findings(&text, findings);
    for script in lint::scripts(&source) {
        let (from, to) = ((2, 1), (script.text.lines().count(), 2));
        let (level, message) = ("info".to_owned(), String::new());
        let found = ShellFinding {
            code: 2086,
            level,
            message,
            from,
            to,
        };
        if let Some(found) = script.place(&found) {
            assert!(text.get(found.span.range()).is_some(), "{found:?}");
        }
    }
    let at = data
        .first()
        .map_or(0, |byte| text.len() * usize::from(*byte) / 255);
    for one in editor::completions(&text, at) {
        assert!(text.get(one.replaces.range()).is_some(), "{one:?}");
    }
    if let Some(hover) = editor::hover(&source, findings, at) {
        assert!(text.get(hover.span.range()).is_some(), "{hover:?}");
    }
    let fixed = lint::fixed(&text, &lint::fixes(&text, findings));
    let _ = lint::lint(&Source::new("Containerfile", fixed), &options);
}
