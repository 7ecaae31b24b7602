//! DL3045: COPY to a path that depends on the base image.

use super::prelude::*;

pub(super) const RULE: Rule = Rule {
    id: "DL3045",
    aliases: &[],
    severity: Severity::Warning,
    title: "COPY to a relative path before any WORKDIR",
    why: "Where the files land depends on the base image, and moves when that changes.",
    bad: in_build!("COPY src src/"),
    good: in_build!("WORKDIR /work\nCOPY src src/"),
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    for (_, step) in view.steps() {
        let Some(copying) = step.copying() else {
            continue;
        };
        let word = &copying.transfer.destination;
        let value = step.value(word);
        let relative = value.known().is_some_and(|path| {
            !path.starts_with('/') && !path.contains(':') && !path.contains('\\')
        });
        let trigger = matches!(step.instruction.kind, InstructionKind::Onbuild(_));
        if relative && step.at.workdir.is_none() && !step.at.workdir_set && !trigger {
            let message = "where this lands depends on the base image";
            found
                .add(word.span, message)
                .help("write WORKDIR before it, or an absolute path");
        }
    }
}
