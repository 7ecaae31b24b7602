//! RB606: volumes and working directories where the kernel's file systems are.

use super::prelude::*;
use crate::path;

pub(super) const RULE: Rule = Rule {
    id: "RB606",
    aliases: &["DKL-DI-0002"],
    severity: Severity::Error,
    title: "VOLUME or WORKDIR in /dev, /proc or /sys",
    why: "Whatever runs the container mounts its own file systems there: what the image has is never seen, or the start fails.",
    bad: service!("VOLUME /proc/app"),
    good: service!("COPY --chown=65532:65532 state /var/lib/app\nVOLUME /var/lib/app"),
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    for (_, step) in view.steps() {
        let words = match step.inner() {
            InstructionKind::Volume(words) => words.as_slice(),
            InstructionKind::Workdir(word) => std::slice::from_ref(word),
            _ => continue,
        };
        for word in words {
            let Some(written) = step.path(word) else {
                continue;
            };
            if let Some(top) = kernel_directory(&written) {
                let message = format!("{top} is mounted over by whatever runs the container");
                found
                    .add(word.span, message)
                    .help("use another directory, for example below /var/lib");
            }
        }
    }
}

/// Which of the kernel's directories a path is in.
pub(super) fn kernel_directory(path: &str) -> Option<&'static str> {
    let inside = |top: &&str| path == *top || path::below(path, top).is_some();
    ["/dev", "/proc", "/sys"].into_iter().find(inside)
}
