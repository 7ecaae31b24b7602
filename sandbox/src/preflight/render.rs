//! A report as text for a terminal or a bug report: aligned, without colour. Invariant: one line per check, and below each
//! warning or failure its reason and its commands, ready to be copied.

use std::fmt::Write as _;

use super::{Finding, Report, Status};

/// The report as text, ending in a newline.
pub fn render_text(report: &Report) -> String {
    let mut text = String::new();
    let degree = report.degree;
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{}: {}", degree.title(), degree.can());
    if let Some(cannot) = degree.cannot() {
        let _ = writeln!(text, "not possible: {cannot}");
    }
    text.push('\n');
    let width = report
        .findings
        .iter()
        .map(|finding| finding.subject.chars().count())
        .max()
        .unwrap_or(0);
    for finding in &report.findings {
        render_finding(&mut text, finding, width);
    }
    let count = |status| report.count(status);
    let _ = writeln!(
        text,
        "\n{} failed, {} warnings, {} ok, {} not applicable",
        count(Status::Failure),
        count(Status::Warning),
        count(Status::Ok),
        count(Status::NotApplicable),
    );
    text
}

fn render_finding(text: &mut String, finding: &Finding, width: usize) {
    let label = match finding.status {
        Status::Ok => "ok",
        Status::Warning => "warning",
        Status::Failure => "FAILED",
        Status::NotApplicable => "-",
    };
    let _ = writeln!(
        text,
        "{label:<7}  {:<width$}  {}",
        finding.subject, finding.observed
    );
    if !matches!(finding.status, Status::Warning | Status::Failure) {
        return;
    }
    let _ = writeln!(text, "         why: {}", finding.why);
    for (index, line) in finding
        .remedy
        .iter()
        .flat_map(|remedy| remedy.lines())
        .enumerate()
    {
        let _ = writeln!(
            text,
            "         {} {line}",
            if index == 0 { "fix:" } else { "    " }
        );
    }
}
