//! RB110: an account that is made in a stage of which the passwd file goes nowhere.

use std::collections::BTreeMap;

use super::prelude::*;

pub(super) const RULE: Rule = Rule {
    id: "RB110",
    aliases: &[],
    severity: Severity::Info,
    title: "an account is made in a stage whose passwd file does not reach the final image",
    why: "The account is lost with the stage. USER with numbers needs none; a program that insists on one needs a line in /etc/passwd of the \
final stage.",
    bad: concat!(
        "FROM ",
        pinned!(),
        " AS build\nRUN useradd --uid 1000 app\nFROM scratch\nCOPY --from=build /app /app\nUSER 1000:1000\n"
    ),
    good: concat!(
        "FROM ",
        pinned!(),
        " AS build\nRUN make\nFROM scratch\nCOPY --from=build /app /app\nCOPY passwd /etc/passwd\nUSER 1000:1000\n"
    ),
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    let shipped = view.shipped();
    let mut lost: BTreeMap<usize, bool> = BTreeMap::new();
    for (index, _, program) in view.programs().filter(|_| !view.huge) {
        let makes =
            matches!(program.name(), "useradd" | "adduser") && program.arguments().len() > 1;
        let mut is_lost = || !shipped.contains(&index) && !is_used(view, index);
        if makes && *lost.entry(index).or_insert_with(&mut is_lost) {
            let message = "this account is lost: the passwd file of this stage is not copied";
            found.add(program.words[0].span, message).help(
                "leave it out, since USER needs numbers only, or COPY --from this stage /etc/passwd and /etc/group",
            );
        }
    }
}

/// Whether a stage, or one on top of it, needs its accounts: it has a USER, runs something as another user, gives files away by
/// name, or its passwd file may be copied.
fn is_used(view: &View<'_>, index: usize) -> bool {
    let related = |other: usize| view.chain(other).contains(&index);
    let copies = |other: usize, step: &Step<'_>| {
        let Some(copying) = step.copying() else {
            return false;
        };
        let from = copying
            .from
            .and_then(|from| view.stage_named(&from.value, other));
        let from_here = from.is_some_and(related);
        let takes = copying.paths().any(|source| {
            let value = step.value(source);
            value.known().is_none_or(|path| {
                matches!(path.trim_matches('/'), "" | "etc" | "." | "*")
                    || path.contains("passwd")
                    || path.contains('*')
            })
        });
        (from_here && takes) || (related(other) && copying.transfer.chown.is_some())
    };
    let uses = |other: usize, step: &Step<'_>| {
        related(other)
            && (matches!(step.inner(), InstructionKind::User(_))
                || matches!(step.inner(), InstructionKind::Run(run) if !run.mounts.is_empty())
                || step.programs().iter().any(|program| {
                    matches!(
                        program.name(),
                        "su" | "sudo"
                            | "gosu"
                            | "su-exec"
                            | "setpriv"
                            | "runuser"
                            | "chown"
                            | "install"
                    ) || program
                        .words
                        .iter()
                        .any(|word| word.text.contains("passwd"))
                }))
    };
    let numbered = view.stages.iter().enumerate();
    let mut steps =
        numbered.flat_map(|(other, stage)| stage.steps.iter().map(move |step| (other, step)));
    steps.any(|(other, step)| copies(other, step) || uses(other, step))
}
