//! RB105: the final USER has no group.

use super::prelude::*;
use crate::user::Id;

pub(super) const RULE: Rule = Rule {
    id: "RB105",
    aliases: &[],
    severity: Severity::Warning,
    title: "the final USER has no group",
    why: "The group becomes what the image's passwd file says, and 0 where there is none: the process then reads and writes what belongs to \
the group root.",
    bad: "FROM scratch\nUSER 65532\n",
    good: "FROM scratch\nUSER 65532:65532\n",
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    let Some(user) = view.known_final_user() else {
        return;
    };
    let (id, group) = user.parts();
    match Id::parse(id) {
        _ if group.is_some_and(|group| !group.is_empty()) || id.is_empty() || id == "root" => {}
        Id::Number(0) | Id::Malformed => {}
        Id::Name => {
            let message = format!("USER {id} leaves the group to the image");
            found
                .add(user.word.span, message)
                .help("write its numbers: USER UID:GID");
        }
        Id::Number(_) => {
            let written = user.word.raw.trim_end_matches(':');
            let line = format!("{written}:{written}");
            let message = format!("USER {id} leaves the group to the image");
            let plain = written.bytes().all(|byte| byte.is_ascii_digit());
            let finding = found
                .add(user.word.span, message)
                .help(format!("write: USER {line}"));
            if plain {
                finding.fix(user.word.span, line);
            }
        }
    }
}
