//! DL3040: the caches of dnf, yum and zypper in a layer.

use super::prelude::*;

pub(super) const RULE: Rule = Rule {
    id: "DL3040",
    aliases: &["DL3032", "DL3036"],
    severity: Severity::Info,
    title: "dnf, yum or zypper install without clean",
    why: "Metadata and packages stay in the layer, often more than what was installed. Only stages that are part of the final image are \
examined.",
    bad: "# rbuild ignore=RB201 the example is about something else\nFROM docker.io/library/fedora:43@sha256:01a723bf5bfb21b9dda0c9a33e0538106e4d02cce8f557e118dd61259553d598\nRUN dnf install --assumeyes git\nUSER 65532:65532\n",
    good: "# rbuild ignore=RB201 the example is about something else\nFROM docker.io/library/fedora:43@sha256:01a723bf5bfb21b9dda0c9a33e0538106e4d02cce8f557e118dd61259553d598\nRUN dnf install --assumeyes git && dnf clean all\nUSER 65532:65532\n",
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    for step in view.shipped_steps() {
        let InstructionKind::Run(run) = step.inner() else {
            continue;
        };
        let text = &step.instruction.text;
        let cleaned = !run.mounts.is_empty()
            || ["clean", "/var/cache", "keepcache", "cachedir"]
                .iter()
                .any(|word| text.contains(word));
        let programs = step.programs();
        let installs = programs.iter().find(|program| {
            matches!(program.name(), "dnf" | "yum" | "microdnf" | "zypper")
                && matches!(program.verb(), "install" | "in" | "update" | "upgrade")
        });
        if let Some(program) = installs.filter(|_| !cleaned) {
            let name = program.name();
            let clean = match name {
                "zypper" => "zypper clean --all".to_owned(),
                _ => format!("{name} clean all"),
            };
            found
                .add(program.span(), "what was downloaded stays in this layer")
                .help(format!("end the same RUN with: && {clean}"));
        }
    }
}
