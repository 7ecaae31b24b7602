//! EmptyCommand: CMD, ENTRYPOINT or HEALTHCHECK CMD without a command. The parser finds it.

use super::prelude::*;

pub(super) const RULE: Rule = Rule {
    id: "EmptyCommand",
    aliases: &[],
    severity: Severity::Warning,
    title: "a command line without a command",
    why: "The shell is started with an empty line, and ends at once. To take a command away write `[]`.",
    bad: concat!(
        "FROM ",
        pinned!(),
        " AS base\nCMD\nFROM scratch\nUSER 65532:65532\n"
    ),
    good: concat!(
        "FROM ",
        pinned!(),
        " AS base\nCMD []\nFROM scratch\nUSER 65532:65532\n"
    ),
    check: None,
};
