//! RB203: a program that lacks its loader or a library. Only an image tells: `lint/image/rb203.rs` looks.

use super::prelude::*;

pub(super) const RULE: Rule = Rule {
    id: "RB203",
    aliases: &[],
    severity: Severity::Error,
    title: "a program lacks its loader or a library",
    why: "It does not start: `error while loading shared libraries`, or `no such file or directory` although the file is there, which means its \
loader. `rbuild closure` lists what a program needs.",
    bad: "FROM scratch\nCOPY --from=build /usr/bin/curl /usr/bin/curl\nUSER 65532:65532\nENTRYPOINT [\"/usr/bin/curl\"]\n",
    good: "FROM scratch\n# what `rbuild closure /usr/bin/curl` lists, as a tree\nCOPY --from=build /closure /\nUSER 65532:65532\nENTRYPOINT [\"/usr/bin/curl\"]\n",
    check: None,
};
