//! WorkdirRelativePath: a WORKDIR that depends on the base image.

use super::prelude::*;

pub(super) const RULE: Rule = Rule {
    id: "WorkdirRelativePath",
    aliases: &["DL3000"],
    severity: Severity::Warning,
    title: "a relative WORKDIR before any absolute one",
    why: "Where it is depends on the base image, and moves when that changes.",
    bad: "FROM scratch\nWORKDIR app\nUSER 65532:65532\n",
    good: "FROM scratch\nWORKDIR /app\nWORKDIR data\nUSER 65532:65532\n",
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    for (_, step) in view.steps() {
        let InstructionKind::Workdir(word) = &step.instruction.kind else {
            continue;
        };
        let value = step.value(word);
        let relative = value
            .known()
            .is_some_and(|path| !path.starts_with('/') && !path.contains(':'));
        if relative && !step.at.workdir_set {
            let message = format!("where {:?} is depends on the base image", value.text);
            found.add(word.span, message).help(format!(
                "write: WORKDIR /{}",
                value.text.trim_start_matches("./")
            ));
        }
    }
}
