//! RB301: a program that speaks TLS, and no certificates to trust.

use super::{ImageFacts, Place, Seen};

/// Where Go, OpenSSL's and GnuTLS's packagers look (Go's crypto/x509/root_linux.go has the list).
pub(super) const BUNDLES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The bundle that the image has at one of the usual places.
pub(super) fn bundle(image: &ImageFacts) -> Option<&'static str> {
    BUNDLES.into_iter().find(|path| image.find(path).is_some())
}

pub(super) fn check(image: &ImageFacts, seen: &mut Seen) {
    let linked = image.entry().filter(|entry| !entry.tls.is_empty());
    let speaks = linked.map(|entry| (Place::Entry, &entry.path));
    let Some((place, path)) = speaks.or_else(|| module(image)) else {
        return;
    };
    // Where one points to is RB303's.
    let pointed = ["SSL_CERT_FILE", "SSL_CERT_DIR"]
        .iter()
        .any(|name| image.variable(name).is_some());
    if bundle(image).is_none() && !pointed {
        let message = format!(
            "{path} can speak TLS, and the image has no CA bundle: it can verify no server"
        );
        let help = format!("copy a bundle to {}", BUNDLES[0]);
        seen.add(place, message, help);
    }
}

/// A language's own module. Libraries that lie around are no sign that something uses them.
fn module(image: &ImageFacts) -> Option<(Place, &String)> {
    let is_library = |path: &str| path.rsplit('/').next().unwrap_or(path).starts_with("lib");
    let mut modules = image.modules.iter();
    let module = modules.find(|module| module.tls && !is_library(&module.path))?;
    Some((Place::file(&module.path), &module.path))
}
