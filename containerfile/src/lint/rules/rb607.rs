//! RB607: owners that an ordinary range of subordinate ids does not hold. Only an image tells: `lint/image/rb607.rs` looks.

use super::prelude::*;

pub(super) const RULE: Rule = Rule {
    id: "RB607",
    aliases: &[],
    severity: Severity::Warning,
    title: "a file belongs to an id of 65536 or above",
    why: "A user has 65536 subordinate ids as a rule. Files of others cannot be unpacked: `lchown: invalid argument`.",
    bad: "FROM scratch\nCOPY --chown=100000:100000 app /app\nUSER 65532:65532\n",
    good: "FROM scratch\nCOPY app /app\nUSER 65532:65532\n",
    check: None,
};
