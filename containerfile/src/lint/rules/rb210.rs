//! RB210: packed programs, and programs without a build id.

use super::prelude::*;

pub(super) const RULE: Rule = Rule {
    id: "RB210",
    aliases: &[],
    severity: Severity::Info,
    title: "a program is packed with UPX, or loses its build id",
    why: "A packed program unpacks itself into memory that is writable and executable, which hardened hosts forbid; neither scanners nor tools \
that look for libraries see into it. Layers are compressed anyway. Without a build id no crash can be matched to its sources.",
    bad: in_build!("RUN make && upx --best /app"),
    good: in_build!("RUN make && strip /app"),
    check: Some(check),
};

/// Options that leave the build id out: those of linkers, and of Go's, which says `-buildid=` with nothing behind it.
fn strips(word: &str) -> bool {
    let blank = |(at, option): (usize, &str)| {
        let next = word[at + option.len()..].chars().next();
        next.is_none_or(|next| next.is_whitespace() || matches!(next, '"' | '\''))
    };
    word.contains("--build-id=none") || word.match_indices("-buildid=").any(blank)
}

fn check(view: &View<'_>, found: &mut Findings) {
    for (_, _, program) in view.programs() {
        if program.name() == "upx"
            && program.words.len() > 1
            && !program.has("-d")
            && !program.has("-t")
        {
            let message =
                "a packed program needs writable and executable memory, and no tool sees into it";
            found
                .add(program.words[0].span, message)
                .help("leave it out: layers are compressed anyway");
        }
        let none = |word: &&ShellWord| strips(&word.text);
        if let Some(word) = program.arguments().iter().find(none) {
            found
                .add(
                    word.span,
                    "without a build id no crash can be matched to its sources",
                )
                .help("leave it out");
        }
    }
}
