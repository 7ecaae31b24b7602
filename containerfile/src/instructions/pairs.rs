//! Names and values: `ENV`, `LABEL`, `ARG`.
//!
//! Invariant: names are not empty, and values keep their quotes.

use super::{Context, simple};
use crate::ast::{Arg, ArgEntry, Pair, Pairs, Span, Word};
use crate::diagnostics::Diagnostic;
use crate::lines::Fragment;
use crate::words;

/// `ENV` and `LABEL`: `name=value …`, or the old `name rest of the line`.
pub(super) fn pairs(context: &mut Context<'_, '_>) -> Option<Pairs> {
    context.flags(&[]);
    let words = words::quoted(context.args(), context.escape);
    let words = simple::at_least_one(context, words)?;
    if !words[0].text().contains('=') {
        return legacy(context);
    }
    let mut pairs: Vec<Pair> = words
        .into_iter()
        .filter_map(|word| pair(context, word))
        .collect();
    pairs.shrink_to_fit();
    Some(Pairs {
        pairs,
        legacy: false,
    })
}

fn legacy(context: &mut Context<'_, '_>) -> Option<Pairs> {
    let (name, value) = words::split_first(context.args());
    if value.is_empty() {
        let message = format!("{} {} has no value", context.name(), name.text());
        let help = format!("write {} {}=value", context.name(), name.text());
        context
            .diagnostics
            .push(Diagnostic::error(name.span(), message).with_help(help));
        return None;
    }
    let diagnostic = Diagnostic::warning(
        "LegacyKeyValueFormat",
        context.args().span(),
        format!(
            "{} name=value should be used instead of the old {} name value",
            context.name(),
            context.name()
        ),
    );
    // A value of several words needs quotes, and quoting what already holds quotes is not a mechanical change.
    let gap = Span::new(name.span().end(), value.span().start());
    let simple = !value.text().contains([' ', '\t', '"', '\'', '\\', '`']);
    context.diagnostics.push(if simple {
        diagnostic.with_fix(gap, "=")
    } else {
        diagnostic
    });
    Some(Pairs {
        pairs: vec![Pair {
            name: words::word(name),
            value: words::word(value),
        }],
        legacy: true,
    })
}

fn pair(context: &mut Context<'_, '_>, word: Fragment<'_>) -> Option<Pair> {
    let Some((name, value)) = split(word) else {
        let message = format!("{} {:?} has no `=`", context.name(), word.text());
        let help = "quote values that hold blanks";
        context
            .diagnostics
            .push(Diagnostic::error(word.span(), message).with_help(help));
        return None;
    };
    if name.raw.is_empty() {
        context.error(
            word.span(),
            format!("{} has a value without a name", context.name()),
        );
        return None;
    }
    Some(Pair { name, value })
}

/// `ARG`: `name` or `name=default`, one or more.
pub(crate) fn arg(context: &mut Context<'_, '_>) -> Option<Arg> {
    context.flags(&[]);
    let words = words::quoted(context.args(), context.escape);
    let words = simple::at_least_one(context, words)?;
    let mut entries = Vec::new();
    for word in words {
        let entry = match split(word) {
            Some((name, _)) if name.raw.is_empty() => {
                context.error(word.span(), "ARG has a value without a name");
                continue;
            }
            Some((name, default)) => ArgEntry {
                name,
                default: Some(default),
            },
            None => ArgEntry {
                name: words::word(word),
                default: None,
            },
        };
        entries.push(entry);
    }
    Some(Arg { entries })
}

/// Splits at the first `=`.
fn split(word: Fragment<'_>) -> Option<(Word, Word)> {
    let equals = word.text().find('=')?;
    Some((
        words::word(word.slice(0, equals)),
        words::word(word.from(equals + 1)),
    ))
}
