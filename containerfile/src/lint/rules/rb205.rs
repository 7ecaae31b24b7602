//! RB205: LD_LIBRARY_PATH in the image.

use super::prelude::*;

pub(super) const RULE: Rule = Rule {
    id: "RB205",
    aliases: &[],
    severity: Severity::Warning,
    title: "ENV LD_LIBRARY_PATH in the final image",
    why: "Every program that the container starts gets it too, it comes before what programs were linked with, and it is ignored where a \
program has more privileges than its caller.",
    bad: "FROM scratch\nCOPY app /app/\nENV LD_LIBRARY_PATH=/app/lib\nUSER 65532:65532\n",
    good: "FROM scratch\nCOPY app/lib /usr/lib/\nCOPY app/bin /usr/bin/\nUSER 65532:65532\n",
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    for step in view.shipped_steps() {
        let InstructionKind::Env(pairs) = &step.instruction.kind else {
            continue;
        };
        for pair in pairs
            .pairs
            .iter()
            .filter(|pair| pair.name.raw == "LD_LIBRARY_PATH")
        {
            found
                .add(pair.name.span.to(pair.value.span), "LD_LIBRARY_PATH is passed on to every program of the container")
                .help("put the libraries where the loader looks anyway, or link with -rpath '$ORIGIN/../lib'");
        }
    }
}
