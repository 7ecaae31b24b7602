//! RB709: a version that is written twice.

use super::prelude::*;
use crate::ast::{Arg, Span};

pub(super) const RULE: Rule = Rule {
    id: "RB709",
    aliases: &[],
    severity: Severity::Info,
    title: "a version stands in an ARG and in a CI file or script",
    why: "Two places drift apart, and then what CI builds is not what the file says. Looked for in CI files of the project and in scripts \
beside the Containerfile, by the name of the ARG. Where the two differ already it is a warning.",
    bad: in_build!("ARG TOOL_VERSION=1.2.3\nRUN make"),
    good: in_build!("RUN make"),
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    if view.options.neighbours.is_empty() {
        return;
    }
    let global = view.file.global_args.iter().map(|arg| &arg.value);
    let own = view.steps().filter_map(|(_, step)| match step.inner() {
        InstructionKind::Arg(arg) => Some(arg),
        _ => None,
    });
    let mut said = std::collections::BTreeSet::new();
    for (name, value, span) in global.chain(own).flat_map(versions) {
        for file in &view.options.neighbours {
            let other = elsewhere(&file.text, name);
            let Some((line, other)) = other.filter(|_| said.insert(name)) else {
                continue;
            };
            let place = format!("{}:{line}", file.name);
            let differs = other != value;
            let message = match differs {
                true => format!("{name} is {value} here and {other} in {place}"),
                false => format!("{name} is set in {place} too"),
            };
            let finding = found
                .add(span, message)
                .help("write it in one place: leave the other to the default of this ARG");
            if differs {
                finding.warning();
            }
        }
    }
}

/// The entries that are versions, with their literal defaults.
fn versions(arg: &Arg) -> impl Iterator<Item = (&str, &str, Span)> {
    arg.entries.iter().filter_map(|entry| {
        let name = entry.name.raw.as_str();
        let word = entry.default.as_ref()?;
        let value = word.raw.trim_matches(['"', '\'']);
        let version = name.ends_with("_VERSION") && is_version(value);
        version.then_some((name, value, entry.name.span.to(word.span)))
    })
}

fn is_version(value: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+~:".contains(&byte);
    value.bytes().any(|byte| byte.is_ascii_digit()) && value.bytes().all(plain)
}

/// The first line (from 1) of a text that gives a name a version: `NAME: 1`, `NAME=1`, `--build-arg NAME=1`.
fn elsewhere<'t>(text: &'t str, name: &str) -> Option<(usize, &'t str)> {
    for (line, content) in text.lines().enumerate() {
        if content.trim_start().starts_with('#') {
            continue;
        }
        for (at, _) in content.match_indices(name) {
            let before = content[..at].chars().next_back();
            if before.is_some_and(|before| !matches!(before, ' ' | '\t' | '"' | '\'' | '=')) {
                continue;
            }
            let rest = content[at + name.len()..].trim_start_matches(['"', '\'']);
            let rest = rest.trim_start();
            let value = rest
                .strip_prefix([':', '='])
                .or_else(|| rest.strip_prefix(":=").or_else(|| rest.strip_prefix("?=")));
            let value = value.map(|value| value.trim_start_matches(['=', ' ', '\t', '"', '\'']));
            let value = value.map(|value| {
                let end = value.find([' ', '\t', '"', '\'', ',', ';', '}', ')', '\\']);
                &value[..end.unwrap_or(value.len())]
            });
            if let Some(value) = value.filter(|value| is_version(value)) {
                return Some((line + 1, value));
            }
        }
    }
    None
}
