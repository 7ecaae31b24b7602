//! Issues of Code Climate (its specification of engines, "Issues"), and GitLab's report, which is a list of them. The invariant: an
//! issue keeps its fingerprint when lines are added above it.

use std::collections::HashMap;

use containerfile::lint::{page, rule};
use containerfile::{Diagnostic, Severity, Source};
use serde_json::{Value, json};

use super::super::Examined;

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
    let mut seen: HashMap<String, usize> = HashMap::new();
    let all = examined
        .iter()
        .flat_map(|one| one.report.findings.iter().map(|found| (&one.source, found)));
    all.map(|(source, found)| {
        let first = fingerprint(source, found, 0);
        let number = seen.entry(first).or_default();
        let fingerprint = fingerprint(source, found, *number);
        *number += 1;
        issue(source, found, &fingerprint)
    })
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

/// What tells an issue from others: its file, its rule, its text, and its number among those that have all of them in common.
/// FNV-1a, whose result is the same everywhere.
pub(super) fn fingerprint(source: &Source, found: &Diagnostic, number: usize) -> String {
    let number = number.to_string();
    let parts = [
        source.name(),
        super::rule(found),
        source.slice(found.span).trim_end(),
        &number,
    ];
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0]));
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}
