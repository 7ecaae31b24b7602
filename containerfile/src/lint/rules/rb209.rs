//! RB209: a program for another processor, or for a newer C library. Only an image tells: `lint/image/rb209.rs` looks.

use super::prelude::*;

pub(super) const RULE: Rule = Rule {
    id: "RB209",
    aliases: &[],
    severity: Severity::Error,
    title: "a program is for another processor, or for a newer C library",
    why: "The kernel says `exec format error`, the loader `version GLIBC_2.38 not found`. Both come from building on one platform or distribution \
and copying to another.",
    bad: "FROM debian:13 AS build\nRUN make\nFROM debian:12\nCOPY --from=build /app /app\nUSER 65532:65532\nENTRYPOINT [\"/app\"]\n",
    good: "FROM debian:13 AS build\nRUN make\nFROM debian:13\nCOPY --from=build /app /app\nUSER 65532:65532\nENTRYPOINT [\"/app\"]\n",
    check: None,
};
