//! RB001: a comment that should ignore something and does not. [`suppress`](crate::lint::suppress) finds it.

use super::prelude::*;

pub(super) const RULE: Rule = Rule {
    id: UNREASONED,
    aliases: &[],
    severity: Severity::Warning,
    title: "`# rbuild ignore=` without a reason, with an unknown rule, or above nothing",
    why: "Whoever reads the comment later must be able to judge whether it is still right. Without a reason it ignores nothing.",
    bad: "# rbuild ignore=RB105\nFROM scratch\nUSER 65532:65532\n",
    good: "FROM scratch\n# rbuild ignore=RB105 the group comes from the image's passwd file\nUSER 65532\n",
    check: None,
};
