//! DL3050: labels that the project does not want.

use super::prelude::*;

pub(super) const RULE: Rule = Rule {
    id: "DL3050",
    aliases: &[],
    severity: Severity::Info,
    title: "a label that is not in the project's schema",
    why: "Only where `.rbuild.toml` says `strict-labels = true`: then `[lint.labels]` lists all that there may be.",
    bad: "FROM scratch\nLABEL version=1.2.3 other=x\nUSER 65532:65532\n",
    good: "FROM scratch\nLABEL version=1.2.3\nUSER 65532:65532\n",
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    if !view.options.strict_labels {
        return;
    }
    for (_, step) in view.steps() {
        let InstructionKind::Label(pairs) = step.inner() else {
            continue;
        };
        for pair in &pairs.pairs {
            let name = step.value(&pair.name);
            let listed = |name: &str| view.options.labels.contains_key(name);
            if name.known().is_some_and(|name| !listed(name)) {
                let message = format!("the project has no label {}", name.text);
                found
                    .add(pair.name.span, message)
                    .help("leave it out, or add it to [lint.labels]");
            }
        }
    }
}
