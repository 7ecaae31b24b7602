//! RB000: what the parser calls an error.

use super::prelude::*;

pub(super) const RULE: Rule = Rule {
    id: UNREADABLE,
    aliases: &["DL1000", "DL3043", "DL3061"],
    severity: Severity::Error,
    title: "the file cannot be read as a Containerfile",
    why: "No builder takes it. All such places are found in one run: after an error, reading goes on with the next instruction.",
    bad: "FROM scratch\nUSER 65532:65532\nCOPPY app /app\n",
    good: "FROM scratch\nUSER 65532:65532\nCOPY app /app\n",
    check: None,
};
