//! RB601: files for the process that belong to root.

use super::prelude::*;
use crate::path;
use crate::user::Id;

pub(super) const RULE: Rule = Rule {
    id: "RB601",
    aliases: &[],
    severity: Severity::Warning,
    title: "COPY into a VOLUME without --chown",
    why: "A volume is what the process writes to, and a new one takes its files and their owners from the image: copied without `--chown` they \
belong to root, and USER cannot write them.",
    bad: service!("COPY state /var/lib/app\nVOLUME /var/lib/app"),
    good: service!("COPY --chown=65532:65532 state /var/lib/app\nVOLUME /var/lib/app"),
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    let Some(user) = view.known_final_user() else {
        return;
    };
    let (Id::Number(1..), Some(_)) = (Id::parse(user.parts().0), user.parts().1) else {
        return;
    };
    if view.huge {
        return;
    }
    let volumes = volumes(view);
    let steps: Vec<_> = view.shipped_steps().collect();
    // What a program does to owners is not known.
    let last_run = steps
        .iter()
        .rposition(|step| matches!(step.inner(), InstructionKind::Run(_)));
    for step in steps.iter().skip(last_run.map_or(0, |at| at + 1)) {
        let Some(copying) = step.copying() else {
            continue;
        };
        let destination = step.path(&copying.transfer.destination);
        let inside = destination.is_some_and(|made| {
            volumes
                .iter()
                .any(|volume| made == *volume || path::below(&made, volume).is_some())
        });
        if inside
            && copying.transfer.chown.is_none()
            && copying.transfer.chmod.is_none()
            && step.fired_by.is_none()
        {
            let flag = format!("--chown={}", user.value.text);
            let end = step.instruction.keyword.end();
            let message = format!(
                "this belongs to root, and USER {} cannot write it",
                user.value.text
            );
            let finding = found
                .add(copying.transfer.destination.span, message)
                .help(format!("add {flag}"));
            if !matches!(step.instruction.kind, InstructionKind::Onbuild(_)) {
                finding.fix(crate::ast::Span::new(end, end), format!(" {flag}"));
            }
        }
    }
}

/// The VOLUMEs of the final image whose paths are known.
fn volumes(view: &View<'_>) -> Vec<String> {
    let words = view.shipped_steps().flat_map(|step| {
        let words = match &step.instruction.kind {
            InstructionKind::Volume(words) => words.as_slice(),
            _ => &[],
        };
        words.iter().filter_map(move |word| step.path(word))
    });
    words.collect()
}
