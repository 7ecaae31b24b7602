//! RB801: secrets that the image keeps.

use super::prelude::*;
use crate::ast::Word;

pub(super) const RULE: Rule = Rule {
    id: "RB801",
    aliases: &["SecretsUsedInArgOrEnv", "DL3064", "CIS-DI-0010"],
    severity: Severity::Warning,
    title: "a secret in ARG, ENV or COPY",
    why: "The history of the image shows the values of ARG and ENV to everybody who can pull it, and a file that a later step deletes is still \
in its layer. A secret mount is there for one step only, and nowhere afterwards.",
    bad: in_build!("ARG API_TOKEN\nRUN make"),
    good: in_build!("RUN --mount=type=secret,id=token make"),
    check: Some(check),
};

const SECRET: [&str; 9] = [
    "password",
    "passwd",
    "pword",
    "secret",
    "token",
    "apikey",
    "credential",
    "credentials",
    "passphrase",
];

const KEYS: [&str; 5] = ["api", "secret", "private", "access", "encryption"];

const FILES: [&str; 8] = [
    "id_rsa",
    "id_dsa",
    "id_ecdsa",
    "id_ed25519",
    ".netrc",
    ".git-credentials",
    ".pgpass",
    ".htpasswd",
];

fn check(view: &View<'_>, found: &mut Findings) {
    let help = "use a secret mount: RUN --mount=type=secret,id=NAME, and --secret for the build";
    let mut name = |word: &Word, what: &str| {
        if is_secret(&word.raw) {
            let message = format!("{what} {} stays in the history of the image", word.raw);
            found.add(word.span, message).help(help);
        }
    };
    for arg in &view.file.global_args {
        arg.value
            .entries
            .iter()
            .for_each(|entry| name(&entry.name, "ARG"));
    }
    for (_, step) in view.steps() {
        match step.inner() {
            InstructionKind::Arg(arg) => arg
                .entries
                .iter()
                .for_each(|entry| name(&entry.name, "ARG")),
            InstructionKind::Env(pairs) => {
                let filled = pairs
                    .pairs
                    .iter()
                    .filter(|pair| step.value(&pair.value).known() != Some(""));
                filled.for_each(|pair| name(&pair.name, "ENV"));
            }
            _ => {}
        }
    }
    for (_, step) in view.steps() {
        let Some(copying) = step.copying().filter(|copying| copying.from.is_none()) else {
            continue;
        };
        for source in copying.paths() {
            let file = source.raw.rsplit('/').next().unwrap_or_default();
            if FILES.contains(&file) || source.raw.ends_with(".aws/credentials") {
                let message = format!("{file} stays in the layer, whatever a later step deletes");
                found.add(source.span, message).help(help);
            }
        }
    }
}

/// Whether a variable's name says that its value is a secret, and not where one is or what it is called.
pub(super) fn is_secret(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let mut parts = lower.rsplit('_');
    let last = parts.next().unwrap_or_default();
    let before = parts.next().unwrap_or_default();
    let public = lower.split('_').any(|part| part == "public");
    !public && (SECRET.contains(&last) || (last == "key" && KEYS.contains(&before)))
}
