//! RB103 in an image: USER is a name, which the image knows or does not know.

use super::{ImageFacts, Place, Seen};

pub(super) fn check(image: &ImageFacts, seen: &mut Seen) {
    let digits = |id: &str| id.bytes().all(|byte| byte.is_ascii_digit());
    if image.user.is_empty() || image.user.split(':').all(digits) {
        return;
    }
    match &image.account {
        Some(account) if account.uid == 0 => {}
        Some(account) => {
            let group = account.groups.first().copied().unwrap_or_default();
            let message = format!(
                "USER {} is a name: what starts the image cannot check that it is not root",
                image.user
            );
            seen.add(
                Place::User,
                message,
                format!("write: USER {}:{group}", account.uid),
            );
        }
        None => {
            let message = format!(
                "USER {} is in no passwd or group file of the image: it does not start",
                image.user
            );
            seen.add(Place::User, message, "write its numbers: USER UID:GID");
        }
    }
}
