//! RB102: the final USER is root, however it is spelled.

use super::prelude::*;
use crate::user::Id;

pub(super) const RULE: Rule = Rule {
    id: "RB102",
    aliases: &["DL3002"],
    severity: Severity::Error,
    title: "the final USER is root",
    why: "Root inside is the caller on the host. `0`, `00`, `0:0`, `root` and a variable that holds one of them are the same. In stages that \
are not the final image, root is what installs packages, and fine.",
    bad: "ARG UID=0\nFROM scratch\nARG UID\nUSER ${UID}:${UID}\n",
    good: "ARG UID=65532\nFROM scratch\nARG UID\nUSER ${UID}:${UID}\n",
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    let Some(user) = view.known_final_user() else {
        return;
    };
    let (id, _) = user.parts();
    if Id::parse(id) == Id::Number(0) || id == "root" {
        let message = format!("USER {:?} is root", user.value.text);
        found.add(user.word.span, message).help(
            "write: USER 65532:65532, and have it own what it writes with COPY --chown=65532:65532",
        );
    }
}
