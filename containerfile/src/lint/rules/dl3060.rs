//! DL3060: yarn's cache in a layer.

use super::prelude::*;

pub(super) const RULE: Rule = Rule {
    id: "DL3060",
    aliases: &[],
    severity: Severity::Info,
    title: "yarn install without yarn cache clean",
    why: "Yarn 1 keeps everything that it downloads in the image a second time. Only stages that are part of the final image are examined; \
a cache mount does the same and makes the next build quicker.",
    bad: on_debian!("RUN yarn install\nUSER 65532:65532"),
    good: on_debian!("RUN yarn install && yarn cache clean\nUSER 65532:65532"),
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    for step in view.shipped_steps() {
        let InstructionKind::Run(run) = step.inner() else {
            continue;
        };
        let cleaned = !run.mounts.is_empty()
            || step.instruction.text.contains("cache")
            // A flag of the later versions, which keep their cache in the project.
            || step.instruction.text.contains("--immutable");
        let programs = step.programs();
        let installs = programs
            .iter()
            .find(|program| program.name() == "yarn" && program.verb() == "install");
        if let Some(program) = installs.filter(|_| !cleaned) {
            found
                .add(program.span(), "downloaded packages stay in this layer")
                .help("end the same RUN with: && yarn cache clean");
        }
    }
}
