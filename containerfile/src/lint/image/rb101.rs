//! RB101 in an image: no USER.

use super::{ImageFacts, Place, Seen};

pub(super) fn check(image: &ImageFacts, seen: &mut Seen) {
    if image.user.is_empty() {
        let message = "the image has no USER, so it runs as root";
        seen.add(
            Place::User,
            message,
            "add to the final stage: USER 65532:65532",
        );
    }
}
