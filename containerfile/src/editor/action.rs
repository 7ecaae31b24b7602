//! What can be done about findings: the fix that one brings along, all fixes at once, or a comment that ignores it.
//!
//! Invariant: the edits of one action do not overlap, and none breaks a line that it does not mean.

use crate::ast::Containerfile;
use crate::diagnostics::{Diagnostic, Fix};
use crate::lint;
use crate::source::{Source, Span};

/// Something that can be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// What it does.
    pub title: String,
    /// The number of the finding that it is about.
    pub finding: usize,
    /// Whether it mends the finding, rather than ignoring it.
    pub mends: bool,
    /// The change.
    pub edit: Fix,
}

/// What can be done about the findings that touch a range.
#[must_use]
pub fn actions(
    source: &Source,
    file: &Containerfile,
    findings: &[Diagnostic],
    range: Span,
) -> Vec<Action> {
    let touched = findings.iter().enumerate().filter(|(_, found)| {
        found.span.start() <= range.end() && range.start() <= found.span.end()
    });
    let mut actions = Vec::new();
    for (finding, found) in touched {
        let title = match &found.help {
            Some(help) => help.clone(),
            None => format!("mend: {}", found.message),
        };
        actions.extend(found.fix.clone().map(|edit| Action {
            title,
            finding,
            mends: true,
            edit,
        }));
        actions.extend(ignore(source, file, found).map(|(rule, edit)| Action {
            title: format!("ignore {rule} here, with a reason"),
            finding,
            mends: false,
            edit,
        }));
    }
    actions
}

/// All fixes that can be made at once.
#[must_use]
pub fn fix_all(source: &Source, findings: &[Diagnostic]) -> Vec<Fix> {
    lint::fixes(source.text(), findings)
        .into_iter()
        .cloned()
        .collect()
}

/// A comment above the instruction. It has no effect until its reason is written, and says so.
fn ignore<'f>(
    source: &Source,
    file: &Containerfile,
    found: &'f Diagnostic,
) -> Option<(&'f str, Fix)> {
    let rule = found.rule.filter(|rule| lint::can_be_ignored(rule))?;
    let start = instruction_at(file, found.span.start())?.start();
    let text = source.text();
    let line = text[..start].rfind('\n').map_or(0, |end| end + 1);
    let indentation = text[line..start].trim_start_matches('\u{feff}');
    let end = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let at = start - indentation.len();
    let replacement = format!(
        "{indentation}# rbuild ignore={rule} {}{end}",
        lint::NO_REASON
    );
    let span = Span::new(at, at);
    Some((rule, Fix { span, replacement }))
}

/// The instruction that holds a byte, or ends in front of it.
fn instruction_at(file: &Containerfile, at: usize) -> Option<Span> {
    let stages = file.stages.iter().flat_map(|stage| {
        let instructions = stage.instructions.iter().map(|one| one.span);
        std::iter::once(stage.from.span).chain(instructions)
    });
    let globals = file.global_args.iter().map(|arg| arg.span);
    globals
        .chain(stages)
        .find(|span| span.start() <= at && at <= span.end())
}
