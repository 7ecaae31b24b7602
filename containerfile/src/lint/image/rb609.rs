//! RB609: what a user without privileges cannot unpack.

use super::{ImageFacts, Place, Seen};

pub(super) fn check(image: &ImageFacts, seen: &mut Seen) {
    for fact in &image.layers {
        let shown = image.files.get(&fact.path);
        // What can be seen of these is RB112's.
        if shown.is_some_and(|file| file.capabilities) && fact.what == "file capabilities" {
            continue;
        }
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
