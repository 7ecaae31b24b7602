//! What is below the pointer: the findings there, with their rules' pages, and the instruction or the flag.
//!
//! Invariant: an answer is about what covers the asked byte, never about its neighbours.

use crate::diagnostics::Diagnostic;
use crate::instructions::known_flags;
use crate::lines::Lines;
use crate::lint;
use crate::source::{Source, Span};
use crate::statement::{self, Keyword, Statement};

use super::manual;

/// An answer in Markdown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hover {
    /// The text.
    pub text: String,
    /// What it is about.
    pub span: Span,
}

/// What can be said about the byte at `at`.
#[must_use]
pub fn hover(source: &Source, findings: &[Diagnostic], at: usize) -> Option<Hover> {
    let mut parts = Vec::new();
    let mut span: Option<Span> = None;
    let mut told = Vec::new();
    for found in findings.iter().filter(|found| covers(found.span, at)) {
        let rule = found.rule.and_then(lint::rule);
        if let Some(rule) = rule.filter(|rule| !told.contains(&rule.id)) {
            told.push(rule.id);
            parts.push(lint::page(rule));
            span.get_or_insert(found.span);
        }
    }
    if let Some((text, place)) = word(source, at) {
        parts.push(text);
        span.get_or_insert(place);
    }
    Some(Hover {
        text: parts.join("\n---\n\n"),
        span: span?,
    })
}

/// An empty span is about the byte behind it.
fn covers(span: Span, at: usize) -> bool {
    span.start() <= at && (at < span.end() || span.start() == at)
}

/// The entry of the keyword or of the flag there.
fn word(source: &Source, at: usize) -> Option<(String, Span)> {
    let escape = crate::directives::read(source, &mut Vec::new()).escape;
    let mut answer = None;
    statement::each(
        Lines::new(source),
        escape,
        &mut Vec::new(),
        |complete, _| {
            if covers(complete.span, at) {
                answer = about(&complete.statement, at);
            }
        },
    );
    answer
}

fn about(statement: &Statement<'_>, at: usize) -> Option<(String, Span)> {
    let keyword = statement.name()?;
    if covers(statement.keyword.span(), at) {
        return Some((instruction(keyword), statement.keyword.span()));
    }
    if keyword == Keyword::Onbuild && covers(statement.args.span(), at) {
        return about(&statement.inner(), at);
    }
    let flag = statement.flags.iter().find(|flag| covers(flag.span, at))?;
    let text = manual::flag(keyword, &flag.name.value)?;
    Some((format!("`--{}`: {text}\n", flag.name.value), flag.span))
}

/// The entry of an instruction, with its flags.
pub(super) fn instruction(keyword: Keyword) -> String {
    let entry = manual::instruction(keyword);
    let mut text = format!("```dockerfile\n{}\n```\n\n{}\n", entry.usage, entry.text);
    for (index, (name, _)) in known_flags(keyword).iter().enumerate() {
        let gap = if index == 0 { "\n" } else { "" };
        let meaning = manual::flag(keyword, name).unwrap_or_default();
        text.push_str(&format!("{gap}- `--{name}`: {meaning}\n"));
    }
    text
}
