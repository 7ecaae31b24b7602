//! RB603 in an image: volumes without a directory that USER can write.

use super::{ImageFacts, Place, Seen};

pub(super) fn check(image: &ImageFacts, seen: &mut Seen) {
    let Some(account) = image.account.as_ref().filter(|account| account.uid != 0) else {
        return;
    };
    for volume in &image.volumes {
        match image.find(volume) {
            None => {
                let message =
                    format!("{volume} is not in the image, so a volume for it belongs to root");
                let help = format!("COPY --chown={} an empty directory to {volume}", image.user);
                seen.add(Place::Volume(volume.clone()), message, help);
            }
            Some((_, directory)) if directory.uid != account.uid && !image.may(directory, 3) => {
                let message = format!(
                    "{volume} belongs to {}:{}, and so will a new volume: USER {} cannot write it",
                    directory.uid, directory.gid, image.user
                );
                let help = format!("COPY --chown={} an empty directory to {volume}", image.user);
                seen.add(Place::Volume(volume.clone()), message, help);
            }
            Some(_) => {}
        }
    }
}
