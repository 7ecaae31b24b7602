//! RB302: a CA bundle where the program does not look.

use super::rb301::{BUNDLES, bundle};
use super::{ImageFacts, Place, Seen, Tls};

pub(super) fn check(image: &ImageFacts, seen: &mut Seen) {
    let Some(entry) = image.entry() else {
        return;
    };
    let set = ["SSL_CERT_FILE", "SSL_CERT_DIR"]
        .into_iter()
        .find(|name| image.variable(name).is_some());
    if let (Some(name), [Tls::GnuTls]) = (set, entry.tls.as_slice())
        && image.find(BUNDLES[0]).is_none()
    {
        let message = format!(
            "{} speaks TLS through GnuTLS, which does not heed {name}",
            entry.path
        );
        seen.add(
            Place::Env(name.to_owned()),
            message,
            format!("copy the bundle to {}", BUNDLES[0]),
        );
    }
    let (None, Some(bundle), Some(directory)) = (set, bundle(image), &entry.openssl_dir) else {
        return;
    };
    let own = format!("{directory}/cert.pem");
    let certificates = image.find(&format!("{directory}/certs"));
    let hashed = certificates.is_some_and(|(path, _)| {
        let inside = format!("{path}/");
        image
            .files
            .range(inside.clone()..)
            .next()
            .is_some_and(|(file, _)| file.starts_with(&inside))
    });
    // What names a bundle itself does not ask OpenSSL for one.
    let built_in = entry.tls.contains(&Tls::BuiltIn);
    if image.find(&own).is_none() && !hashed && !built_in {
        let message = format!(
            "OpenSSL of {} looks for certificates in {directory}, and the bundle is {bundle}",
            entry.path
        );
        seen.add(
            Place::Entry,
            message,
            format!("write: ENV SSL_CERT_FILE={bundle}"),
        );
    }
}
