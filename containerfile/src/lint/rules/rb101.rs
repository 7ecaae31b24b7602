//! RB101: no USER in the final stage or in those below it.

use super::prelude::*;

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
