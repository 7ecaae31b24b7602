//! DL3042: pip's cache in a layer.

use super::prelude::*;

pub(super) const RULE: Rule = Rule {
    id: "DL3042",
    aliases: &[],
    severity: Severity::Info,
    title: "pip install without --no-cache-dir",
    why: "The downloaded packages stay in the image beside the installed ones. Only stages that are part of the final image are examined.",
    bad: on_debian!("RUN pip install flask==3.1.2\nUSER 65532:65532"),
    good: on_debian!("RUN pip install --no-cache-dir flask==3.1.2\nUSER 65532:65532"),
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    if view.shipped_steps().any(sets) {
        return;
    }
    // An image that is not a plain distribution may set PIP_NO_CACHE_DIR itself.
    let known = view
        .stages
        .len()
        .checked_sub(1)
        .and_then(|last| view.root_image(last));
    if !known.is_some_and(|image| image.is_distribution()) {
        return;
    }
    for step in view.shipped_steps() {
        let InstructionKind::Run(run) = step.inner() else {
            continue;
        };
        let cleaned = !run.mounts.is_empty() || step.instruction.text.contains("cache");
        for program in step
            .programs()
            .iter()
            .filter(|program| matches!(program.name(), "pip" | "pip3"))
        {
            if program.verb() == "install" && !cleaned {
                let finding = found
                    .add(program.span(), "downloaded packages stay in this layer")
                    .help("add --no-cache-dir");
                if let Some(verb) = program
                    .arguments()
                    .iter()
                    .find(|word| word.text == "install")
                {
                    finding.fix(
                        crate::ast::Span::new(verb.span.end(), verb.span.end()),
                        " --no-cache-dir",
                    );
                }
            }
        }
    }
}

/// Whether an instruction says something about the cache. pip turns it off for any value, `0` too (its `_handle_no_cache_dir`).
fn sets(step: &Step<'_>) -> bool {
    match step.inner() {
        InstructionKind::Env(pairs) => (pairs.pairs.iter()).any(|pair| pair.name.raw == NAME),
        InstructionKind::Arg(arg) => (arg.entries.iter()).any(|entry| entry.name.raw == NAME),
        InstructionKind::Run(run) => {
            (run.command.shell_text()).is_some_and(|text| text.contains(NAME))
        }
        _ => false,
    }
}

const NAME: &str = "PIP_NO_CACHE_DIR";
