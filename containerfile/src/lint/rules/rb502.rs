//! RB502: a health check with a program that is not in the image.

use super::prelude::*;
use crate::ast::{Command, Healthcheck};
use crate::lint::shell;
use crate::lint::view::PATH;

/// What health checks usually call, and scratch has not.
const PROBES: [&str; 6] = [
    "curl",
    "wget",
    "nc",
    "pg_isready",
    "redis-cli",
    "grpc_health_probe",
];

pub(super) const RULE: Rule = Rule {
    id: "RB502",
    aliases: &[],
    severity: Severity::Error,
    title: "HEALTHCHECK calls a program that is not in the image",
    why: "The check fails each time, so the container is never healthy and whatever waits for it waits forever.",
    bad: service!("HEALTHCHECK CMD [\"curl\", \"-f\", \"http://127.0.0.1:8080/\"]"),
    good: service!("HEALTHCHECK CMD [\"/app\", \"health\"]"),
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    for step in view.shipped_steps() {
        let InstructionKind::Healthcheck(Healthcheck::Check(probe)) = &step.instruction.kind else {
            continue;
        };
        for program in shell::command(&probe.command) {
            let name = program.name();
            let path = &program.words[0].text;
            let missing = match path.starts_with('/') {
                true => !view.may_contain(&crate::path::clean(path)),
                false => PATH
                    .iter()
                    .all(|directory| !view.may_contain(&format!("{directory}/{name}"))),
            };
            let exec = matches!(probe.command, Command::Exec(_)) && path.starts_with('/');
            let known = PROBES.contains(&name) || (exec && view.final_facts().is_some());
            if known && missing {
                let message = format!("HEALTHCHECK calls {name}, which is not in the image");
                found
                    .add(program.words[0].span, message)
                    .help("let the program check itself, or copy a static probe into the image");
                break;
            }
        }
    }
}
