//! DuplicateStageName: two stages of one name. The parser finds it.

use super::prelude::*;

pub(super) const RULE: Rule = Rule {
    id: "DuplicateStageName",
    aliases: &["DL3024"],
    severity: Severity::Warning,
    title: "two stages have the same name",
    why: "The name means the last of them from there on, and the first can be reached by its number only.",
    bad: "FROM scratch AS base\nFROM scratch AS base\nFROM base\nUSER 65532:65532\n",
    good: "FROM scratch AS base\nFROM scratch AS other\nFROM base\nUSER 65532:65532\n",
    check: None,
};
