//! RB302: a CA bundle where the program does not look. Only an image tells: `lint/image/rb302.rs` looks.

use super::prelude::*;

pub(super) const RULE: Rule = Rule {
    id: "RB302",
    aliases: &[],
    severity: Severity::Warning,
    title: "a CA bundle where the program does not look",
    why: "OpenSSL looks into the directory that is compiled into it, which differs between distributions, unless SSL_CERT_FILE or SSL_CERT_DIR is \
set; GnuTLS heeds neither.",
    bad: "FROM scratch\nCOPY --from=fedora /closure /\nCOPY --from=debian /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/\nUSER 65532:65532\nENTRYPOINT [\"/usr/bin/curl\"]\n",
    good: "FROM scratch\nCOPY --from=fedora /closure /\nCOPY --from=debian /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/\nENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt\nUSER 65532:65532\nENTRYPOINT [\"/usr/bin/curl\"]\n",
    check: None,
};
