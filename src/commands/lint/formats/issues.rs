//! Issues of Code Climate (its specification of engines, "Issues"), and GitLab's report, which is a list of them. The invariant: an
//! issue keeps its fingerprint when lines are added above it.

use containerfile::lint::{page, rule};
use containerfile::{Diagnostic, Severity, Source};
use serde_json::{Value, json};

use super::super::Examined;
use super::super::baseline::Fingerprints;

/// One object after the other, each ended by a NUL byte.
pub(super) fn codeclimate(examined: &[Examined]) -> String {
    let issues = issues(examined).into_iter();
    issues.map(|issue| format!("{issue}\0")).collect()
}

/// One list.
pub(super) fn gitlab(examined: &[Examined]) -> String {
    let mut text = serde_json::to_string_pretty(&issues(examined)).unwrap_or_default();
    text.push('\n');
    text
}

fn issues(examined: &[Examined]) -> Vec<Value> {
    let mut prints = Fingerprints::default();
    let all = examined.iter().flat_map(|one| {
        let findings = one.report.findings.iter();
        findings.map(|found| (&one.source, found))
    });
    all.map(|(source, found)| issue(source, found, &prints.next(source, found)))
        .collect()
}

fn issue(source: &Source, found: &Diagnostic, fingerprint: &str) -> Value {
    let (from, to) = super::range(source, found.span);
    let severity = match found.severity {
        Severity::Error => "major",
        Severity::Warning => "minor",
        Severity::Info => "info",
    };
    let id = super::rule(found);
    json!({
        "type": "issue",
        "check_name": id,
        "description": super::said(found),
        "content": {"body": rule(id).map(page).unwrap_or_default()},
        "categories": ["Bug Risk"],
        "location": {
            "path": source.name(),
            "positions": {
                "begin": {"line": from.line, "column": from.column},
                "end": {"line": to.line, "column": to.column},
            },
            "lines": {"begin": from.line, "end": to.line},
        },
        "severity": severity,
        "fingerprint": fingerprint,
    })
}
