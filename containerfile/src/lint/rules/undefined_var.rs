//! UndefinedVar: a variable that nothing sets.

use super::prelude::*;

pub(super) const RULE: Rule = Rule {
    id: "UndefinedVar",
    aliases: &[],
    severity: Severity::Warning,
    title: "a variable that nothing sets",
    why: "It is blank, and nothing tells. An ARG before the first FROM is seen in a stage only after `ARG name` there. A base image may set \
variables, so only stages that begin with scratch are examined.",
    bad: "ARG VERSION=1\nFROM scratch\nLABEL version=$VERSION\nUSER 65532:65532\n",
    good: "ARG VERSION=1\nFROM scratch\nARG VERSION\nLABEL version=$VERSION\nUSER 65532:65532\n",
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    for (_, step) in view
        .steps()
        .filter(|(_, step)| !matches!(step.inner(), InstructionKind::User(_)))
    {
        for (span, value) in step.expanded() {
            if value.certainty == Certainty::Undefined {
                let message = format!("nothing sets {} here, so it is blank", value.unset_names());
                found
                    .add(span, message)
                    .help("declare it in this stage with ARG or ENV");
            }
        }
    }
}
