//! RB609: what a user without privileges cannot unpack. Only an image tells: `lint/image/rb609.rs` looks.

use super::prelude::*;

pub(super) const RULE: Rule = Rule {
    id: "RB609",
    aliases: &[],
    severity: Severity::Warning,
    title: "a device, an attribute of the kernel's or a file capability in a layer",
    why: "Device nodes and `trusted.` attributes can be made by the machine's root alone, file capabilities by no user without subordinate ids. A \
later layer that removes them does not help: the earlier one is unpacked all the same.",
    bad: "FROM debian\nRUN setcap cap_net_raw=+ep /usr/bin/ping\nRUN rm /usr/bin/ping\nUSER 65532:65532\n",
    good: "FROM debian\nRUN rm /usr/bin/ping\nUSER 65532:65532\n",
    check: None,
};
