//! RB107: the final USER is the overflow id.

use super::prelude::*;

pub(super) const RULE: Rule = Rule {
    id: "RB107",
    aliases: &[],
    severity: Severity::Warning,
    title: "the final USER is 65534, nobody",
    why: "65534 is the id that the kernel shows for every file whose owner has no mapping: all of them then look as if they belonged to the \
process, and none does.",
    bad: "FROM scratch\nUSER 65534:65534\n",
    good: "FROM scratch\nUSER 65532:65532\n",
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    let Some(user) = view.known_final_user() else {
        return;
    };
    if matches!(user.parts().0, "65534" | "nobody") {
        let message =
            "nobody (65534) is who the kernel shows as the owner of every file without a mapping";
        found
            .add(user.word.span, message)
            .help("write: USER 65532:65532");
    }
}
