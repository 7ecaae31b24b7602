//! RB902: ports that are published nowhere.

use super::prelude::*;
use crate::lint::quadlet::Unit;

pub(super) const RULE: Rule = Rule {
    id: "RB902",
    aliases: &[],
    severity: Severity::Warning,
    title: "PublishPort together with Network=host or none",
    why: "In the host's network every port of the process is one of the host, and with no network there is none: podman discards the \
published ones.",
    bad: unit!("Network=host\nPublishPort=8080:80"),
    good: unit!("PublishPort=8080:80"),
    check: None,
};

pub(super) fn check_unit(unit: &Unit<'_>, found: &mut Findings) {
    let network = unit.last(unit.kind, "Network").map(|entry| entry.value());
    let Some(network) = network.filter(|network| matches!(network.as_str(), "host" | "none"))
    else {
        return;
    };
    for entry in unit.all(unit.kind, "PublishPort") {
        let message = format!("with Network={network} no port is published");
        found
            .add(entry.span(), message)
            .help("remove this, or Network=");
    }
}
