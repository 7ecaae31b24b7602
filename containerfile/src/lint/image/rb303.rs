//! RB303: SSL_CERT_FILE or SSL_CERT_DIR points to nothing that can be read.

use super::{ImageFacts, Place, Seen};

pub(super) fn check(image: &ImageFacts, seen: &mut Seen) {
    for (name, bits) in [("SSL_CERT_FILE", 4), ("SSL_CERT_DIR", 5)] {
        // SSL_CERT_DIR is a list.
        for path in image
            .variable(name)
            .into_iter()
            .flat_map(|value| value.split(':'))
        {
            let place = || Place::Env(name.to_owned());
            match image.find(path) {
                None => seen.add(
                    place(),
                    format!("{name} points to {path}, which is not in the image"),
                    "copy the certificates there, or correct the path",
                ),
                Some((_, file)) if image.account.is_some() && !image.may(file, bits) => {
                    let message = format!(
                        "{name} points to {path}, which USER cannot read (mode {:04o}, owner {}:{})",
                        file.mode, file.uid, file.gid
                    );
                    seen.add(place(), message, "COPY --chmod=444");
                }
                Some(_) => {}
            }
        }
    }
}
