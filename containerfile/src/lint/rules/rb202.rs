//! RB202: a C library that no program uses. Only an image tells: `lint/image/rb202.rs` looks.

use super::prelude::*;

pub(super) const RULE: Rule = Rule {
    id: "RB202",
    aliases: &[],
    severity: Severity::Info,
    title: "a static program on a base with a C library",
    why: "A base with a C library is larger, and has to be rebuilt when the library has a flaw; a static program does not use it. The other way \
round, a dynamic program on scratch, is RB203.",
    bad: "FROM gcr.io/distroless/base-debian12\nCOPY --chmod=555 static-app /app\nUSER 65532:65532\nENTRYPOINT [\"/app\"]\n",
    good: "FROM scratch\nCOPY --chmod=555 static-app /app\nUSER 65532:65532\nENTRYPOINT [\"/app\"]\n",
    check: None,
};
