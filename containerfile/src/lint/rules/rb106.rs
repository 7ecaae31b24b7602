//! RB106: an id of the final USER that the usual range of subordinate ids does not reach.

use super::prelude::*;
use crate::user::Id;

pub(super) const RULE: Rule = Rule {
    id: "RB106",
    aliases: &[],
    severity: Severity::Warning,
    title: "the final USER has an id above 65535",
    why: "Users have 65,536 subordinate ids: image ids from 65536 on cannot be mapped, and the container does not start.",
    bad: "FROM scratch\nUSER 70000:70000\n",
    good: "FROM scratch\nUSER 65532:65532\n",
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    let Some(user) = view.known_final_user() else {
        return;
    };
    let (id, group) = user.parts();
    let highest = view.options.limits.highest_id;
    let large = |id: &&str| matches!(Id::parse(id), Id::Number(number) if number > highest);
    if let Some(id) = [Some(id), group].into_iter().flatten().find(large) {
        let message = match highest {
            65535 => {
                format!("id {id} is beyond the 65,536 subordinate ids that users usually have")
            }
            _ => format!("id {id} is above {highest}, the highest one that the project allows"),
        };
        found
            .add(user.word.span, message)
            .help("use a lower one, for example 65532");
    }
}
