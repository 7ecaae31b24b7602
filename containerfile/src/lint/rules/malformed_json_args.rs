//! MalformedJSONArgs: what looks like an exec form and is none. The parser finds it.

use super::prelude::*;

pub(super) const RULE: Rule = Rule {
    id: "MalformedJSONArgs",
    aliases: &[],
    severity: Severity::Warning,
    title: "an array that is not well-formed JSON",
    why: "It is read as plain text, so the shell looks for a program called `[`. JSON has double quotes only, commas, and a closing bracket.",
    bad: in_build!("RUN ['make']"),
    good: in_build!("RUN [\"make\"]"),
    check: None,
};
