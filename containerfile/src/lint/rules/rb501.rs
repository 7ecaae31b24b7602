//! RB501: an image that is started, without HEALTHCHECK.

use super::prelude::*;

pub(super) const RULE: Rule = Rule {
    id: "RB501",
    aliases: &["DL3057", "CIS-DI-0006"],
    severity: Severity::Info,
    title: "an image that is started has no HEALTHCHECK",
    why: "A program that hangs is not restarted: nothing notices. Where the base is an image that is not at hand, nothing is said. What is \
no service writes `HEALTHCHECK NONE`.",
    bad: service!("ENTRYPOINT [\"/app\"]"),
    good: service!("HEALTHCHECK CMD [\"/app\", \"health\"]\nENTRYPOINT [\"/app\"]"),
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    let Some(last) = view.last() else {
        return;
    };
    let known = last.root == Root::Scratch
        || view
            .root_image(view.stages.len() - 1)
            .is_some_and(|image| image.is_root() || image.is_nonroot());
    let is_check =
        |step: &Step<'_>| matches!(step.instruction.kind, InstructionKind::Healthcheck(_));
    if known && view.starts_something() && !view.shipped_steps().any(is_check) {
        found
            .add(last.stage.from.span, "the image is started, and nothing says how to tell that it works")
            .help("add HEALTHCHECK CMD [\"/app\", \"health\"], or HEALTHCHECK NONE for what is no service");
    }
}
