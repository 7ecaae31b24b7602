//! RB701: base images that can change.

use super::prelude::*;
use crate::lint::image_name::ImageName;
use crate::lint::view::Base;

pub(super) const RULE: Rule = Rule {
    id: "RB701",
    aliases: &["DL3006", "DL3007", "DKL-DI-0006"],
    severity: Severity::Warning,
    title: "FROM without a registry, a tag or a digest",
    why: "A tag is moved, and `latest` most of all: tomorrow's build is another one. A name without a registry is looked up wherever the \
machine is told to look. With a digest the build takes these bytes or none. Without a tag, or with `latest`, this is a warning; where \
only the digest or the registry is missing, a note.",
    bad: "FROM debian AS build\nRUN make\nFROM scratch\nCOPY --from=build /app /app\nUSER 65532:65532\n",
    good: in_build!("RUN make"),
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    for stage in view.stages.iter().filter(|stage| stage.base == Base::Image) {
        let Some(written) = stage.image.known().filter(|name| !name.is_empty()) else {
            continue;
        };
        let name = ImageName::parse(written);
        if name.digest.is_some_and(|digest| digest.contains(':')) && name.registry.is_some() {
            continue;
        }
        let mut missing = Vec::new();
        if name.registry.is_none() {
            missing.push("no registry");
        }
        match name.tag {
            _ if name.digest.is_some() => {}
            None => missing.push("no tag"),
            Some("latest") => missing.push("the tag latest, which moves with every release"),
            Some(_) => missing.push("no digest"),
        }
        let message = format!("{written} has {}", missing.join(" and "));
        let place = stage.stage.from.image.span;
        let finding = found.add(place, message).help("write REGISTRY/NAME:TAG@sha256:DIGEST; `rbuild pull` prints the digest of what a tag means now");
        if name.digest.is_some() || name.tag.is_some_and(|tag| tag != "latest") {
            finding.note();
        }
    }
}
