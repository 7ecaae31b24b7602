//! RB607: owners that an ordinary range of subordinate ids does not hold.

use super::{ImageFacts, Place, Seen};

pub(super) fn check(image: &ImageFacts, seen: &mut Seen) {
    for (path, file) in &image.files {
        if file.uid.max(file.gid) > seen.limits.highest_id {
            let message = format!(
                "{path} belongs to {}:{}: without that many subordinate ids it cannot be unpacked (lchown: invalid argument)",
                file.uid, file.gid
            );
            seen.add(
                Place::file(path),
                message,
                format!("chown it to ids of {} or below", seen.limits.highest_id),
            );
        }
    }
}
