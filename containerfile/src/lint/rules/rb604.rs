//! RB604: files that everybody may write.

use super::prelude::*;
use crate::lint::quadlet::Unit;
use crate::mode::Mode;

pub(super) const RULE: Rule = Rule {
    id: "RB604",
    aliases: &[],
    severity: Severity::Warning,
    title: "chmod 777",
    why: "It hides that the owner is wrong, and lets every process of the container, and outside every user whom the directory is shared with, \
replace the files. The right owner, with `COPY --chown` or `--userns=keep-id`, needs no such mode. 1777 is what /tmp has, and fine.",
    bad: in_build!("RUN make && chmod -R 777 /app"),
    good: in_build!("RUN make && chmod -R 755 /app"),
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    let message = "everybody may write this";
    let help = "give it to the right user: COPY --chown=UID:GID, or chown before this; 755 for programs, 644 for files";
    for (_, _, program) in view
        .programs()
        .filter(|(_, _, program)| program.name() == "chmod")
    {
        let mode = program
            .arguments()
            .iter()
            .find(|word| !word.text.starts_with('-'));
        if let Some(word) = mode.filter(|word| !word.dynamic && is_open(&word.text)) {
            found.add(word.span, message).help(help);
        }
    }
    for (_, step) in view.steps() {
        let Some(copying) = step.copying() else {
            continue;
        };
        if let Some(word) = &copying.transfer.chmod
            && step.value(word).known().is_some_and(is_open)
        {
            found.add(word.span, message).help(help);
        }
    }
}

/// The commands of a unit.
pub(super) fn check_unit(unit: &Unit<'_>, found: &mut Findings) {
    let entries = unit.sections.iter().flat_map(|section| &section.entries);
    for entry in entries.filter(|entry| entry.key.value.starts_with("Exec")) {
        let words = entry.words();
        let Some(at) = words
            .iter()
            .position(|word| word.value.rsplit('/').next() == Some("chmod"))
        else {
            continue;
        };
        let mode = words[at + 1..]
            .iter()
            .find(|word| !word.value.starts_with('-'));
        if let Some(word) = mode.filter(|word| is_open(&word.value)) {
            found
                .add(word.span, "everybody may write this")
                .help("let the container's user be its owner: UserNS=keep-id:uid=UID,gid=GID, or U in Volume=");
        }
    }
}

/// Whether others may write, and no sticky bit keeps them from each other's files.
fn is_open(mode: &str) -> bool {
    mode.parse::<Mode>()
        .is_ok_and(|mode| mode.apply(0, true) & 0o1002 == 0o002)
}
