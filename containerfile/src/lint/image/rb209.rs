//! RB209: a program for another processor, or for a newer C library.

use super::{ImageFacts, Seen};

pub(super) fn check(image: &ImageFacts, seen: &mut Seen) {
    for program in &image.programs {
        for trouble in program
            .troubles
            .iter()
            .filter(|trouble| is_about_platform(trouble))
        {
            let message = format!("{}: {trouble}", program.path);
            let help = "build it, or fetch it, for the platform and the base of this image";
            seen.about(program, message, help);
        }
    }
}

/// The kernel's and the loader's words.
pub(super) fn is_about_platform(trouble: &str) -> bool {
    trouble.contains("Exec format error: it is for ") || trouble.contains("version `GLIBC")
}
