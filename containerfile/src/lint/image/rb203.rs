//! RB203: a program or a module that lacks its loader or a library.

use super::{ImageFacts, Place, Seen};

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
    for module in &image.modules {
        for name in &module.missing {
            let message = format!("{} needs {name}, which is not in the image", module.path);
            let help = format!(
                "copy what `rbuild closure {}` lists where it was built, or leave the module out",
                module.path
            );
            // A program may do without it.
            seen.note(Place::file(&module.path), message, help);
        }
    }
}
