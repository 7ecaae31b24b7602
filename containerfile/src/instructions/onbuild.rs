//! `ONBUILD`.
//!
//! Invariant: a trigger is an instruction that could stand in a stage, never `ONBUILD`, `FROM` or `MAINTAINER`.

use super::Context;
use crate::ast::{Heredoc, Onbuild, Span};
use crate::statement::Keyword;

/// `ONBUILD INSTRUCTION …`.
pub(super) fn onbuild(context: &mut Context<'_, '_>) -> Option<Onbuild> {
    context.flags(&[]);
    if context.args().is_empty() {
        context.error(context.place(), "ONBUILD needs an instruction");
        return None;
    }
    let inner = context.statement.inner();
    let keyword = inner.known(context.diagnostics)?;
    if matches!(
        keyword,
        Keyword::Onbuild | Keyword::From | Keyword::Maintainer
    ) {
        context.error(
            inner.keyword.span(),
            format!("{} cannot be a trigger of ONBUILD", keyword.name()),
        );
        return None;
    }
    let span = Span::new(inner.keyword.span().start(), context.span.end());
    let instruction = super::instruction(Context {
        keyword,
        statement: &inner,
        openings: context.openings,
        heredocs: context.heredocs,
        span,
        escape: context.escape,
        diagnostics: context.diagnostics,
    })?;
    Some(Onbuild {
        trigger: trigger(&instruction.text, context.heredocs),
        inner: Box::new(instruction),
    })
}

/// The text that goes into an image's configuration.
fn trigger(line: &str, heredocs: &[Heredoc]) -> String {
    let mut text = line.to_owned();
    for heredoc in heredocs {
        text.push('\n');
        text.push_str(&heredoc.raw);
        text.push_str(&heredoc.name);
    }
    text
}
