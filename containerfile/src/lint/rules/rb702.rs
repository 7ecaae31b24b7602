//! RB702: a default for what the builder sets.

use super::prelude::*;
use crate::ast::{Arg, Span};

pub(super) const RULE: Rule = Rule {
    id: "RB702",
    aliases: &[],
    severity: Severity::Error,
    title: "ARG TARGETARCH, TARGETPLATFORM, TARGETOS or TARGETVARIANT with a default",
    why: "The default hides the platform that is built: with `--platform=linux/arm64` the image says arm64 and its programs are for amd64 \
(docker/buildx#510).",
    bad: in_build!("ARG TARGETARCH=amd64\nRUN make ARCH=$TARGETARCH"),
    good: in_build!("ARG TARGETARCH\nRUN make ARCH=$TARGETARCH"),
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    for arg in &view.file.global_args {
        defaults(&arg.value, found);
    }
    for (_, step) in view.steps() {
        if let InstructionKind::Arg(arg) = step.inner() {
            defaults(arg, found);
        }
    }
}

fn defaults(arg: &Arg, found: &mut Findings) {
    for entry in &arg.entries {
        let names = ["TARGETARCH", "TARGETPLATFORM", "TARGETOS", "TARGETVARIANT"];
        let Some(default) = entry
            .default
            .as_ref()
            .filter(|_| names.contains(&entry.name.raw.as_str()))
        else {
            continue;
        };
        let message = format!(
            "the default hides the platform that is really built for: {}",
            entry.name.raw
        );
        found
            .add(entry.name.span.to(default.span), message)
            .help(format!("write: ARG {}", entry.name.raw))
            .fix(Span::new(entry.name.span.end(), default.span.end()), "");
    }
}
