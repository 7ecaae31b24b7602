//! StageNameCasing: a stage's name with capitals. The parser finds it.

use super::prelude::*;

pub(super) const RULE: Rule = Rule {
    id: "StageNameCasing",
    aliases: &[],
    severity: Severity::Warning,
    title: "a stage name that is not in lower case",
    why: "Stage names are compared without case, and shown in lower case: written so, they are found.",
    bad: "FROM scratch AS Base\nFROM base\nUSER 65532:65532\n",
    good: "FROM scratch AS base\nFROM base\nUSER 65532:65532\n",
    check: None,
};
