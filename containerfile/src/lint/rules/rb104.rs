//! RB104: the final USER is a variable that holds no number.

use super::prelude::*;
use crate::user::Id;

pub(super) const RULE: Rule = Rule {
    id: "RB104",
    aliases: &[],
    severity: Severity::Error,
    title: "the final USER expands to something that is no number, or to nothing",
    why: "A blank USER is root, and nothing in the file shows it. An argument without a default is blank unless somebody remembers \
`--build-arg`; one whose default is a name has the faults of a name.",
    bad: "FROM scratch\nARG UID\nUSER ${UID}:65532\n",
    good: "FROM scratch\nARG UID=65532\nUSER ${UID}:65532\n",
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    let Some(user) = view.final_user() else {
        return;
    };
    let value = &user.value;
    let (id, group) = user.parts();
    let number = |id: &str| matches!(Id::parse(id), Id::Number(_));
    let place = user.word.span;
    match value.certainty {
        Certainty::Unknown => {}
        Certainty::Argument | Certainty::Undefined
            if !number(id) || group.is_some_and(|group| !number(group)) =>
        {
            let names = value.unset_names();
            let what = if id.is_empty() {
                "the user is blank, which is root"
            } else {
                "the user is not a number"
            };
            let message = format!("nothing here sets {names}: without --build-arg {what}");
            found
                .add(place, message)
                .help("give it a numeric default: ARG UID=65532");
        }
        Certainty::Known if user.word.mentions_variable() => {
            let bad = |id: &str| !number(id) && id != "root";
            if bad(id) || group.is_some_and(bad) {
                let message = format!("USER expands to {:?}, which is not numeric", value.text);
                found
                    .add(place, message)
                    .help("give the variable a numeric default: ARG UID=65532");
            }
        }
        Certainty::Known
            if Id::parse(id) == Id::Malformed
                || group.is_some_and(|group| Id::parse(group) == Id::Malformed) =>
        {
            let message = format!("USER {:?} is neither a number nor a name", value.text);
            found.add(place, message).help("write: USER 65532:65532");
        }
        _ => {}
    }
}
