//! RB610: a change of owner that copies the files once more.

use std::collections::BTreeSet;

use super::prelude::*;
use crate::lint::shell::Program;
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
        let mut copied = BTreeSet::new();
        for step in &view.stages[index].steps {
            if let Some(copying) = step
                .copying()
                .filter(|copying| copying.transfer.chown.is_none())
            {
                copied.extend(
                    step.path(&copying.transfer.destination)
                        .filter(|made| made != "/"),
                );
            }
            for program in step
                .programs()
                .iter()
                .filter(|program| program.name() == "chown")
            {
                owners(step, program, &copied, found);
            }
        }
    }
}

fn owners(step: &Step<'_>, program: &Program, copied: &BTreeSet<String>, found: &mut Findings) {
    let recursive = ["-R", "--recursive", "-Rf", "-hR", "-Rh"]
        .iter()
        .any(|flag| program.has(flag));
    let mut plain = program
        .arguments()
        .iter()
        .filter(|word| !word.text.starts_with('-'));
    let Some(owner) = plain.next().filter(|_| recursive) else {
        return;
    };
    let twice = plain.filter(|tree| !tree.dynamic).any(|tree| {
        let tree = match &step.at.workdir {
            _ if tree.text.starts_with('/') => path::clean(&tree.text),
            Some(workdir) => path::join(workdir, &tree.text),
            None => return false,
        };
        let below = format!("{}/", tree.trim_end_matches('/'));
        copied.contains(&tree)
            || copied
                .range(below.clone()..)
                .next()
                .is_some_and(|made| made.starts_with(&below))
    });
    if twice {
        let message = "this layer holds the copied files a second time";
        found
            .add(program.span(), message)
            .help(format!("write COPY --chown={} instead", owner.text));
    }
}
