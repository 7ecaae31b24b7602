//! RB210 in an image: packed programs.

use super::{ImageFacts, Place, Seen};

pub(super) fn check(image: &ImageFacts, seen: &mut Seen) {
    for program in image.programs.iter().filter(|program| program.packed) {
        let message = format!(
            "{} is packed by UPX: it needs writable and executable memory, and no tool sees into it",
            program.path
        );
        seen.add(
            Place::file(&program.path),
            message,
            "leave it unpacked: layers are compressed anyway",
        );
    }
}
