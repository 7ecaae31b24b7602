//! DL3009: package lists in a layer.

use super::prelude::*;
use crate::ast::{MountKey, Run};

pub(super) const RULE: Rule = Rule {
    id: "DL3009",
    aliases: &[],
    severity: Severity::Info,
    title: "the lists of apt-get update stay in the image",
    why: "They are tens of megabytes that nothing uses. Only stages that are part of the final image are examined.",
    bad: on_debian!(
        "RUN apt-get update && apt-get install --yes --no-install-recommends git\nUSER 65532:65532"
    ),
    good: on_debian!(
        "RUN apt-get update && apt-get install --yes --no-install-recommends git && rm -rf /var/lib/apt/lists/*\nUSER 65532:65532"
    ),
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    for step in view.shipped_steps() {
        let InstructionKind::Run(run) = step.inner() else {
            continue;
        };
        let programs = step.programs();
        let update = programs
            .iter()
            .find(|program| matches!(program.name(), "apt-get" | "apt") && program.has("update"));
        let text = run.command.shell_text().unwrap_or_default();
        if let Some(program) = update.filter(|_| !text.contains("/var/lib/apt") && !is_mounted(run))
        {
            let message = "the package lists stay in this layer";
            found
                .add(program.span(), message)
                .help("end the same RUN with: && rm -rf /var/lib/apt/lists/*");
        }
    }
}

fn is_mounted(run: &Run) -> bool {
    let targets = run
        .mounts
        .iter()
        .filter_map(|mount| mount.option(MountKey::Target));
    targets
        .into_iter()
        .any(|target| target.raw.starts_with("/var/lib") || target.raw.contains('$'))
}
