//! LegacyKeyValueFormat: `ENV name value`. The parser finds it.

use super::prelude::*;

pub(super) const RULE: Rule = Rule {
    id: "LegacyKeyValueFormat",
    aliases: &[],
    severity: Severity::Warning,
    title: "`ENV name value` or `LABEL name value`",
    why: "The old form takes the rest of the line as one value, so a second pair on it becomes part of the first.",
    bad: "FROM scratch\nENV LANG C.UTF-8\nUSER 65532:65532\n",
    good: "FROM scratch\nENV LANG=C.UTF-8\nUSER 65532:65532\n",
    check: None,
};
