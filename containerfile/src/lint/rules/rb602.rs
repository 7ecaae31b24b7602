//! RB602: a program that its own process can change.

use super::prelude::*;
use crate::mode::Mode;
use crate::path;

pub(super) const RULE: Rule = Rule {
    id: "RB602",
    aliases: &[],
    severity: Severity::Warning,
    title: "the USER can write the program that it runs",
    why: "Whoever takes over the process can replace its program or its configuration, and stays after a restart. Programs belong to root \
with mode 555; only the directories for state belong to USER.",
    bad: concat!(
        "FROM scratch\nCOPY passwd /etc/passwd\nCOPY tmp /tmp\nCOPY --chown=65532:65532 --chmod=775 app /app\nUSER 65532:65532\n",
        "HEALTHCHECK NONE\nENTRYPOINT [\"/app\"]\n"
    ),
    good: service!("HEALTHCHECK NONE\nENTRYPOINT [\"/app\"]"),
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    let Some(user) = view.known_final_user() else {
        return;
    };
    let Some(program) = view.entry_path() else {
        return;
    };
    let (uid, gid) = user.parts();
    for step in view.shipped_steps().filter(|step| step.fired_by.is_none()) {
        let Some(copying) = step.copying() else {
            continue;
        };
        let (Some(chown), Some(chmod)) = (&copying.transfer.chown, &copying.transfer.chmod) else {
            continue;
        };
        let (owner, mode) = (step.value(chown), step.value(chmod));
        let (Some(owner), Some(Ok(mode))) = (owner.known(), mode.known().map(str::parse::<Mode>))
        else {
            continue;
        };
        let (owner, group) = owner
            .split_once(':')
            .map_or((owner, None), |(owner, group)| (owner, Some(group)));
        let bits = mode.apply(0, false);
        let writable = (owner == uid && bits & 0o200 != 0)
            || (group.is_some() && group == gid && bits & 0o020 != 0);
        let destination = step.path(&copying.transfer.destination);
        let holds = destination
            .is_some_and(|made| made == program || path::below(program, &made).is_some());
        if writable && holds {
            let message = format!(
                "USER {} can change {program}, the program that it runs",
                user.value.text
            );
            found.add(chmod.span, message).help("leave --chown out and write --chmod=555; give USER a directory of its own for its state");
        }
    }
}
