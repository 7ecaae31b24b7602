//! `FROM`.
//!
//! Invariant: a stage name is folded to lower case and matches `[a-z][a-z0-9._-]*`.

use super::Context;
use crate::ast::{From, Spanned};
use crate::diagnostics::{Diagnostic, Severity};
use crate::flags::{Known, Takes};
use crate::lines::Fragment;
use crate::words;

pub(super) const KNOWN: Known = &[("platform", Takes::Value), ("after", Takes::Values)];

/// `FROM [--platform=P] [--after=STAGE]... IMAGE [AS NAME]`; `--after` is buildah's.
pub(crate) fn from(context: &mut Context<'_, '_>) -> Option<From> {
    let before = context.diagnostics.len();
    let flags = context.flags(KNOWN);
    let args = words::blank_separated(context.args());
    let (image, as_keyword, name) = match args.as_slice() {
        [image] => (*image, None, None),
        [image, as_keyword, name] if as_keyword.text().eq_ignore_ascii_case("as") => {
            check_casing(context, *as_keyword);
            (
                *image,
                Some(as_keyword.span()),
                Some(stage_name(context, *name)?),
            )
        }
        _ => {
            let message = "FROM takes an image, or an image, AS and a stage name";
            context.error(context.place(), message);
            return None;
        }
    };
    let failed = context.diagnostics[before..]
        .iter()
        .any(|found| found.severity == Severity::Error);
    (!failed).then(|| From {
        span: context.span,
        keyword: context.statement.keyword.span(),
        platform: flags.value("platform").cloned(),
        after: flags
            .values("after")
            .map(|stage| Spanned::new(stage.raw.to_string(), stage.span))
            .collect(),
        image: words::word(image),
        as_keyword,
        name,
        text: context.statement.line.shared(),
    })
}

fn check_casing(context: &mut Context<'_, '_>, as_keyword: Fragment<'_>) {
    let keyword = context.statement.keyword.text();
    let upper = keyword.bytes().all(|byte| byte.is_ascii_uppercase());
    let lower = keyword.bytes().all(|byte| byte.is_ascii_lowercase());
    let written = as_keyword.text();
    let wanted = match (upper, lower) {
        (true, _) if written != "AS" => "AS",
        (_, true) if written != "as" => "as",
        _ => return,
    };
    let message = format!("the case of {written:?} does not match that of {keyword:?}");
    let diagnostic = Diagnostic::warning("FromAsCasing", as_keyword.span(), message);
    context
        .diagnostics
        .push(diagnostic.with_fix(as_keyword.span(), wanted));
}

fn stage_name(context: &mut Context<'_, '_>, written: Fragment<'_>) -> Option<Spanned<String>> {
    let span = written.span();
    let name = written.text().to_lowercase();
    let valid = name.starts_with(|first: char| first.is_ascii_lowercase())
        && name
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.'));
    if !valid {
        let message = format!("invalid name for a build stage: {:?}", written.text());
        let help = "a name starts with a letter, then come letters, digits, `-`, `_` and `.`";
        context
            .diagnostics
            .push(Diagnostic::error(span, message).with_help(help));
        return None;
    }
    if name != written.text() {
        let message = format!("stage name {:?} should be lower case", written.text());
        context.diagnostics.push(
            Diagnostic::warning("StageNameCasing", span, message).with_fix(span, name.as_str()),
        );
    }
    if matches!(name.as_str(), "scratch" | "context") {
        let message = format!("{name:?} has a meaning of its own and should not name a stage");
        context
            .diagnostics
            .push(Diagnostic::warning("ReservedStageName", span, message));
    }
    Some(Spanned::new(name, span))
}
