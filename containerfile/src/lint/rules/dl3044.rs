//! DL3044: a variable used in the ENV that sets it.

use std::collections::HashSet;

use super::prelude::*;

pub(super) const RULE: Rule = Rule {
    id: "DL3044",
    aliases: &[],
    severity: Severity::Warning,
    title: "ENV uses a variable that the same instruction sets",
    why: "All values see the variables as they were before the instruction: the new value is not there yet.",
    bad: in_build!("ENV HOME_DIR=/srv DATA=$HOME_DIR/data"),
    good: in_build!("ENV HOME_DIR=/srv\nENV DATA=$HOME_DIR/data"),
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    // Something earlier, in whatever stage, may have given a value that is meant.
    let mut seen: HashSet<&str> = HashSet::from(["PATH"]);
    for (_, step) in view.steps() {
        if let InstructionKind::Arg(arg) = step.inner() {
            seen.extend(arg.entries.iter().map(|entry| entry.name.raw.as_str()));
        }
        let InstructionKind::Env(pairs) = step.inner() else {
            continue;
        };
        for (at, pair) in pairs
            .pairs
            .iter()
            .enumerate()
            .skip(1)
            .filter(|(_, pair)| pair.value.mentions_variable())
        {
            let mentioned = |name: &str| {
                pair.value.raw.contains(&format!("${{{name}}}"))
                    || ends_with_name(&pair.value.raw, name)
            };
            let mut earlier = pairs.pairs[..at]
                .iter()
                .rev()
                .take(20)
                .map(|earlier| earlier.name.raw.as_str());
            // A second time it forgets what the first one said.
            let new = earlier
                .find(|name| (*name == pair.name.raw || !seen.contains(name)) && mentioned(name));
            if let Some(name) = new {
                let message = format!("${name} has its new value only after this instruction");
                found
                    .add(pair.value.span, message)
                    .help("write a second ENV");
            }
        }
        seen.extend(pairs.pairs.iter().map(|pair| pair.name.raw.as_str()));
    }
}

/// Whether `$NAME` occurs, and not as the beginning of a longer name.
fn ends_with_name(text: &str, name: &str) -> bool {
    text.match_indices('$').any(|(at, _)| {
        let rest = text[at + 1..].strip_prefix(name);
        let escaped = text[..at].ends_with('\\');
        !escaped
            && rest.is_some_and(|rest| {
                !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
            })
    })
}
