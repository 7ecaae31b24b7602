//! DL3049: labels that the project wants.

use std::collections::BTreeSet;

use super::prelude::*;

pub(super) const RULE: Rule = Rule {
    id: "DL3049",
    aliases: &[],
    severity: Severity::Info,
    title: "a label of the project's schema is missing",
    why: "Only where `[lint.labels]` of `.rbuild.toml` lists some. What a base image sets does not count: it is about the base.",
    bad: "FROM scratch\nUSER 65532:65532\n",
    good: "FROM scratch\nLABEL version=1.2.3\nUSER 65532:65532\n",
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    let Some(last) = view.last().filter(|_| !view.options.labels.is_empty()) else {
        return;
    };
    let mut names = BTreeSet::new();
    for step in view.shipped_steps() {
        if let InstructionKind::Label(pairs) = &step.instruction.kind {
            for pair in &pairs.pairs {
                let name = step.value(&pair.name);
                if name.known().is_none() {
                    return;
                }
                names.insert(name.text);
            }
        }
    }
    for label in view.options.labels.keys() {
        if !names.contains(label) {
            found
                .add(
                    last.stage.from.span,
                    format!("nothing sets the label {label}"),
                )
                .help(format!("add LABEL {label}=..."));
        }
    }
}
