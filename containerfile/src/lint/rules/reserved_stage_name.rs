//! ReservedStageName: a stage called scratch or context. The parser finds it.

use super::prelude::*;

pub(super) const RULE: Rule = Rule {
    id: "ReservedStageName",
    aliases: &["DL3063"],
    severity: Severity::Warning,
    title: "a stage is called `scratch` or `context`",
    why: "Both words mean something else after FROM and --from.",
    bad: "FROM scratch AS context\nUSER 65532:65532\n",
    good: "FROM scratch AS files\nUSER 65532:65532\n",
    check: None,
};
