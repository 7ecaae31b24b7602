//! SARIF 2.1.0 (OASIS). The invariant: regions count characters from 1, as `columnKind` says, and bytes from 0.

use containerfile::lint::{Rule, page, rules};
use containerfile::{Diagnostic, Severity, Source, Span};
use serde_json::{Value, json};

use super::super::Examined;

pub(super) fn log(examined: &[Examined]) -> String {
    let results = examined.iter().flat_map(|one| {
        one.report
            .findings
            .iter()
            .map(|found| result(&one.source, found))
    });
    let log = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "rbuild",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules().iter().map(|rule| descriptor(rule)).collect::<Vec<_>>(),
            }},
            "columnKind": "unicodeCodePoints",
            "results": results.collect::<Vec<_>>(),
        }],
    });
    let mut text = serde_json::to_string_pretty(&log).unwrap_or_default();
    text.push('\n');
    text
}

fn descriptor(rule: &Rule) -> Value {
    json!({
        "id": rule.id,
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.why},
        "help": {"text": rule.why, "markdown": page(rule)},
        "defaultConfiguration": {"level": level(rule.severity)},
        "properties": {"tags": rule.aliases},
    })
}

fn result(source: &Source, found: &Diagnostic) -> Value {
    let uri = uri(source.name());
    let id = super::rule(found);
    let mut result = json!({
        "ruleId": id,
        "level": level(found.severity),
        "message": {"text": super::said(found)},
        "locations": [{"physicalLocation": {
            "artifactLocation": {"uri": uri},
            "region": region(source, found.span),
        }}],
    });
    // ShellCheck's are in no table here.
    if let Some(index) = rules().iter().position(|rule| rule.id == id) {
        result["ruleIndex"] = json!(index);
    }
    if let Some(fix) = &found.fix {
        result["fixes"] = json!([{
            "description": {"text": found.help.as_deref().unwrap_or(&found.message)},
            "artifactChanges": [{
                "artifactLocation": {"uri": uri},
                "replacements": [{
                    "deletedRegion": region(source, fix.span),
                    "insertedContent": {"text": fix.replacement},
                }],
            }],
        }]);
    }
    result
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "note",
    }
}

fn region(source: &Source, span: Span) -> Value {
    let (from, to) = (source.line_col(span.start()), source.line_col(span.end()));
    json!({
        "startLine": from.line,
        "startColumn": from.column,
        "endLine": to.line,
        "endColumn": to.column,
        "byteOffset": span.start(),
        "byteLength": span.end() - span.start(),
    })
}

/// A path as a relative reference (RFC 3986): only unreserved characters and slashes stay.
fn uri(path: &str) -> String {
    path.bytes().fold(String::new(), |mut uri, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                uri.push(char::from(byte))
            }
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
        uri
    })
}
