//! NoEmptyContinuation: a blank line after a continuation. The parser finds it.

use super::prelude::*;

pub(super) const RULE: Rule = Rule {
    id: "NoEmptyContinuation",
    aliases: &[],
    severity: Severity::Warning,
    title: "a blank line inside a continued instruction",
    why: "It looks as if the instruction had ended, and later builders may refuse it.",
    bad: "FROM scratch\nLABEL a=b \\\n\n      c=d\nUSER 65532:65532\n",
    good: "FROM scratch\nLABEL a=b \\\n      c=d\nUSER 65532:65532\n",
    check: None,
};
