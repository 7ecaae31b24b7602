//! RB208: what is started is not there, or cannot be executed.

use super::{FileKind, ImageFacts, Place, Seen};

pub(super) fn check(image: &ImageFacts, seen: &mut Seen) {
    let Some(name) = image.started() else {
        return;
    };
    let Some(path) = image.program_path(name) else {
        let message = format!("{name} is started, and not in the image");
        seen.add(Place::Entry, message, "copy it, or correct its path");
        return;
    };
    let Some((path, file)) = image.find(&path) else {
        return;
    };
    if file.kind != FileKind::File {
        seen.add(
            Place::Entry,
            format!("{path} is started, and no regular file"),
            "name the program itself",
        );
    } else if !image.may(file, 1) && image.account.is_some() || file.mode & 0o111 == 0 {
        let message = format!(
            "USER may not execute {path} (mode {:04o}, owner {}:{})",
            file.mode, file.uid, file.gid
        );
        seen.add(Place::Entry, message, "COPY --chmod=555");
    }
    let Some(program) = image.programs.iter().find(|program| program.path == path) else {
        return;
    };
    if program.architecture.is_none() {
        for missing in program.missing.iter().chain(&program.troubles) {
            let message = format!("{path} is a script, and does not start: {missing} is missing");
            let message = match program.missing.contains(missing) {
                true => message,
                false => format!("{path} does not start: {missing}"),
            };
            seen.add(
                Place::Entry,
                message,
                "copy its interpreter with what that needs, or start a program instead",
            );
        }
    }
}
