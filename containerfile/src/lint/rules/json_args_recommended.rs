//! JSONArgsRecommended: CMD or ENTRYPOINT in shell form.

use super::prelude::*;
use crate::ast::Command;

pub(super) const RULE: Rule = Rule {
    id: "JSONArgsRecommended",
    aliases: &["DL3025"],
    severity: Severity::Warning,
    title: "CMD or ENTRYPOINT in shell form",
    why: "The shell becomes process 1, does not pass signals on, and the program is killed after ten seconds instead of stopping. Where SHELL is \
set on purpose nothing is said; where there is no shell at all, RB207 is.",
    bad: on_debian!("HEALTHCHECK NONE\nUSER 65532:65532\nCMD /app --serve"),
    good: on_debian!("HEALTHCHECK NONE\nUSER 65532:65532\nCMD [\"/app\", \"--serve\"]"),
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    for (stage, step) in view.steps() {
        let (command, what) = match step.inner() {
            InstructionKind::Cmd(command) => (command, "CMD"),
            InstructionKind::Entrypoint(command) => (command, "ENTRYPOINT"),
            _ => continue,
        };
        let bare = view.stages[stage].root == Root::Scratch
            || view
                .root_image(stage)
                .is_some_and(|image| image.is_without_shell());
        let Command::Shell(text) = command else {
            continue;
        };
        // Malformed JSON is told as such.
        let array = text.value.trim_start().starts_with('[');
        if step.at.shell.is_none() && !bare && !array && !text.value.trim().is_empty() {
            let message =
                format!("{what} in shell form: the shell is process 1 and passes no signal on");
            found
                .add(text.span, message)
                .help("write an array of strings in double quotes");
        }
    }
}
