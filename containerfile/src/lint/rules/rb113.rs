//! RB113: RUN that asks for more than a rootless builder can give.

use super::prelude::*;
use crate::ast::{NetworkMode, SecurityMode};
use crate::lint::view::flag_or_keyword;

pub(super) const RULE: Rule = Rule {
    id: "RB113",
    aliases: &[],
    severity: Severity::Error,
    title: "RUN --security=insecure or --network=host",
    why: "A builder without root has no privileges to give, and the host's network is reached only with a permission that others who build \
the file do not give.",
    bad: concat!(
        "FROM ",
        pinned!(),
        " AS build\nRUN --security=insecure make\nFROM scratch\nCOPY --from=build /app /app\nUSER 65532:65532\n"
    ),
    good: concat!(
        "FROM ",
        pinned!(),
        " AS build\nRUN make\nFROM scratch\nCOPY --from=build /app /app\nUSER 65532:65532\n"
    ),
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    for (_, step) in view.steps() {
        let InstructionKind::Run(run) = step.inner() else {
            continue;
        };
        if run
            .security
            .as_ref()
            .is_some_and(|security| security.value == SecurityMode::Insecure)
        {
            let message = "--security=insecure: a rootless builder has no privileges to give";
            found
                .add(flag_or_keyword(step, "security"), message)
                .help("do without; what needs privileges belongs outside of the build");
        }
        if run
            .network
            .as_ref()
            .is_some_and(|network| network.value == NetworkMode::Host)
        {
            let message = "--network=host needs a permission of whoever builds";
            found
                .add(flag_or_keyword(step, "network"), message)
                .help("leave it out: steps reach the internet without it");
        }
    }
}
