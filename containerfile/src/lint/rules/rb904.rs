//! RB904: secrets in unit files.

use super::prelude::*;
use super::rb801::is_secret;
use crate::lint::quadlet::Unit;

pub(super) const RULE: Rule = Rule {
    id: "RB904",
    aliases: &[],
    severity: Severity::Warning,
    title: "a secret in Environment=",
    why: "Whoever can read the unit, the journal or `podman inspect` reads it, and units are often kept in git. A secret of podman's is a \
file of the container, or a variable that is in no unit.",
    bad: unit!("Environment=API_TOKEN=abcdef"),
    good: unit!("Secret=api-token,type=env,target=API_TOKEN"),
    check: None,
};

pub(super) fn check_unit(unit: &Unit<'_>, found: &mut Findings) {
    let sections = [unit.kind, "Service"];
    for entry in sections
        .iter()
        .flat_map(|section| unit.all(section, "Environment"))
    {
        for word in entry.words() {
            let Some((name, value)) = word.value.split_once('=') else {
                continue;
            };
            // Paths, specifiers and variables say where a value is.
            let literal = !value.is_empty() && !value.starts_with(['/', '%', '$']);
            if literal && is_secret(name) {
                let id = name.to_ascii_lowercase().replace('_', "-");
                let message = format!("{name} can be read by whoever reads this unit");
                found.add(word.span, message).help(format!(
                    "podman secret create {id} FILE, and Secret={id},type=env,target={name}"
                ));
            }
        }
    }
}
