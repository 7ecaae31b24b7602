//! RB610: a change of owner that copies the files once more.

use super::prelude::*;
use crate::path;

pub(super) const RULE: Rule = Rule {
    id: "RB610",
    aliases: &[],
    severity: Severity::Warning,
    title: "RUN chown -R of what was just copied",
    why: "The layer of the RUN holds every file a second time, so the image is twice as large. `COPY --chown` writes the right owner at once, \
and needs no subordinate id.",
    bad: on_debian!("COPY app /app\nRUN chown -R 65532:65532 /app\nUSER 65532:65532"),
    good: on_debian!("COPY --chown=65532:65532 app /app\nUSER 65532:65532"),
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    for index in view.shipped() {
        let steps = &view.stages[index].steps;
        for (at, step) in steps.iter().enumerate() {
            for program in &step.programs {
                let recursive = program.has("-R") || program.has("--recursive") || program.has("-Rf") || program.has("-hR");
                if program.name() != "chown" || !recursive {
                    continue;
                }
                let plain: Vec<&ShellWord> = program.arguments().iter().filter(|word| !word.text.starts_with('-')).collect();
                let Some((owner, trees)) = plain.split_first() else {
                    continue;
                };
                let copied = steps[..at].iter().rev().take(1000).any(|before| was_copied(step, before, trees));
                if copied {
                    let message = "this layer holds the copied files a second time";
                    found.add(program.span(), message).help(format!("write COPY --chown={} instead", owner.text));
                }
            }
        }
    }
}

/// Whether an earlier COPY without an owner wrote one of the trees.
fn was_copied(step: &Step<'_>, before: &Step<'_>, trees: &[&ShellWord]) -> bool {
    let Some(copying) = before.copying().filter(|copying| copying.transfer.chown.is_none()) else {
        return false;
    };
    let Some(made) = before.path(&copying.transfer.destination) else {
        return false;
    };
    trees.iter().filter(|tree| !tree.dynamic).any(|tree| {
        let tree = match &step.workdir {
            _ if tree.text.starts_with('/') => path::clean(&tree.text),
            Some(workdir) => path::join(workdir, &tree.text),
            None => return false,
        };
        made != "/" && (made == tree || path::below(&made, &tree).is_some())
    })
}
