//! RB210 in an image: packed programs, and what is started without a build id.

use super::{ImageFacts, Place, Seen};

/// Where distributions have their programs; those are built as they are.
const OTHERS: [&str; 4] = ["/bin/", "/sbin/", "/usr/bin/", "/usr/sbin/"];

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
    let distribution = ["/etc/os-release", "/usr/lib/os-release"]
        .iter()
        .any(|path| image.files.contains_key(*path));
    let others =
        |path: &str| distribution && OTHERS.iter().any(|directory| path.starts_with(directory));
    for program in &image.programs {
        if program.unidentified && program.started && !program.packed && !others(&program.path) {
            let message = format!(
                "{} has no build id: no crash can be matched to its sources",
                program.path
            );
            seen.add(
                Place::file(&program.path),
                message,
                "link it with -Wl,--build-id, and without -ldflags=-buildid= in Go",
            );
        }
    }
}
