//! RB212 in an image: what programs take for granted.

use super::{ImageFacts, Place, Seen};

pub(super) fn check(image: &ImageFacts, seen: &mut Seen) {
    if image.started().is_none() {
        return;
    }
    match image.find("/tmp") {
        None => seen.add(
            Place::Image,
            "the image has no /tmp",
            "copy a directory to /tmp with --chmod=1777",
        ),
        Some((_, directory)) if !image.may(directory, 3) && image.account.is_some() => {
            let message = format!(
                "USER cannot make files in /tmp (mode {:04o})",
                directory.mode
            );
            seen.add(Place::file("/tmp"), message, "give /tmp the mode 1777");
        }
        Some(_) => {}
    }
    let Some(account) = &image.account else {
        return;
    };
    match &account.home {
        None => {
            let message = format!("/etc/passwd has no line for user {}", account.uid);
            let help = format!("app:x:{0}:{0}::/home/app:/sbin/nologin", account.uid);
            seen.add(
                Place::User,
                message,
                format!("copy a passwd file with the line: {help}"),
            );
        }
        Some(home) if image.variable("HOME").is_none() && image.find(home).is_none() => {
            let message = format!("the home directory of USER, {home}, is not in the image");
            seen.add(
                Place::User,
                message,
                "make it, owned by USER, or set ENV HOME",
            );
        }
        Some(_) => {}
    }
}
