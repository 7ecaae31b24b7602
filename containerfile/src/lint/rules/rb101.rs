//! RB101: no USER in the final stage or in those below it.

use super::prelude::*;
use crate::lint::ImageFacts;
use crate::source::Span;

pub(super) const RULE: Rule = Rule {
    id: "RB101",
    aliases: &["CIS-DI-0001"],
    severity: Severity::Error,
    title: "the final image has no USER",
    why: "Its process is root inside, and root inside is the caller on the host: whatever breaks out has all of your files. `rbuild build` \
refuses such an image. Where the base is an image that is not at hand, whose user is not known, this is a note.",
    bad: "FROM scratch\nCOPY --chmod=555 app /app\n",
    good: "FROM scratch\nCOPY --chmod=555 app /app\nUSER 65532:65532\n",
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    let Some(last) = view.last().filter(|last| last.user.is_none()) else {
        return;
    };
    let image = view.root_image(view.stages.len() - 1);
    let help = "add to the final stage: USER 65532:65532";
    let place = last.stage.from.span;
    if image.is_some_and(|image| image.is_nonroot()) {
        return;
    }
    if let Some(facts) = view.final_facts() {
        return of_base(facts, place, found);
    }
    if last.root == Root::Scratch || image.is_some_and(|image| image.is_root()) {
        found
            .add(
                place,
                "the final image has no USER, so it would run as root",
            )
            .help(help);
    } else {
        let message = "the final image has no USER of its own: who it runs as depends on the base image, which is not looked at";
        found.add(place, message).help(help).note();
    }
}

/// The base is at hand, so what it says counts.
fn of_base(facts: &ImageFacts, place: Span, found: &mut Findings) {
    let help = "add to the final stage: USER 65532:65532";
    match &facts.account {
        _ if facts.user.is_empty() => {
            let message =
                "neither the final image nor its base has a USER, so it would run as root";
            found.add(place, message).help(help);
        }
        Some(account) if account.uid == 0 => {
            let message = format!("the USER of the base, {:?}, is root", facts.user);
            found.add(place, message).help(help);
        }
        Some(account)
            if facts
                .user
                .starts_with(|first: char| !first.is_ascii_digit()) =>
        {
            let message = format!("the USER of the base, {:?}, is a name", facts.user);
            let group = account.groups.first().copied().unwrap_or_default();
            let line = format!("USER {}:{group}", account.uid);
            found
                .add(place, message)
                .help(format!("add to the final stage: {line}"))
                .note();
        }
        Some(_) => {}
        None => {
            let message = format!(
                "the USER of the base, {:?}, is in no passwd file",
                facts.user
            );
            found.add(place, message).help(help);
        }
    }
}
