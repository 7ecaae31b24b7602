//! RB203: a program that lacks its loader or a library.

use super::{ImageFacts, Seen};

pub(super) fn check(image: &ImageFacts, seen: &mut Seen) {
    for program in &image.programs {
        // A missing interpreter of a script is RB208.
        if program.architecture.is_none() {
            continue;
        }
        for name in &program.missing {
            let message = format!("{} needs {name}, which is not in the image", program.path);
            let help = format!(
                "copy what `rbuild closure {}` lists where it was built",
                program.path
            );
            seen.about(program, message, help);
        }
        let own = program
            .troubles
            .iter()
            .filter(|trouble| !super::rb209::is_about_platform(trouble));
        for trouble in own {
            let message = format!("{} does not start: {trouble}", program.path);
            seen.about(program, message, "`rbuild closure` says more");
        }
    }
}
