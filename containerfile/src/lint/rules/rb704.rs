//! RB704: TARGETARCH compared with a platform that it never names.

use super::prelude::*;
use crate::lint::shell::Kind;

pub(super) const RULE: Rule = Rule {
    id: "RB704",
    aliases: &[],
    severity: Severity::Error,
    title: "TARGETARCH compared with arm/v6 or arm/v7",
    why: "TARGETARCH holds `arm`; the variant is in TARGETVARIANT. The branch is never taken.",
    bad: in_build!(
        "ARG TARGETARCH\nRUN if [ \"$TARGETARCH\" = arm/v7 ]; then export GOARM=7; fi; make"
    ),
    good: in_build!(
        "ARG TARGETARCH TARGETVARIANT\nRUN if [ \"$TARGETARCH/$TARGETVARIANT\" = arm/v7 ]; then export GOARM=7; fi; make"
    ),
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    for (_, _, program) in view.programs() {
        let compares =
            program.kind == Kind::Branch || matches!(program.name(), "[" | "[[" | "test");
        let subject = program
            .words
            .iter()
            .any(|word| matches!(word.text.as_str(), "$TARGETARCH" | "${TARGETARCH}"));
        if !compares || !subject {
            continue;
        }
        let never = program.words.iter().filter(|word| {
            matches!(
                word.text.as_str(),
                "arm/v5" | "arm/v6" | "arm/v7" | "arm/v8" | "arm64/v8" | "amd64/v2" | "amd64/v3"
            )
        });
        for word in never {
            let message = format!(
                "TARGETARCH is never {:?}: the variant is in TARGETVARIANT",
                word.text
            );
            found
                .add(word.span, message)
                .help("add ARG TARGETVARIANT and compare \"$TARGETARCH/$TARGETVARIANT\"");
        }
    }
}
