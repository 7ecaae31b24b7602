//! RB602 in an image: USER can change what it runs.

use super::{FileKind, ImageFacts, Place, Seen};

pub(super) fn check(image: &ImageFacts, seen: &mut Seen) {
    let Some(entry) = image.entry().filter(|_| image.is_ordinary()) else {
        return;
    };
    let mut parts: Vec<&str> = vec![&entry.path];
    parts.extend(entry.closure.iter().map(String::as_str));
    parts.sort_unstable();
    parts.dedup();
    let writable = |path: &&str| {
        let file = image.files.get(*path);
        file.is_some_and(|file| file.kind == FileKind::File && image.may(file, 2))
    };
    for path in parts.into_iter().filter(writable) {
        let message = format!("USER {} can change {path}, which it runs", image.user);
        seen.add(Place::file(path), message, "leave --chown out and write --chmod=555; give USER a directory of its own for its state");
    }
    // Who can write a directory can put another file in the place of one in it, unless it is sticky.
    let directory =
        entry.path.rsplit_once('/').map_or(
            "/",
            |(parent, _)| if parent.is_empty() { "/" } else { parent },
        );
    let replaces = image
        .files
        .get(directory)
        .filter(|fact| fact.mode & 0o1000 == 0 && image.may(fact, 3));
    if replaces.is_some() {
        let message = format!(
            "USER {} can write {directory}, and so replace {}",
            image.user, entry.path
        );
        seen.add(
            Place::file(directory),
            message,
            "put programs into a directory that belongs to root",
        );
    }
}
