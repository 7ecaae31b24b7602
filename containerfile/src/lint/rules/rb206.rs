//! RB206: ldd during the build.

use super::prelude::*;

pub(super) const RULE: Rule = Rule {
    id: "RB206",
    aliases: &[],
    severity: Severity::Warning,
    title: "ldd in a RUN step",
    why: "ldd runs the program's loader, so it executes what it should only look at; it says nothing about what is loaded at run time, and \
nothing at all about a program for another processor.",
    bad: in_build!("RUN make && ldd /app"),
    good: in_build!("RUN make && readelf --dynamic /app"),
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    for (_, _, program) in view.programs() {
        if program.name() == "ldd" && program.words.len() > 1 && !program.has("--version") {
            let message = "ldd executes the program that it is asked about";
            found
                .add(program.words[0].span, message)
                .help("readelf --dynamic lists what a program needs without running it");
        }
    }
}
