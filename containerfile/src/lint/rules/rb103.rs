//! RB103: the final USER, or its group, is written as a name.

use super::prelude::*;
use crate::user::Id;

pub(super) const RULE: Rule = Rule {
    id: "RB103",
    aliases: &["DL3066"],
    severity: Severity::Error,
    title: "the final USER is a name",
    why: "An image from scratch has no passwd file to look the name up in, and what starts an image cannot check that a name is not root: \
Kubernetes refuses it under runAsNonRoot. Digits need no file.",
    bad: "FROM scratch\nUSER app:app\n",
    good: "FROM scratch\nUSER 65532:65532\n",
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    let Some(user) = view.known_final_user() else {
        return;
    };
    // Through a variable it is RB104, whose help is another one.
    if user.word.mentions_variable() {
        return;
    }
    let (id, group) = user.parts();
    let named = |id: &str| Id::parse(id) == Id::Name;
    if id != "root" && (named(id) || group.is_some_and(named)) {
        let message = format!(
            "USER {:?} is a name: what starts the image cannot check that it is not root",
            user.value.text
        );
        let numbers = (group.is_none().then(|| view.final_facts()).flatten())
            .and_then(|base| base.users.iter().find(|(name, ..)| name == id))
            .map_or("UID:GID".to_owned(), |(_, uid, gid)| format!("{uid}:{gid}"));
        found
            .add(user.word.span, message)
            .help(format!("write its numbers: USER {numbers}"));
    }
}
