//! UndefinedArgInFrom: FROM with a variable that no ARG before it declares.

use super::prelude::*;

pub(super) const RULE: Rule = Rule {
    id: "UndefinedArgInFrom",
    aliases: &[],
    severity: Severity::Warning,
    title: "FROM uses a variable that is not declared before the first FROM",
    why: "Only an ARG before the first FROM is seen there; anything else is blank.",
    bad: "FROM scratch${SUFFIX}\nUSER 65532:65532\n",
    good: "ARG SUFFIX=\"\"\nFROM scratch${SUFFIX}\nUSER 65532:65532\n",
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    for stage in &view.stages {
        let from = &stage.stage.from;
        let platform = stage.platform.as_ref().zip(from.platform.as_ref());
        for (value, word) in [(&stage.image, &from.image)].into_iter().chain(platform) {
            if value.certainty == Certainty::Undefined {
                let message = format!(
                    "nothing before the first FROM declares {}",
                    value.unset_names()
                );
                found
                    .add(word.span, message)
                    .help("declare it there with ARG, and a default");
            }
        }
    }
}
