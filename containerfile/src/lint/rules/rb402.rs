//! RB402: steps that need what no rootless build has.

use super::prelude::*;

pub(super) const RULE: Rule = Rule {
    id: "RB402",
    aliases: &["DL3001"],
    severity: Severity::Warning,
    title: "a step that changes the host's kernel, mounts, or makes devices",
    why: "mount, mknod, iptables, modprobe and sysctl need root of the machine. In a rootless build they fail; in a build as root they do \
nothing that stays in the image.",
    bad: in_build!("RUN mount -t tmpfs tmpfs /mnt && make"),
    good: in_build!("RUN --mount=type=tmpfs,target=/mnt make"),
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    for (_, _, program) in view.programs() {
        let some = program.words.len() > 2;
        let needs = match program.name() {
            "mount" | "losetup" => some,
            "mknod" => program
                .arguments()
                .iter()
                .any(|word| matches!(word.text.as_str(), "b" | "c" | "u")),
            "iptables" | "ip6tables" | "nft" | "modprobe" | "insmod" | "ping" => {
                some && !program.has("--version")
            }
            "sysctl" => program.has("-w") || program.has("-p") || program.has("--system"),
            _ => false,
        };
        // Whoever tries says so with `|| true`, or asks for less by --bind.
        if needs {
            let name = program.name();
            let message =
                format!("{name} needs root of the machine, which a rootless build does not have");
            let help = match name {
                "mount" => "use RUN --mount=type=tmpfs, bind or cache",
                _ => "leave it to whoever runs the container, or to the host",
            };
            found.add(program.words[0].span, message).help(help);
        }
    }
}
