//! Findings as text for people and for programs. The invariant: every format has every finding, in the same order; nothing that a
//! file holds is obeyed by a terminal or breaks the syntax of a format.

mod github;
mod issues;
mod json;
mod sarif;
mod xml;

use std::fmt::Write as _;

use containerfile::{Diagnostic, LineCol, Severity, Source, Span};

use super::Examined;
use crate::args::lint::LintFormat;
use crate::show::{self, escape};

/// Writes all findings.
pub(super) fn render(format: LintFormat, examined: &[Examined], colour: bool) -> String {
    match format {
        LintFormat::Tty => tty(examined, colour),
        LintFormat::Plain => lines(examined, plain),
        LintFormat::Gnu => lines(examined, gnu),
        LintFormat::Github => lines(examined, github::command),
        LintFormat::Json => json::object(examined),
        LintFormat::Sarif => sarif::log(examined),
        LintFormat::Checkstyle => xml::checkstyle(examined),
        LintFormat::Junit => xml::junit(examined),
        LintFormat::Codeclimate => issues::codeclimate(examined),
        LintFormat::Gitlab => issues::gitlab(examined),
    }
}

/// The word for a severity.
pub(super) fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "info",
    }
}

fn tty(examined: &[Examined], colour: bool) -> String {
    let all = examined.iter();
    all.map(|one| show::diagnostics(&one.source, &one.report.findings, colour)).collect()
}

/// A line for each finding.
fn lines(examined: &[Examined], line: fn(&Source, &Diagnostic) -> String) -> String {
    let mut text = String::new();
    for one in examined {
        for found in &one.report.findings {
            let _ = writeln!(text, "{}", line(&one.source, found));
        }
    }
    text
}

fn plain(source: &Source, found: &Diagnostic) -> String {
    let (from, _) = range(source, found.span);
    format!(
        "{}:{}:{} {} {} {}",
        one_line(source.name()),
        from.line,
        from.column,
        word(found.severity),
        rule(found),
        one_line(&said(found))
    )
}

/// GNU Coding Standards, "Formatting Error Messages".
fn gnu(source: &Source, found: &Diagnostic) -> String {
    let (from, _) = range(source, found.span);
    format!(
        "{}:{}:{}: {}: {} [{}]",
        one_line(source.name()),
        from.line,
        from.column,
        word(found.severity),
        one_line(&found.message),
        rule(found)
    )
}

fn one_line(text: &str) -> String {
    escape(text).replace('\n', "\\n")
}

/// The rule's id.
fn rule(found: &Diagnostic) -> &'static str {
    found.rule.unwrap_or("RB000")
}

/// The message and what to do.
fn said(found: &Diagnostic) -> String {
    match &found.help {
        Some(help) => format!("{} ({help})", found.message),
        None => found.message.clone(),
    }
}

/// Where a finding begins, and one past its last character.
fn range(source: &Source, span: Span) -> (LineCol, LineCol) {
    // A line's end belongs to nobody's mistake.
    let length = source.slice(span).trim_end().len();
    (source.line_col(span.start), source.line_col(span.start + length))
}

#[cfg(test)]
mod tests {
    use containerfile::lint::{Options, lint};

    use super::*;

    fn examined() -> Vec<Examined> {
        let text = "FROM scratch\nCOPY \"ß&<'\" \u{1b}x /data\nEXPOSE 8080/TCP\nUSER app:app\n";
        let source = Source::new("a b/Containerfile", text);
        let report = lint(&source, &Options::default());
        vec![
            Examined { source, report },
            Examined {
                source: Source::new("clean", ""),
                report: Default::default(),
            },
        ]
    }

    fn shown(format: LintFormat) -> String {
        render(format, &examined(), false)
    }

    #[test]
    fn lines_are_for_people_and_compilers() {
        insta::assert_snapshot!(shown(LintFormat::Plain), @"");
        insta::assert_snapshot!(shown(LintFormat::Gnu), @"");
    }

    #[test]
    fn github_gets_commands() {
        insta::assert_snapshot!(shown(LintFormat::Github), @"");
    }

    #[test]
    fn xml_is_well_formed_whatever_the_text() {
        insta::assert_snapshot!(shown(LintFormat::Checkstyle), @"");
        insta::assert_snapshot!(shown(LintFormat::Junit), @"");
    }

    #[test]
    fn json_has_every_finding_with_its_place_and_its_fix() {
        let json: serde_json::Value = serde_json::from_str(&shown(LintFormat::Json)).unwrap();
        insta::assert_snapshot!(serde_json::to_string_pretty(&json["findings"][1]).unwrap(), @"");
        assert_eq!(json["findings"].as_array().map(Vec::len), Some(3));
        assert_eq!(json["files"], 2);
    }

    #[test]
    fn sarif_has_rules_results_and_fixes() {
        let log: serde_json::Value = serde_json::from_str(&shown(LintFormat::Sarif)).unwrap();
        assert_eq!(log["version"], "2.1.0");
        let run = &log["runs"][0];
        let results = run["results"].as_array().unwrap();
        assert_eq!(results.len(), 3);
        for result in results {
            let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
            assert_eq!(run["tool"]["driver"]["rules"][index]["id"], result["ruleId"]);
        }
        insta::assert_snapshot!(serde_json::to_string_pretty(&results[1]).unwrap(), @"");
    }

    #[test]
    fn issues_have_fingerprints_that_stay_when_lines_move() {
        let gitlab: Vec<serde_json::Value> = serde_json::from_str(&shown(LintFormat::Gitlab)).unwrap();
        assert_eq!(gitlab.len(), 3);
        insta::assert_snapshot!(serde_json::to_string_pretty(&gitlab[0]).unwrap(), @"");
        let climate = shown(LintFormat::Codeclimate);
        assert_eq!(climate.split_terminator('\0').count(), 3);
        let moved = |before: &str| {
            let source = Source::new("x", format!("{before}FROM scratch\nUSER app:app\nUSER app:app\n"));
            let report = lint(&source, &Options::default());
            issues::fingerprint(&source, &report.findings[0], 0)
        };
        assert_eq!(moved(""), moved("# one more line\n"));
    }
}
