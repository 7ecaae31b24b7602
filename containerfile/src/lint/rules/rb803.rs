//! RB803: the network, where the file says that there is none, or after it was done without.

use super::prelude::*;
use crate::ast::NetworkMode;
use crate::lint::shell::Program;

pub(super) const RULE: Rule = Rule {
    id: "RB803",
    aliases: &[],
    severity: Severity::Warning,
    title: "a step fetches from the network after one with --network=none",
    why: "With `RUN --network=none` a stage says that everything was fetched before. A step that fetches again makes the build depend on the \
network after all, and one that is itself without network fails.",
    bad: in_build!(
        "RUN --network=none make\nRUN git clone https://example.com/more.git && make -C more"
    ),
    good: in_build!(
        "RUN git clone https://example.com/more.git\nRUN --network=none make && make -C more"
    ),
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    for stage in &view.stages {
        let mut offline = false;
        for step in stage.steps.iter().filter(|step| step.fired_by.is_none()) {
            let InstructionKind::Run(run) = step.inner() else {
                continue;
            };
            let none = run
                .network
                .as_ref()
                .is_some_and(|network| network.value == NetworkMode::None);
            let programs = step.programs();
            let fetching = programs.iter().find(|program| fetches(program));
            if let Some(program) = fetching.filter(|_| none || offline) {
                let message = match none {
                    true => "this needs the network, and the step has none",
                    false => {
                        "this needs the network, and a step before it was said to be done without"
                    }
                };
                found
                    .add(program.span(), message)
                    .help("fetch before the first RUN --network=none");
            }
            offline |= none;
        }
    }
}

/// Whether a program surely fetches.
fn fetches(program: &Program) -> bool {
    let url = program.arguments().iter().any(|word| {
        let host = word
            .text
            .strip_prefix("https://")
            .or_else(|| word.text.strip_prefix("http://"));
        host.is_some_and(|host| {
            !["localhost", "127.", "[::1]"]
                .iter()
                .any(|own| host.starts_with(own))
        })
    });
    match (program.name(), program.verb()) {
        ("curl" | "wget", _) => url,
        ("git", "clone" | "fetch" | "pull") => url,
        ("apt-get" | "apt" | "apk", "update") | ("go", "get") | ("go", "mod")
            if program.has("update") || program.has("get") || program.has("download") =>
        {
            true
        }
        ("cargo", "fetch") => !program.has("--offline"),
        _ => false,
    }
}
