//! RB002: a comment that ignores nothing any more. [`suppress`](crate::lint::suppress) finds it.

use super::prelude::*;

pub(super) const RULE: Rule = Rule {
    id: UNUSED,
    aliases: &[],
    severity: Severity::Warning,
    title: "`# rbuild ignore=` that ignores nothing",
    why: "A comment that outlived its cause hides the next mistake.",
    bad: "FROM scratch\n# rbuild ignore=RB103 numbers came later\nUSER 65532:65532\n",
    good: "FROM scratch\nUSER 65532:65532\n",
    check: None,
};
