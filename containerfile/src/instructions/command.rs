//! Command lines: `CMD`, `ENTRYPOINT`, and `SHELL`.
//!
//! Invariant: the text of a command is never expanded and never split.

use super::Context;
use crate::ast::{Command, Spanned, Text};
use crate::diagnostics::Diagnostic;
use crate::lines::Fragment;

/// A command line in exec or shell form.
pub(super) fn command<'l>(context: &mut Context<'_, 'l>, args: Fragment<'l>) -> Command {
    match context.json(args) {
        Some(strings) => Command::Exec(strings),
        None => Command::Shell(Spanned::new(args.shared(), args.span())),
    }
}

/// `CMD` and `ENTRYPOINT`.
pub(super) fn instruction(context: &mut Context<'_, '_>) -> Command {
    context.flags(&[]);
    warn_if_empty(context);
    command(context, context.args())
}

/// BuildKit runs an empty command line through the shell; that is hardly what was meant.
pub(super) fn warn_if_empty(context: &mut Context<'_, '_>) {
    if context.args().is_empty() {
        let message = format!("{} has no command", context.name());
        context.diagnostics.push(Diagnostic::warning(
            "EmptyCommand",
            context.place(),
            message,
        ));
    }
}

/// `SHELL`.
pub(super) fn shell(context: &mut Context<'_, '_>) -> Option<Vec<Spanned<Text>>> {
    context.flags(&[]);
    let place = context.place();
    match context.json(context.args()) {
        Some(strings) if strings.is_empty() => {
            context.error(place, "SHELL needs at least one element")
        }
        Some(strings) => return Some(strings),
        None => context.diagnostics.push(
            Diagnostic::error(place, "SHELL needs an array in JSON form")
                .with_help(r#"for example SHELL ["/bin/sh", "-c"]"#),
        ),
    }
    None
}
