//! Findings as one JSON object. The invariant: fields are only ever added.

use containerfile::Fix;
use serde::Serialize;

use super::super::Examined;
use crate::show::Place;

#[derive(Serialize)]
struct Object<'f> {
    /// How many files were examined.
    files: usize,
    findings: Vec<Finding<'f>>,
}

#[derive(Serialize)]
struct Finding<'f> {
    rule: &'static str,
    severity: &'static str,
    message: &'f str,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<&'f str>,
    place: Option<Place<'f>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<&'f Fix>,
}

pub(super) fn object(examined: &[Examined]) -> String {
    let findings = examined.iter().flat_map(|one| {
        one.report.findings.iter().map(|found| Finding {
            rule: super::rule(found),
            severity: super::word(found.severity),
            message: &found.message,
            help: found.help.as_deref(),
            place: Place::of(&one.source, found.span),
            fix: found.fix.as_ref(),
        })
    });
    let object = Object {
        files: examined.len(),
        findings: findings.collect(),
    };
    let mut text = serde_json::to_string_pretty(&object).unwrap_or_default();
    text.push('\n');
    text
}
