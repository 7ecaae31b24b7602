//! RB609: what a user without privileges cannot unpack.

use super::{ImageFacts, Place, Seen};

pub(super) fn check(image: &ImageFacts, seen: &mut Seen) {
    for fact in &image.layers {
        let message = format!(
            "layer {} has {} at {}, which an ordinary user cannot unpack",
            fact.layer, fact.what, fact.path
        );
        seen.add(
            Place::file(&fact.path),
            message,
            "remove it in the step that makes it",
        );
    }
}
