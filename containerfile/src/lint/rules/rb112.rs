//! RB112: set-user-ID bits and file capabilities.

use super::prelude::*;
use crate::mode::Mode;

pub(super) const RULE: Rule = Rule {
    id: "RB112",
    aliases: &["CIS-DI-0008"],
    severity: Severity::Warning,
    title: "set-user-ID bits or file capabilities",
    why: "A container without new privileges ignores both, and file capabilities cannot be unpacked by a user who has no subordinate ids. \
A port below 1024 is better moved above it.",
    bad: concat!(
        "FROM ",
        pinned!(),
        " AS build\nRUN setcap cap_net_bind_service=+ep /app\nFROM scratch\nCOPY --from=build /app /app\nUSER 65532:65532\n"
    ),
    good: concat!(
        "FROM ",
        pinned!(),
        " AS build\nRUN make\nFROM scratch\nCOPY --from=build /app /app\nUSER 65532:65532\nEXPOSE 8080\n"
    ),
    check: Some(check),
};

const SET_USER_ID: u32 = 0o4000;

fn check(view: &View<'_>, found: &mut Findings) {
    for (_, _, program) in view.programs() {
        match program.name() {
            "setcap" if program.words.len() > 2 && !program.has("-r") && !program.has("-v") => {
                let message = "file capabilities are ignored without new privileges";
                found
                    .add(program.words[0].span, message)
                    .help("leave them out; use a port of 1024 or above");
            }
            "chmod" => {
                let sets = |word: &&ShellWord| !word.dynamic && sets_user_id(&word.text);
                let mode = program
                    .arguments()
                    .iter()
                    .find(|word| !word.text.starts_with('-'));
                if let Some(word) = mode.filter(sets) {
                    let message = "the set-user-ID bit is ignored without new privileges";
                    found
                        .add(word.span, message)
                        .help("leave it out; start the program as the user that it needs");
                }
            }
            _ => {}
        }
    }
    for (_, step) in view.steps() {
        let Some(copying) = step.copying() else {
            continue;
        };
        if let Some(word) = &copying.transfer.chmod
            && step.value(word).known().is_some_and(sets_user_id)
        {
            found
                .add(
                    word.span,
                    "the set-user-ID bit is ignored without new privileges",
                )
                .help("leave it out");
        }
    }
}

fn sets_user_id(mode: &str) -> bool {
    mode.parse::<Mode>()
        .is_ok_and(|mode| mode.apply(0, false) & SET_USER_ID != 0)
}
