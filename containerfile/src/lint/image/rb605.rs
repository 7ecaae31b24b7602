//! RB605: directories of the image that USER writes, and that are no volumes.

use super::{ImageFacts, Place, Seen};

/// What runtimes mount a tmpfs over, or what belongs to nobody in particular.
const TEMPORARY: [&str; 5] = ["/tmp", "/var/tmp", "/run", "/dev", "/proc"];

pub(super) fn check(image: &ImageFacts, seen: &mut Seen) {
    let Some(account) = image.account.as_ref().filter(|account| account.uid != 0) else {
        return;
    };
    let below = |path: &str, directory: &str| {
        path == directory || crate::path::below(path, directory).is_some()
    };
    let volumes: Vec<String> = image
        .volumes
        .iter()
        .map(|volume| crate::path::clean(volume))
        .collect();
    let mut last: Option<&str> = None;
    for (path, file) in &image.files {
        let covered = TEMPORARY.iter().any(|directory| below(path, directory))
            || volumes.iter().any(|volume| below(path, volume))
            || account.home.as_deref() == Some(path)
            || last.is_some_and(|last| below(path, last));
        let own = file.is_directory() && file.uid == account.uid && image.may(file, 3);
        if own && !covered {
            last = Some(path);
            let message = format!(
                "{path} is USER's to write, and no volume: under a read-only root that fails"
            );
            let help = format!("write: VOLUME {path}, or start it with a tmpfs there");
            seen.add(Place::file(path), message, help);
        }
    }
}
