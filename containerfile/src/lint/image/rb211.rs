//! RB211 in an image: a directory where the base had a link into /usr.

use super::{ImageFacts, Place, Seen};

pub(super) fn check(image: &ImageFacts, seen: &mut Seen) {
    for path in &image.replaced_links {
        let message = format!(
            "{path} was a link into /usr, and is a directory of its own now: what was reached through it is gone"
        );
        seen.add(
            Place::file(path),
            message,
            format!("copy into /usr{path} instead"),
        );
    }
}
