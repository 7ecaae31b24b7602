//! RB505: several programs, and a shell in the place of init.

use super::prelude::*;
use crate::ast::Command;
use crate::lint::shell::{self, Program, is_shell};

pub(super) const RULE: Rule = Rule {
    id: "RB505",
    aliases: &[],
    severity: Severity::Warning,
    title: "a shell starts programs in the background, with no init above it",
    why: "The shell is process 1: it passes no signal on, so the container is killed after ten seconds instead of stopped, and what the \
programs leave behind stays as zombies. One program for each container; or an init as ENTRYPOINT, `--init`, or `RunInit=true` of Quadlet.",
    bad: on_debian!(
        "COPY app helper /usr/local/bin/\nHEALTHCHECK NONE\nUSER 65532:65532\nENTRYPOINT [\"/bin/sh\", \"-c\", \"helper & exec app\"]"
    ),
    good: on_debian!(
        "COPY app helper /usr/local/bin/\nHEALTHCHECK NONE\nUSER 65532:65532\nENTRYPOINT [\"/usr/local/bin/app\"]"
    ),
    check: Some(check),
};

const INITS: [&str; 8] = [
    "tini",
    "tini-static",
    "dumb-init",
    "catatonit",
    "s6-svscan",
    "runsvdir",
    "supervisord",
    "init",
];

fn check(view: &View<'_>, found: &mut Findings) {
    let Some(command) = view.started() else {
        return;
    };
    let script = match command {
        Command::Exec(words) => words
            .first()
            .filter(|word| word.value.starts_with('/') && !is_shell(&word.value))
            .and_then(|word| view.made(&crate::path::clean(&word.value)))
            .and_then(|made| made.content),
        Command::Shell(_) => None,
    };
    let programs = match script {
        Some(heredoc) => shell::file(view.source, heredoc),
        None => shell::command(command),
    };
    let cares = |program: &Program| {
        INITS.contains(&program.name()) || matches!(program.name(), "trap" | "wait")
    };
    if programs.iter().any(cares) {
        return;
    }
    if let Some(program) = programs.iter().find(|program| program.background) {
        let name = program.words[0].text.as_str();
        let message = format!("{name} runs in the background of a shell that is process 1");
        found
            .add(program.span(), message)
            .help("give it a container of its own, or put an init in front of the shell");
    }
}
