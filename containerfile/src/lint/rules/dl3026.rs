//! DL3026: images from somewhere else.

use super::prelude::*;
use crate::lint::image_name::ImageName;
use crate::lint::view::Base;

pub(super) const RULE: Rule = Rule {
    id: "DL3026",
    aliases: &[],
    severity: Severity::Error,
    title: "FROM a registry that the project does not trust",
    why: "Only where `trusted-registries` of `.rbuild.toml` lists some. A name without a registry is Docker's, docker.io.",
    bad: concat!(
        "FROM ",
        pinned!(),
        " AS build\nRUN make\nFROM scratch\nUSER 65532:65532\n"
    ),
    good: "FROM scratch\nUSER 65532:65532\n",
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    let trusted = &view.options.trusted_registries;
    if trusted.is_empty() {
        return;
    }
    for stage in view.stages.iter().filter(|stage| stage.base == Base::Image) {
        let Some(written) = stage.image.known() else {
            continue;
        };
        let registry = ImageName::parse(written).registry.unwrap_or("docker.io");
        if !trusted.iter().any(|one| one == registry) {
            let message = format!("{registry} is not a registry that this project trusts");
            found
                .add(stage.stage.from.image.span, message)
                .help(format!("trusted are: {}", trusted.join(", ")));
        }
    }
}
