//! FromAsCasing: FROM and AS in different cases. The parser finds it.

use super::prelude::*;

pub(super) const RULE: Rule = Rule {
    id: "FromAsCasing",
    aliases: &[],
    severity: Severity::Warning,
    title: "`FROM … as` or `from … AS`",
    why: "One case for one line reads better.",
    bad: "FROM scratch as base\nFROM base\nUSER 65532:65532\n",
    good: "FROM scratch AS base\nFROM base\nUSER 65532:65532\n",
    check: None,
};
