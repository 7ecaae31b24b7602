//! RB303: SSL_CERT_FILE points to nothing that can be read. Only an image tells: `lint/image/rb303.rs` looks.

use super::prelude::*;

pub(super) const RULE: Rule = Rule {
    id: "RB303",
    aliases: &[],
    severity: Severity::Error,
    title: "SSL_CERT_FILE or SSL_CERT_DIR points to nothing that USER can read",
    why: "The usual places are not looked at any more, so no server can be verified.",
    bad: "FROM scratch\nCOPY --from=build /etc/ssl/certs/ca-certificates.crt /ca.crt\nENV SSL_CERT_FILE=/etc/ssl/ca.crt\nUSER 65532:65532\n",
    good: "FROM scratch\nCOPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/ca.crt\nENV SSL_CERT_FILE=/etc/ssl/ca.crt\nUSER 65532:65532\n",
    check: None,
};
