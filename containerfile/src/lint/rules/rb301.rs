//! RB301: a program that speaks TLS, and no certificates to trust. Only an image tells: `lint/image/rb301.rs` looks.

use super::prelude::*;

pub(super) const RULE: Rule = Rule {
    id: "RB301",
    aliases: &[],
    severity: Severity::Warning,
    title: "a program that speaks TLS, and no CA bundle",
    why: "Without certificates to trust, no server can be verified: `x509: certificate signed by unknown authority`, `unable to get local issuer \
certificate`. Scratch has none.",
    bad: "FROM scratch\nCOPY --from=build /app /app\nUSER 65532:65532\nENTRYPOINT [\"/app\"]\n",
    good: "FROM scratch\nCOPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/\nCOPY --from=build /app /app\nUSER 65532:65532\nENTRYPOINT [\"/app\"]\n",
    check: None,
};
