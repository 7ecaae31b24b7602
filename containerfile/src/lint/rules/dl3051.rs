//! DL3051: labels without a value.

use super::prelude::*;

pub(super) const RULE: Rule = Rule {
    id: "DL3051",
    aliases: &[],
    severity: Severity::Warning,
    title: "a label of the project's schema is empty",
    why: "Whoever asks for it gets nothing. Only for labels that `[lint.labels]` of `.rbuild.toml` lists.",
    bad: "FROM scratch\nLABEL version=\"\"\nUSER 65532:65532\n",
    good: "FROM scratch\nLABEL version=1.2.3\nUSER 65532:65532\n",
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    for (_, step) in view.steps() {
        let InstructionKind::Label(pairs) = step.inner() else {
            continue;
        };
        for pair in &pairs.pairs {
            let name = step.value(&pair.name).text;
            let blank = step
                .value(&pair.value)
                .known()
                .is_some_and(|value| value.trim().is_empty());
            if blank && view.options.labels.contains_key(&name) {
                found
                    .add(pair.name.span, format!("the label {name} is empty"))
                    .help("give it a value");
            }
        }
    }
}
