//! RB802: the build host's proxy in the image.

use super::prelude::*;

pub(super) const RULE: Rule = Rule {
    id: "RB802",
    aliases: &[],
    severity: Severity::Warning,
    title: "ENV sets a proxy in the final image",
    why: "The image carries the address of a proxy of the network that it was built in, and every container tries to use it. Builders give \
`--build-arg http_proxy` to steps without any ARG or ENV, and leave it out of the image.",
    bad: "FROM scratch\nENV https_proxy=http://proxy.example:3128\nUSER 65532:65532\n",
    good: "FROM scratch\nUSER 65532:65532\n",
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    let names = ["http_proxy", "https_proxy", "ftp_proxy", "all_proxy"];
    for step in view.shipped_steps().filter(|step| step.fired_by.is_none()) {
        let InstructionKind::Env(pairs) = &step.instruction.kind else {
            continue;
        };
        for pair in &pairs.pairs {
            let proxy = names
                .iter()
                .any(|name| name.eq_ignore_ascii_case(&pair.name.raw));
            // Blank takes away what a base image has.
            if proxy && step.value(&pair.value).known() != Some("") {
                let message = format!(
                    "{} goes into the image, with an address of the network that builds it",
                    pair.name.raw
                );
                found
                    .add(pair.name.span.to(pair.value.span), message)
                    .help("leave it out; builds take --build-arg http_proxy=…");
            }
        }
    }
}
