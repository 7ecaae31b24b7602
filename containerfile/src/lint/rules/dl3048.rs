//! DL3048: labels that belong to others, or that nobody can name.

use super::prelude::*;

pub(super) const RULE: Rule = Rule {
    id: "DL3048",
    aliases: &[],
    severity: Severity::Info,
    title: "the key of a label is reserved or has blanks",
    why: "com.docker., io.docker. and org.dockerproject. are Docker's own, and a key with blanks cannot be asked for by most tools.",
    bad: "FROM scratch\nLABEL com.docker.name=x\nUSER 65532:65532\n",
    good: "FROM scratch\nLABEL com.example.name=x\nUSER 65532:65532\n",
    check: Some(check),
};

/// Docker, "Docker object labels", except for what its tools read from images.
const RESERVED: [&str; 3] = ["com.docker.", "io.docker.", "org.dockerproject."];

const READ: [&str; 3] = [
    "com.docker.extension.",
    "com.docker.desktop.extension.",
    "com.docker.image.source.",
];

fn check(view: &View<'_>, found: &mut Findings) {
    for (_, step) in view.steps() {
        let InstructionKind::Label(pairs) = step.inner() else {
            continue;
        };
        for pair in &pairs.pairs {
            let value = step.value(&pair.name);
            let Some(key) = value.known() else {
                continue;
            };
            let theirs = RESERVED.iter().any(|prefix| key.starts_with(prefix))
                && !READ.iter().any(|prefix| key.starts_with(prefix));
            if theirs {
                found
                    .add(pair.name.span, format!("{key} is a name of Docker's own"))
                    .help("begin it with a domain of yours, backwards");
            } else if key.contains(char::is_whitespace) {
                found
                    .add(pair.name.span, format!("{key:?} has blanks"))
                    .help("write it with dots and hyphens");
            }
        }
    }
}
