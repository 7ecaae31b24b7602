//! DL3023: a stage that copies from itself.

use super::prelude::*;

pub(super) const RULE: Rule = Rule {
    id: "DL3023",
    aliases: &[],
    severity: Severity::Error,
    title: "COPY --from the stage itself",
    why: "A stage is there for others when it is finished: the name then means an image, which most likely does not exist.",
    bad: "FROM scratch AS release\nCOPY --from=release /a /b\nUSER 65532:65532\n",
    good: "FROM scratch AS files\nCOPY a /a\nFROM scratch AS release\nCOPY --from=files /a /b\nUSER 65532:65532\n",
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    for (index, step) in view.steps() {
        let Some(from) = step.copying().and_then(|copying| copying.from) else {
            continue;
        };
        let own = view.stages[index].stage.from.name.as_ref();
        let is_own = own.is_some_and(|own| own.value.eq_ignore_ascii_case(&from.value))
            && view.stage_named(&from.value, index).is_none();
        if is_own && !matches!(step.instruction.kind, InstructionKind::Onbuild(_)) {
            found
                .add(from.span, "this is the stage itself")
                .help("name another stage, or leave --from out");
        }
    }
}
