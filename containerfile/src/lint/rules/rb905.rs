//! RB905: units that do not start, wait for nothing, or are not updated.

use super::prelude::*;
use crate::lint::image_name::ImageName;
use crate::lint::quadlet::Unit;

pub(super) const RULE: Rule = Rule {
    id: "RB905",
    aliases: &[],
    severity: Severity::Info,
    title: "a unit that nothing starts, that waits for what a user's manager has not, or that is never updated",
    why: "Without `WantedBy=` in [Install] nothing starts the unit at boot. network-online.target is the system's: a user's manager does not \
have it. `AutoUpdate=registry` asks the registry of the image's name, so the name must have one, and no digest, which never changes.",
    bad: "[Container]\nImage=team/app:1\nAutoUpdate=registry\nNoNewPrivileges=true\nDropCapability=all\nReadOnly=true\n\n[Install]\nWantedBy=default.target\n",
    good: unit!("AutoUpdate=registry"),
    check: None,
};

pub(super) fn check_unit(unit: &Unit<'_>, found: &mut Findings) {
    updates(unit, found);
    if !["Container", "Pod", "Kube"].contains(&unit.kind) {
        return;
    }
    let installed = ["WantedBy", "RequiredBy", "UpheldBy"]
        .iter()
        .flat_map(|key| unit.all("Install", key))
        .collect::<Vec<_>>();
    waits(unit, &installed, found);
    // A pod starts its containers, a timer or a socket what runs once.
    let started = unit.last(unit.kind, "Pod").is_some()
        || unit
            .last("Service", "Type")
            .is_some_and(|kind| kind.value() == "oneshot");
    if let Some(section) = unit.own().filter(|_| installed.is_empty() && !started) {
        found
            .add(
                section.header.span,
                "nothing starts this unit, unless another one asks for it",
            )
            .help("add [Install] and WantedBy=default.target");
    }
}

fn waits(unit: &Unit<'_>, installed: &[&crate::lint::quadlet::Entry<'_>], found: &mut Findings) {
    let system = installed
        .iter()
        .flat_map(|entry| entry.words())
        .any(|word| word.value == "multi-user.target");
    if system {
        return;
    }
    for key in ["After", "Wants", "Requires", "BindsTo"] {
        for word in unit.all("Unit", key).iter().flat_map(|entry| entry.words()) {
            if word.value == "network-online.target" {
                found
                    .add(word.span, "a user's manager has no network-online.target")
                    .help("leave it out: Quadlet waits for the network by itself");
            }
        }
    }
}

fn updates(unit: &Unit<'_>, found: &mut Findings) {
    let registry = unit
        .last(unit.kind, "AutoUpdate")
        .is_some_and(|entry| entry.value() == "registry");
    let Some(image) = unit.last(unit.kind, "Image").filter(|_| registry) else {
        return;
    };
    let value = image.value();
    let made = [".image", ".build"]
        .iter()
        .any(|unit| value.ends_with(unit));
    if made || value.contains(['%', '$']) {
        return;
    }
    let name = ImageName::parse(&value);
    if name.registry.is_none() {
        found
            .add(
                image.value_span(),
                "AutoUpdate=registry needs a name with its registry",
            )
            .help(format!("write Image=REGISTRY/{value}"))
            .warning();
    } else if name.digest.is_some() {
        found
            .add(
                image.value_span(),
                "a digest never changes, so AutoUpdate=registry finds nothing",
            )
            .help("leave the digest or AutoUpdate= out")
            .warning();
    }
}
