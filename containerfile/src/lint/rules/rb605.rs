//! RB605: directories of the image that USER writes, and that are no volumes. Only an image tells: `lint/image/rb605.rs` looks.

use super::prelude::*;

pub(super) const RULE: Rule = Rule {
    id: "RB605",
    aliases: &[],
    severity: Severity::Info,
    title: "a directory that USER writes is no volume",
    why: "Containers that are started with a read-only root, as hardened hosts do, cannot write it; without one, what is written is lost with the \
container.",
    bad: "FROM scratch\nCOPY --chown=65532:65532 state /var/lib/app\nUSER 65532:65532\n",
    good: "FROM scratch\nCOPY --chown=65532:65532 state /var/lib/app\nVOLUME /var/lib/app\nUSER 65532:65532\n",
    check: None,
};
