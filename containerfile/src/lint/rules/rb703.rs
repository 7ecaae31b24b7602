//! RB703: a build stage on the target's platform.

use super::prelude::*;
use crate::ast::Instruction;

pub(super) const RULE: Rule = Rule {
    id: "RB703",
    aliases: &[],
    severity: Severity::Warning,
    title: "FROM --platform=linux/${TARGETARCH}",
    why: "The stage runs in an emulator when the platform is another one, and the variant of arm is lost: arm/v6 becomes arm/v7. A compiler \
for the build's platform that compiles for the target's is many times faster.",
    bad: concat!(
        "FROM --platform=linux/${TARGETARCH} ",
        pinned!(),
        " AS build\nRUN make\nFROM scratch\nCOPY --from=build /app /app\nUSER 65532:65532\n"
    ),
    good: concat!(
        "FROM --platform=$BUILDPLATFORM ",
        pinned!(),
        " AS build\nARG TARGETARCH\nRUN make ARCH=$TARGETARCH\nFROM scratch\nCOPY --from=build /app /app\nUSER 65532:65532\n"
    ),
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    for stage in &view.file.stages {
        let Some(platform) = &stage.from.platform else {
            continue;
        };
        let names = ["$TARGETARCH", "${TARGETARCH}"];
        if platform.raw.contains('/')
            && names.iter().any(|name| platform.raw.contains(name))
            && !platform.raw.contains("TARGETVARIANT")
        {
            let runs =
                |instruction: &Instruction| matches!(instruction.kind, InstructionKind::Run(_));
            let message = match stage.instructions.iter().any(runs) {
                true => "this runs in an emulator for other platforms, and drops the variant",
                false => "this drops the variant: arm/v7 is asked for as arm",
            };
            found.add(platform.span, message).help(
                "write --platform=$BUILDPLATFORM and compile for $TARGETARCH, or leave it out",
            );
        }
    }
}
