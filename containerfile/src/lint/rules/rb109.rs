//! RB109: RUN as an ordinary user of what only root can do.

use super::prelude::*;
use crate::lint::shell::Program;
use crate::user::Id;

/// Programs that change system files, and the words that make them do it; none for always.
const NEED_ROOT: [(&str, &[&str]); 18] = [
    (
        "apt-get",
        &[
            "install",
            "update",
            "upgrade",
            "dist-upgrade",
            "remove",
            "purge",
            "clean",
            "autoremove",
        ],
    ),
    (
        "apt",
        &[
            "install",
            "update",
            "upgrade",
            "full-upgrade",
            "remove",
            "purge",
            "clean",
            "autoremove",
        ],
    ),
    ("apk", &["add", "del", "update", "upgrade"]),
    ("dnf", &["install", "update", "upgrade", "remove", "clean"]),
    (
        "microdnf",
        &["install", "update", "upgrade", "remove", "clean"],
    ),
    ("yum", &["install", "update", "upgrade", "remove", "clean"]),
    (
        "zypper",
        &["install", "in", "update", "up", "remove", "rm", "clean"],
    ),
    ("useradd", &[]),
    ("adduser", &[]),
    ("usermod", &[]),
    ("userdel", &[]),
    ("groupadd", &[]),
    ("addgroup", &[]),
    ("groupmod", &[]),
    ("update-ca-certificates", &[]),
    ("update-alternatives", &["--install", "--set"]),
    ("setcap", &[]),
    ("locale-gen", &[]),
];

pub(super) const RULE: Rule = Rule {
    id: "RB109",
    aliases: &[],
    severity: Severity::Error,
    title: "RUN as an ordinary user of a program that needs root",
    why: "After USER the step is that user: packages and accounts cannot be changed any more, and the step fails. Install first, then USER.",
    bad: concat!(
        "FROM ",
        pinned!(),
        " AS build\nUSER 65532:65532\nRUN useradd --uid 1000 app\nFROM scratch\nUSER 65532:65532\n"
    ),
    good: concat!(
        "FROM ",
        pinned!(),
        " AS build\nRUN make\nUSER 65532:65532\nRUN make test\nFROM scratch\nUSER 65532:65532\n"
    ),
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    for (_, step, program) in view.programs() {
        let user = view.user(step.at.user);
        let ordinary = user.as_ref().is_some_and(|user| {
            user.value.known().is_some() && matches!(Id::parse(user.parts().0), Id::Number(1..))
        });
        let needs = NEED_ROOT.iter().any(|(name, verbs)| {
            *name == program.name()
                && (verbs.is_empty()
                    || program
                        .arguments()
                        .iter()
                        .any(|word| verbs.contains(&word.text.as_str())))
        });
        let asked = program.arguments().iter().any(|word| word.text == "--help");
        if ordinary && needs && !asked && !is_raised(step, &program) {
            let user = user.map(|user| user.value.text).unwrap_or_default();
            let message = format!(
                "{} needs root, and the step runs as USER {user}",
                program.name()
            );
            found
                .add(program.words[0].span, message)
                .help("do it before USER, or in a stage of its own");
        }
    }
}

/// `sudo apt-get` is RB111, and may work.
fn is_raised(step: &Step<'_>, program: &Program) -> bool {
    let end = program.span().end();
    let raises =
        |other: &Program| matches!(other.name(), "sudo" | "doas") && other.span().end() == end;
    step.programs().iter().any(raises)
}
