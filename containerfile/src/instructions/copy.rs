//! `COPY` and `ADD`.
//!
//! Invariant: at least one source and a destination that is no heredoc; heredocs are matched to sources by place, not by name.

use super::Context;
use crate::ast::{Add, Copy, CopySource, Heredoc, Spanned, Transfer};
use crate::diagnostics::Diagnostic;
use crate::flags::{Flags, Known, Takes};
use crate::mode::Mode;
use crate::words::{self, Json};

pub(super) const COPY: Known = &[
    ("from", Takes::Value),
    ("chown", Takes::Value),
    ("chmod", Takes::Value),
    ("link", Takes::Bool),
    ("parents", Takes::Bool),
    ("exclude", Takes::Values),
];

pub(super) const ADD: Known = &[
    ("chown", Takes::Value),
    ("chmod", Takes::Value),
    ("link", Takes::Bool),
    ("exclude", Takes::Values),
    ("checksum", Takes::Value),
    ("keep-git-dir", Takes::Bool),
    ("unpack", Takes::Bool),
];

/// `COPY`.
pub(super) fn copy(context: &mut Context<'_, '_>) -> Option<Copy> {
    let flags = context.flags(COPY);
    let from = flags
        .value("from")
        .map(|word| Box::new(Spanned::new(word.raw.clone(), word.span)));
    if let Some(from) = from.as_ref().filter(|from| from.value.contains('$')) {
        let help = "name a stage: FROM $IMAGE AS name, with an ARG before the first FROM, then --from=name";
        let message = "--from does not expand variables";
        context
            .diagnostics
            .push(Diagnostic::error(from.span, message).with_help(help));
    }
    let parents = flags.bool("parents").unwrap_or(false);
    Some(Copy {
        from,
        parents,
        transfer: transfer(context, &flags)?,
    })
}

/// `ADD`.
pub(super) fn add(context: &mut Context<'_, '_>) -> Option<Add> {
    let flags = context.flags(ADD);
    let checksum = flags.value("checksum").cloned().map(Box::new);
    let transfer = transfer(context, &flags)?;
    if let Some(checksum) = checksum.as_ref().filter(|_| transfer.sources.len() > 1) {
        context.error(
            checksum.span,
            "--checksum is for one source, and there are several",
        );
    }
    Some(Add {
        checksum,
        keep_git_dir: flags.bool("keep-git-dir"),
        unpack: flags.bool("unpack"),
        transfer,
    })
}

fn transfer(context: &mut Context<'_, '_>, flags: &Flags<'_>) -> Option<Transfer> {
    let chmod = flags.value("chmod").cloned().map(Box::new);
    if let Some(word) = chmod.as_ref().filter(|word| !word.mentions_variable())
        && let Err(error) = word.raw.parse::<Mode>()
    {
        context.error(word.span, format!("--chmod: {error}"));
    }
    let mut sources = sources(context);
    let last = sources.pop();
    sources.shrink_to_fit();
    match (last, sources.is_empty()) {
        (Some(CopySource::Path(destination)), false) => Some(Transfer {
            chown: flags.value("chown").cloned().map(Box::new),
            chmod,
            link: flags.bool("link").unwrap_or(false),
            excludes: flags.values("exclude").cloned().collect(),
            sources,
            destination,
        }),
        (Some(CopySource::Heredoc(heredoc)), _) => {
            context.error(
                heredoc.span,
                format!("a heredoc cannot be the destination of {}", context.name()),
            );
            None
        }
        _ => {
            context.error(
                context.place(),
                format!(
                    "{} needs at least one source and a destination",
                    context.name()
                ),
            );
            None
        }
    }
}

/// All arguments, heredocs in their places. Blanks and quotes inside an opening are part of it, so the words that it covers are one.
fn sources(context: &mut Context<'_, '_>) -> Vec<CopySource> {
    if context.openings.is_empty() || matches!(words::json(context.args()), Json::Strings(_)) {
        return context.list().into_iter().map(CopySource::Path).collect();
    }
    let mut sources = Vec::new();
    let mut next: Vec<(&_, &Heredoc)> = context
        .openings
        .iter()
        .zip(context.heredocs)
        .rev()
        .collect();
    for fragment in words::blank_separated(context.args()) {
        let extent = fragment.extent_in(context.args());
        while let Some((opening, heredoc)) = next
            .last()
            .filter(|(opening, _)| opening.start < extent.end())
        {
            if opening.start >= extent.start() {
                sources.push(CopySource::Heredoc(Box::new((*heredoc).clone())));
            }
            if opening.end > extent.end() {
                break;
            }
            next.pop();
        }
        if !context
            .openings
            .iter()
            .any(|opening| opening.overlaps(extent))
        {
            sources.push(CopySource::Path(words::word(fragment)));
        }
    }
    sources
}
