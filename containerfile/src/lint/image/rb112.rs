//! RB112 in an image: set-user-ID bits and file capabilities of its files.

use super::{FileKind, ImageFacts, Place, Seen};

pub(super) fn check(image: &ImageFacts, seen: &mut Seen) {
    for (path, file) in &image.files {
        if file.kind != FileKind::File {
            continue;
        }
        let bits = match file.mode & 0o6000 {
            // Without the right to execute it means mandatory locking, once.
            0o2000 if file.mode & 0o010 == 0 => None,
            0 => None,
            0o4000 => Some("the set-user-ID bit"),
            0o2000 => Some("the set-group-ID bit"),
            _ => Some("the set-user-ID and set-group-ID bits"),
        };
        if let Some(bits) = bits {
            let message = format!("{path} has {bits}, ignored without new privileges");
            seen.add(
                Place::file(path),
                message,
                "remove the file, or the bits: chmod u-s,g-s",
            );
        }
        if file.capabilities {
            let message = format!("{path} has file capabilities, ignored without new privileges");
            seen.add(
                Place::file(path),
                message,
                "leave setcap out; use a port of 1024 or above",
            );
        }
    }
}
