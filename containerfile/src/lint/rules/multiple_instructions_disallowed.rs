//! MultipleInstructionsDisallowed: CMD, ENTRYPOINT or HEALTHCHECK more than once.

use super::prelude::*;

pub(super) const RULE: Rule = Rule {
    id: "MultipleInstructionsDisallowed",
    aliases: &["DL4003", "DL4004", "DL3012"],
    severity: Severity::Warning,
    title: "more than one CMD, ENTRYPOINT or HEALTHCHECK in a stage",
    why: "Only the last one counts; the others mislead whoever reads the file.",
    bad: service!("HEALTHCHECK NONE\nCMD [\"/app\", \"a\"]\nCMD [\"/app\"]"),
    good: service!("HEALTHCHECK NONE\nCMD [\"/app\"]"),
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    for stage in &view.file.stages {
        for what in ["CMD", "ENTRYPOINT", "HEALTHCHECK"] {
            let all = stage
                .instructions
                .iter()
                .filter(|instruction| instruction.kind.keyword() == what);
            let all: Vec<_> = all.collect();
            let (Some((_, earlier)), message) = (
                all.split_last(),
                format!("a later {what} takes the place of this one"),
            ) else {
                continue;
            };
            for instruction in earlier {
                found
                    .add(instruction.span, message.clone())
                    .help("remove it");
            }
        }
    }
}
