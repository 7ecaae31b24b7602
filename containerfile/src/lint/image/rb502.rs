//! RB502 in an image: the program of the health check.

use super::{ImageFacts, Place, Seen};

pub(super) fn check(image: &ImageFacts, seen: &mut Seen) {
    let (program, shell) = match image.healthcheck.split_first() {
        Some((kind, words)) if kind == "CMD" => (words.first().map(String::as_str), false),
        Some((kind, [text])) if kind == "CMD-SHELL" => (first_program(text), true),
        _ => return,
    };
    let missing = |name: &&str| image.program_path(name).is_none();
    let name = match shell {
        true => Some("/bin/sh").filter(missing).or(program.filter(missing)),
        false => program.filter(missing),
    };
    if let Some(name) = name {
        let message = format!("the health check calls {name}, which is not in the image");
        seen.add(
            Place::Healthcheck,
            message,
            "let the program check itself, or copy a static probe into the image",
        );
    }
}

/// The first word of a plain command; nothing for what only a shell understands.
fn first_program(text: &str) -> Option<&str> {
    let word = text.split_whitespace().next()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    let builtin = [
        "exec", "test", "[", "true", "false", "exit", "if", "while", "for", "case", "cd", "echo",
        "printf", "read", "set", "export", "command", "kill", "wait", "until", "eval",
    ];
    (word.chars().all(plain) && !builtin.contains(&word)).then_some(word)
}
