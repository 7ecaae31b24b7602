//! What rbuild cannot do yet or will not do. Invariant: a flag of a stage that is built is obeyed or refused here by its name, never
//! ignored.

use containerfile::{Diagnostic, Flag, Instruction, InstructionKind, NetworkMode, SecurityMode};

use super::findings::{Findings, Site};

/// Reports everything about an instruction that cannot be done.
pub(super) fn refuse(site: &Site<'_>, allow_host_network: bool, findings: &mut Findings) {
    let InstructionKind::Run(run) = &site.instruction.kind else {
        return;
    };
    if matches!(&run.security, Some(mode) if mode.value == SecurityMode::Insecure) {
        for flag in flags(site.instruction, "security") {
            let message =
                "RUN --security=insecure is refused: a rootless build has no privileges to give";
            findings.push(*site.error(flag.span, message));
        }
    }
    for flag in flags(site.instruction, "device") {
        findings.push(*site.error(
            flag.span,
            "RUN --device is refused: no device of the host is given to a build",
        ));
    }
    let host = matches!(&run.network, Some(mode) if mode.value == NetworkMode::Host);
    for flag in flags(site.instruction, "network").filter(|_| host && !allow_host_network) {
        let message = "RUN --network=host is not allowed by the command line";
        findings.push(with_help(
            site,
            flag,
            message,
            "allow it with --allow network.host (or --network host)",
        ));
    }
}

fn flags<'i>(instruction: &'i Instruction, name: &'i str) -> impl Iterator<Item = &'i Flag> {
    instruction
        .flags
        .iter()
        .filter(move |flag| flag.name.value.eq_ignore_ascii_case(name))
}

fn with_help(site: &Site<'_>, flag: &Flag, message: &str, help: &str) -> Diagnostic {
    site.error(flag.span, message).with_help(help)
}
