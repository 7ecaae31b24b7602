//! DL3052: labels of another form than the project wants.

use super::prelude::*;
use crate::lint::LabelForm;

pub(super) const RULE: Rule = Rule {
    id: "DL3052",
    aliases: &["DL3054", "DL3055", "DL3056", "DL3058"],
    severity: Severity::Warning,
    title: "a label has another form than the project's schema says",
    why: "Programs that read it fail. Only for labels that `[lint.labels]` of `.rbuild.toml` lists, with the forms text, url, semver, hash, \
rfc3339, spdx and email. A value that a build argument without a default decides is not looked at.",
    bad: "FROM scratch\nLABEL version=next\nUSER 65532:65532\n",
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
            let Some(form) = view.options.labels.get(&name) else {
                continue;
            };
            // RB708 says it of this one.
            if *form == LabelForm::Rfc3339 && name == "org.opencontainers.image.created" {
                continue;
            }
            let value = step.value(&pair.value);
            let wrong = value
                .known()
                .is_some_and(|value| !value.trim().is_empty() && !form.fits(value));
            if wrong {
                let message = format!("{:?} is not {}", value.text, form.described());
                found.add(pair.value.span, message).help(format!(
                    "the project's schema wants {} here",
                    form.described()
                ));
            }
        }
    }
}
