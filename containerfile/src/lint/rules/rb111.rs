//! RB111: programs that change the user.

use super::prelude::*;
use crate::ast::Command;
use crate::lint::shell;

const CHANGE: [&str; 7] = [
    "sudo", "su", "gosu", "su-exec", "doas", "setpriv", "runuser",
];

pub(super) const RULE: Rule = Rule {
    id: "RB111",
    aliases: &["DL3004", "DKL-DI-0001"],
    severity: Severity::Warning,
    title: "sudo, su, gosu or the like",
    why: "They need set-user-ID bits or capabilities, which `no_new_privs` and user namespaces take away: at run time they fail for every \
hardened container. In a build the step is root already; at run time the container is started as the right user.",
    bad: "FROM scratch\nUSER 65532:65532\nHEALTHCHECK CMD [\"/usr/bin/app\", \"health\"]\nCOPY --chmod=555 app gosu /usr/bin/\nCOPY passwd /etc/passwd\nWORKDIR /tmp\nENTRYPOINT [\"gosu\", \"65532\", \"app\"]\n",
    good: "FROM scratch\nUSER 65532:65532\nHEALTHCHECK CMD [\"/usr/bin/app\", \"health\"]\nCOPY --chmod=555 app gosu /usr/bin/\nCOPY passwd /etc/passwd\nWORKDIR /tmp\nENTRYPOINT [\"/usr/bin/app\"]\n",
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    for (_, _, program) in view.programs() {
        let name = program.name();
        // Images that install one try it out.
        let tried = program.has("nobody") || program.has("--version") || program.has("-V");
        if CHANGE.contains(&name) && program.words.len() > 1 && !tried {
            let message =
                format!("{name} in a build: the step is root already, or USER says who it is");
            found
                .add(program.words[0].span, message)
                .help("leave it out, or write USER before the step");
        }
    }
    let (entrypoint, cmd) = view.entry();
    for command in [entrypoint, cmd.filter(|_| entrypoint.is_none())]
        .into_iter()
        .flatten()
    {
        let Command::Exec(words) = command else {
            continue;
        };
        let starts = shell::exec(words);
        let first = starts
            .first()
            .filter(|program| CHANGE.contains(&program.name()));
        if let Some(program) = first {
            let message = format!(
                "{} cannot change the user without privileges",
                program.name()
            );
            found
                .add(program.words[0].span, message)
                .help("start the program itself; USER, or the option --user of what starts it, says as whom");
        }
    }
}
