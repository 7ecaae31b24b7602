//! DL3044: a variable used in the ENV that sets it.

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
    for (stage, step) in view.steps() {
        let InstructionKind::Env(pairs) = step.inner() else {
            continue;
        };
        for (at, pair) in pairs.pairs.iter().enumerate().skip(1).filter(|(_, pair)| pair.value.mentions_variable()) {
            let earlier = pairs.pairs[..at].iter().rev().take(100).find(|earlier| {
                let name = &earlier.name.raw;
                let mentioned = pair.value.raw.contains(&format!("${{{name}}}")) || ends_with_name(&pair.value.raw, name);
                mentioned && *name != pair.name.raw && !was_set(view, stage, step, name)
            });
            if let Some(earlier) = earlier {
                let name = &earlier.name.raw;
                let message = format!("${name} has its new value only after this instruction");
                found.add(pair.value.span, message).help("write a second ENV");
            }
        }
    }
}

/// Whether `$NAME` occurs, and not as the beginning of a longer name.
fn ends_with_name(text: &str, name: &str) -> bool {
    text.match_indices('$').any(|(at, _)| {
        let rest = text[at + 1..].strip_prefix(name);
        let escaped = text[..at].ends_with('\\');
        !escaped && rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_'))
    })
}

/// Whether something earlier may have given it a value that is meant here.
fn was_set(view: &View<'_>, stage: usize, step: &Step<'_>, name: &str) -> bool {
    let before = |other: &&Step<'_>| other.instruction.span.start < step.instruction.span.start;
    let sets = |other: &Step<'_>| match other.inner() {
        InstructionKind::Arg(arg) => arg.entries.iter().any(|entry| entry.name.raw == name),
        InstructionKind::Env(pairs) => pairs.pairs.iter().any(|pair| pair.name.raw == name),
        _ => false,
    };
    let chain = view.chain(stage);
    name == "PATH" || chain.into_iter().flat_map(|index| &view.stages[index].steps).filter(before).any(sets)
}
