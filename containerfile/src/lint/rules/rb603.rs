//! RB603: a volume without a directory in the image.

use super::prelude::*;
use super::rb606::kernel_directory;

pub(super) const RULE: Rule = Rule {
    id: "RB603",
    aliases: &[],
    severity: Severity::Warning,
    title: "VOLUME of a directory that the image does not have",
    why: "A new volume takes its owner from the directory in the image. Where there is none it belongs to root, and USER cannot write it.",
    bad: service!("VOLUME /var/lib/app"),
    good: service!("COPY --chown=65532:65532 state /var/lib/app\nVOLUME /var/lib/app"),
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    if view.final_user().is_none() {
        return;
    }
    for step in view.shipped_steps().filter(|step| step.fired_by.is_none()) {
        let InstructionKind::Volume(words) = &step.instruction.kind else {
            continue;
        };
        for word in words {
            // Those are RB606.
            let path = step
                .path(word)
                .filter(|path| kernel_directory(path).is_none());
            if let Some(path) = path.filter(|path| !view.may_contain(path)) {
                let message =
                    format!("{path} is not in the image, so a volume for it belongs to root");
                found.add(word.span, message).help(format!(
                    "COPY --chown=65532:65532 an empty directory to {path}"
                ));
            }
        }
    }
}
