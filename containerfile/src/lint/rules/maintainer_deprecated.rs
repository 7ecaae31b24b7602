//! MaintainerDeprecated: the MAINTAINER instruction. The parser finds it.

use super::prelude::*;

pub(super) const RULE: Rule = Rule {
    id: "MaintainerDeprecated",
    aliases: &["DL4000"],
    severity: Severity::Warning,
    title: "MAINTAINER",
    why: "It is deprecated; the label is what tools read.",
    bad: "FROM scratch\nMAINTAINER ada@example.com\nUSER 65532:65532\n",
    good: "FROM scratch\nLABEL org.opencontainers.image.authors=ada@example.com\nUSER 65532:65532\n",
    check: None,
};
