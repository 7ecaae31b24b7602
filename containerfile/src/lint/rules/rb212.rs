//! RB212: what programs take for granted and scratch has not.

use super::prelude::*;

pub(super) const RULE: Rule = Rule {
    id: "RB212",
    aliases: &[],
    severity: Severity::Info,
    title: "an image from scratch that is started, without /tmp or an account",
    why: "Libraries make files in /tmp and look up the user's name and home directory. Scratch has neither, and a process that is not root \
cannot make them.",
    bad: "FROM scratch\nCOPY --chmod=555 app /app\nUSER 65532:65532\nHEALTHCHECK CMD [\"/app\", \"health\"]\nENTRYPOINT [\"/app\"]\n",
    good: service!("HEALTHCHECK CMD [\"/app\", \"health\"]\nENTRYPOINT [\"/app\"]"),
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    let Some(last) = view.last().filter(|last| last.root == Root::Scratch) else {
        return;
    };
    if !view.starts_something() {
        return;
    }
    let missing: Vec<&str> = ["/tmp", "/etc/passwd"]
        .into_iter()
        .filter(|path| !view.may_contain(path))
        .collect();
    if !missing.is_empty() {
        let message = format!("the final image has no {}", missing.join(" and no "));
        found
            .add(last.stage.from.span, message)
            .help("copy a directory with mode 1777 to /tmp, and a passwd file with a line for the user to /etc/passwd");
    }
}
