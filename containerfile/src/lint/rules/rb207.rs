//! RB207: a shell form where there is no shell.

use super::prelude::*;
use crate::ast::{Command, Healthcheck, RunCommand, Span};
use crate::lint::view::Base;

pub(super) const RULE: Rule = Rule {
    id: "RB207",
    aliases: &[],
    severity: Severity::Error,
    title: "the shell form in an image without a shell",
    why: "`CMD app -v` is `/bin/sh -c 'app -v'`, and scratch and distroless images have no /bin/sh: the container does not start, or is never \
healthy. An array that is not well-formed JSON is a shell form too.",
    bad: service!("HEALTHCHECK CMD /app health"),
    good: service!("HEALTHCHECK CMD [\"/app\", \"health\"]"),
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    for stage in 0..view.stages.len() {
        run_without_shell(view, stage, found);
    }
    let Some(last) = view.stages.len().checked_sub(1) else {
        return;
    };
    let bare = match view.root_image(last) {
        // Where it is at hand, each shell is looked for.
        Some(_) if view.final_facts().is_some() => true,
        Some(image) => image.is_without_shell(),
        None => view.is_from_scratch(last),
    };
    if !bare {
        return;
    }
    for step in view.shipped_steps() {
        let (command, what) = match &step.instruction.kind {
            InstructionKind::Cmd(command) => (command, "CMD"),
            InstructionKind::Entrypoint(command) => (command, "ENTRYPOINT"),
            InstructionKind::Healthcheck(Healthcheck::Check(probe)) => {
                (&probe.command, "HEALTHCHECK")
            }
            _ => continue,
        };
        let Command::Shell(text) = command else {
            continue;
        };
        let path = shell_path(step);
        if !text.value.trim().is_empty() && !view.may_add(path) && !is_in_base(view, last, path) {
            report(found, text.span, what, path, &text.value);
        }
    }
}

/// The first RUN of a stage that began with nothing.
fn run_without_shell(view: &View<'_>, stage: usize, found: &mut Findings) {
    match view.stages[stage].base {
        Base::Scratch => {}
        Base::Image if view.root_facts(stage).is_some() => {}
        Base::Image | Base::Stage(_) => return,
    }
    for step in &view.stages[stage].steps {
        let path = shell_path(step);
        match step.inner() {
            InstructionKind::Run(run) => {
                if let RunCommand::Shell { text, .. } = &run.command
                    && run.mounts.is_empty()
                    && !is_in_base(view, stage, path)
                    && step.fired_by.is_none()
                    && !matches!(step.instruction.kind, InstructionKind::Onbuild(_))
                {
                    report(found, text.span, "RUN", path, &text.value);
                }
                return;
            }
            _ if view.may_make(stage, step, path) => return,
            _ => {}
        }
    }
}

/// Whether the base is at hand and has a file.
fn is_in_base(view: &View<'_>, stage: usize, path: &str) -> bool {
    view.root_facts(stage)
        .is_some_and(|facts| facts.find(path).is_some())
}

fn report(found: &mut Findings, span: Span, what: &str, path: &str, text: &str) {
    let message = format!("{what} in shell form needs {path}, which is not in the image");
    let plain = |c: char| c.is_ascii_alphanumeric() || " /._-:=,+@%".contains(c);
    let finding = found.add(span, message);
    if text.chars().all(plain) && !text.contains("  ") && what != "RUN" {
        let words: Vec<&str> = text.split_whitespace().collect();
        let array = serde_json::to_string(&words)
            .unwrap_or_default()
            .replace("\",\"", "\", \"");
        finding
            .help(format!("write: {what} {array}"))
            .fix(span, array);
    } else {
        finding.help("write the exec form, an array of strings in double quotes; it has no variables, pipes or ||");
    }
}

fn shell_path<'s>(step: &'s Step<'_>) -> &'s str {
    let first = step.at.shell.and_then(|words| words.first());
    first.map_or("/bin/sh", |word| word.value.as_str())
}
