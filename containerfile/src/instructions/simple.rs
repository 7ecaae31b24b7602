//! Instructions that are a word or a list of words: `WORKDIR`, `USER`, `STOPSIGNAL`, `EXPOSE`, `VOLUME`, `MAINTAINER`.
//!
//! Invariant: a word that is the whole rest of the line keeps its inner blanks.

use super::Context;
use crate::ast::{Spanned, Text, Word};
use crate::diagnostics::Diagnostic;
use crate::words;

/// The rest of the line as one word.
pub(super) fn one_word(context: &mut Context<'_, '_>) -> Option<Word> {
    context.flags(&[]);
    if context.args().is_empty() {
        context.error(
            context.place(),
            format!("{} needs exactly one argument", context.name()),
        );
        return None;
    }
    Some(words::word(context.args()))
}

/// `MAINTAINER`.
pub(super) fn maintainer(context: &mut Context<'_, '_>) -> Option<Spanned<Text>> {
    let word = one_word(context)?;
    let quoted = serde_json::to_string(&word.raw).unwrap_or_default();
    let replacement = format!(
        "LABEL org.opencontainers.image.authors={}",
        quoted.replace('$', "\\$")
    );
    context.diagnostics.push(
        Diagnostic::warning(
            "MaintainerDeprecated",
            context.span,
            "MAINTAINER is deprecated in favour of a label",
        )
        .with_fix(context.span, replacement),
    );
    Some(Spanned::new(word.raw, word.span))
}

/// `EXPOSE`.
pub(super) fn expose(context: &mut Context<'_, '_>) -> Option<Vec<Word>> {
    context.flags(&[]);
    let ports: Vec<Word> = words::blank_separated(context.args())
        .into_iter()
        .map(words::word)
        .collect();
    at_least_one(context, ports)
}

/// `VOLUME`.
pub(super) fn volume(context: &mut Context<'_, '_>) -> Option<Vec<Word>> {
    context.flags(&[]);
    let paths = context.list();
    for path in paths.iter().filter(|path| path.raw.trim().is_empty()) {
        context.error(path.span, "VOLUME is given an empty path");
    }
    at_least_one(context, paths)
}

/// The list, unless it is empty.
pub(super) fn at_least_one<T>(context: &mut Context<'_, '_>, list: Vec<T>) -> Option<Vec<T>> {
    if list.is_empty() {
        context.error(
            context.place(),
            format!("{} needs at least one argument", context.name()),
        );
        return None;
    }
    Some(list)
}
