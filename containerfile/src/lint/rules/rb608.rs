//! RB608: files of many owners. Only an image tells: `lint/image/rb608.rs` looks.

use super::prelude::*;

pub(super) const RULE: Rule = Rule {
    id: "RB608",
    aliases: &[],
    severity: Severity::Info,
    title: "files belong to more ids than root's and USER's",
    why: "A host where the user has a single id cannot unpack them as they are. Images from scratch need two: root for programs, USER for state.",
    bad: "FROM debian\nCOPY app /app\nUSER 65532:65532\n",
    good: "FROM scratch\nCOPY app /app\nUSER 65532:65532\n",
    check: None,
};
