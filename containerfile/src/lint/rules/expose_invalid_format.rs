//! ExposeInvalidFormat: EXPOSE with what is no port of the container.

use super::prelude::*;
use crate::ports;

pub(super) const RULE: Rule = Rule {
    id: "ExposeInvalidFormat",
    aliases: &["DL3011"],
    severity: Severity::Error,
    title: "EXPOSE with a host port, an address, or a number that is no port",
    why: "EXPOSE says what the container listens on. Where that appears outside is decided when it is started; `rbuild build` refuses this.",
    bad: service!("EXPOSE 127.0.0.1:8080:8080"),
    good: service!("EXPOSE 8080"),
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    for (_, step) in view.steps() {
        let InstructionKind::Expose(words) = step.inner() else {
            continue;
        };
        for word in words {
            let value = step.value(word);
            // A variable may hold several.
            let known = value.known().filter(|_| !word.mentions_variable());
            if let Some(Err(error)) = known.map(ports::parse) {
                found
                    .add(word.span, error.to_string())
                    .help("write PORT or PORT/PROTOCOL");
            }
        }
    }
}
