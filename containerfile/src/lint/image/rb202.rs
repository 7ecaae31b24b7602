//! RB202: a C library in the image, and no program that uses it.

use super::{ImageFacts, Place, Seen};

pub(super) fn check(image: &ImageFacts, seen: &mut Seen) {
    let Some(entry) = image.entry().filter(|entry| entry.architecture.is_some()) else {
        return;
    };
    let others = image
        .programs
        .iter()
        .any(|program| program.dynamic || program.architecture.is_none());
    let library = image.files.keys().find(|path| is_libc(path));
    if let Some(library) = library.filter(|_| !entry.dynamic && !others) {
        let message = format!("{} is static, and nothing else uses {library}", entry.path);
        seen.add(
            Place::Entry,
            message,
            "start from scratch or a static base: the C library and its loader are not needed",
        );
    }
}

fn is_libc(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    name == "libc.so.6" || name.starts_with("ld-musl-")
}
