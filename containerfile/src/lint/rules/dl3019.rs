//! DL3019: apk's package index in a layer.

use super::prelude::*;

pub(super) const RULE: Rule = Rule {
    id: "DL3019",
    aliases: &[],
    severity: Severity::Info,
    title: "apk add without --no-cache",
    why: "The index stays in the image. Only stages that are part of the final image are examined.",
    bad: "# rbuild ignore=RB201 the example is about something else\nFROM docker.io/library/alpine:3@sha256:01a723bf5bfb21b9dda0c9a33e0538106e4d02cce8f557e118dd61259553d598\nRUN apk add git\nUSER 65532:65532\n",
    good: "# rbuild ignore=RB201 the example is about something else\nFROM docker.io/library/alpine:3@sha256:01a723bf5bfb21b9dda0c9a33e0538106e4d02cce8f557e118dd61259553d598\nRUN apk add --no-cache git\nUSER 65532:65532\n",
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    for step in view.shipped_steps().filter(|step| step.fired_by.is_none()) {
        let InstructionKind::Run(run) = step.inner() else {
            continue;
        };
        let cleaned = step.instruction.text.contains("/var/cache/apk") || !run.mounts.is_empty();
        for program in step
            .programs()
            .iter()
            .filter(|program| program.name() == "apk" && program.verb() == "add")
        {
            let says = program
                .arguments()
                .iter()
                .any(|word| word.text == "--no-cache" || word.text.starts_with("--cache-"));
            if !says && !cleaned && !program.words.iter().any(|word| word.text.starts_with('$')) {
                let finding = found
                    .add(program.span(), "the package index stays in this layer")
                    .help("add --no-cache");
                if let Some(verb) = program.arguments().iter().find(|word| word.text == "add") {
                    finding.fix(
                        crate::ast::Span::new(verb.span.end(), verb.span.end()),
                        " --no-cache",
                    );
                }
            }
        }
    }
}
