//! RB102 in an image: USER is root, also by another name.

use super::{ImageFacts, Place, Seen};

pub(super) fn check(image: &ImageFacts, seen: &mut Seen) {
    let root = image
        .account
        .as_ref()
        .is_some_and(|account| account.uid == 0);
    if root && !image.user.is_empty() {
        let message = format!("USER {} is root", image.user);
        seen.add(Place::User, message, "write: USER 65532:65532");
    }
}
