//! A report as text, JSON, JUnit's XML or GitHub's annotations. The invariant: what programs of the image wrote is escaped: no
//! terminal, reader of XML or workflow takes it for something else.

use std::fmt::Write as _;

use serde::Serialize;

use super::report::{Check, Report, Verdict};
use crate::args::test::TestFormat;
use crate::commands::lint::formats::{attribute, data, property};
use crate::failure::Failure;
use crate::show::escape;
use crate::stdout::{print, print_json};

/// Writes a report to standard output.
pub(super) fn write(report: &Report, format: TestFormat) -> Result<(), Failure> {
    match format {
        TestFormat::Text => print(&text(report)),
        TestFormat::Json => print_json(&Document::of(report)),
        TestFormat::Junit => print(&junit(report)),
        TestFormat::Github => print(&github(report)),
    }
}

/// A report as programs see it.
#[derive(Serialize)]
struct Document<'r> {
    passed: usize,
    warned: usize,
    failed: usize,
    skipped: usize,
    #[serde(flatten)]
    report: &'r Report,
}

impl<'r> Document<'r> {
    fn of(report: &'r Report) -> Self {
        Self {
            passed: report.count(Verdict::Passed),
            warned: report.count(Verdict::Warned),
            failed: report.failed(),
            skipped: report.count(Verdict::Skipped),
            report,
        }
    }
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Passed => "ok",
        Verdict::Warned => "warn",
        Verdict::Failed => "FAIL",
        Verdict::Skipped => "skip",
    }
}

fn text(report: &Report) -> String {
    let mut out = String::new();
    for check in &report.checks {
        let head = format!(
            "{:<4}  {:<10}  {}",
            word(check.verdict),
            check.area,
            escape(&check.name)
        );
        match check.said.as_slice() {
            [only] if check.verdict != Verdict::Failed => {
                let _ = writeln!(out, "{head}: {}", escape(only));
            }
            said => {
                let _ = writeln!(out, "{head}");
                for line in said {
                    let _ = writeln!(out, "        {}", escape(line));
                }
            }
        }
        for remedy in &check.remedies {
            let _ = writeln!(out, "        fix: {}", escape(remedy));
        }
    }
    if !report.rootful.is_empty() {
        out.push_str("\nWhat changes from rootful:\n");
        for line in &report.rootful {
            let _ = writeln!(out, "  - {}", escape(line));
        }
    }
    let _ = writeln!(
        out,
        "\n{} checks: {} passed, {} warned, {} failed, {} skipped",
        report.checks.len(),
        report.count(Verdict::Passed),
        report.count(Verdict::Warned),
        report.failed(),
        report.count(Verdict::Skipped)
    );
    out
}

fn all_said(check: &Check) -> String {
    let fixes = check.remedies.iter().map(|remedy| format!("fix: {remedy}"));
    let lines: Vec<String> = check.said.iter().cloned().chain(fixes).collect();
    lines.join("\n")
}

fn junit(report: &Report) -> String {
    let counts = format!(
        "tests=\"{}\" failures=\"{}\" errors=\"0\" skipped=\"{}\"",
        report.checks.len(),
        report.failed(),
        report.count(Verdict::Skipped)
    );
    let name = attribute(&format!("rbuild test {}", report.image));
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites {counts}>\n  <testsuite name=\"{name}\" {counts}>\n"
    );
    for check in &report.checks {
        let seconds = format!("{}.{:03}", check.millis / 1000, check.millis % 1000);
        let said = attribute(&all_said(check));
        let _ = write!(
            xml,
            "    <testcase classname=\"rbuild test.{}\" name=\"{}\" time=\"{seconds}\"",
            check.area,
            attribute(&check.name)
        );
        let _ = match check.verdict {
            Verdict::Failed => writeln!(
                xml,
                ">\n      <failure type=\"{}\" message=\"{said}\"/>\n    </testcase>",
                check.area
            ),
            Verdict::Skipped => writeln!(
                xml,
                ">\n      <skipped message=\"{said}\"/>\n    </testcase>"
            ),
            Verdict::Warned => writeln!(
                xml,
                ">\n      <system-out>{said}</system-out>\n    </testcase>"
            ),
            Verdict::Passed => writeln!(xml, "/>"),
        };
    }
    xml.push_str("  </testsuite>\n</testsuites>\n");
    xml
}

/// A line for each check that did not pass.
fn github(report: &Report) -> String {
    let mut out = String::new();
    for check in &report.checks {
        let level = match check.verdict {
            Verdict::Failed => "error",
            Verdict::Warned => "warning",
            Verdict::Passed | Verdict::Skipped => continue,
        };
        let place = check.place.as_ref().map_or(String::new(), |place| {
            format!("file={},line={},", property(&place.file), place.line)
        });
        let title = property(&escape(&format!("{}: {}", check.area, check.name)));
        let lines: Vec<String> = all_said(check).lines().map(escape).collect();
        let _ = writeln!(
            out,
            "::{level} {place}title={title}::{}",
            data(&lines.join("\n"))
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut report = Report::new("app", "sha256:0".into());
        report.checks = vec![
            Check::new("file", "there", Verdict::Passed).took(1200),
            Check::of(
                "command",
                "a < b",
                vec!["it said \"\u{1b}[2J\"\n::error::x".into()],
            )
            .remedy("mend it")
            .at("t.yaml", 7),
            Check::new("health", "HEALTHCHECK", Verdict::Skipped).says("the image has none"),
        ];
        report
    }

    #[test]
    fn every_format_escapes_what_programs_wrote() {
        let report = report();
        for text in [text(&report), junit(&report), github(&report)] {
            assert!(!text.contains('\u{1b}'), "{text}");
        }
        assert!(text(&report).contains("3 checks: 1 passed, 0 warned, 1 failed, 1 skipped"));
        let xml = junit(&report);
        assert!(
            xml.contains("tests=\"3\" failures=\"1\" errors=\"0\" skipped=\"1\""),
            "{xml}"
        );
        assert!(
            xml.contains("name=\"a &lt; b\" time=\"0.000\">\n      <failure"),
            "{xml}"
        );
        assert!(xml.contains("time=\"1.200\"/>"), "{xml}");
        let annotations = github(&report);
        assert_eq!(annotations.lines().count(), 1, "{annotations}");
        assert!(annotations.starts_with("::error file=t.yaml,line=7,title=command%3A a < b::"));
        let json = serde_json::to_value(Document::of(&report)).unwrap();
        assert_eq!(json["failed"], 1);
        assert_eq!(json["checks"][1]["place"]["line"], 7);
    }
}
