//! Checks of what the network modes need. Invariant: `none` and `host` need nothing, so no finding here forbids a build;
//! failures are those that a default build would meet.

use super::remedy::{Package, path_word, sysctl};
use super::{Check, Host, Loss, Verdict};

/// Ports below this one are privileged by default (ip-sysctl.rst).
const DEFAULT_PORT_START: u32 = 1024;

/// The checks that the mode `pasta` cannot do without.
pub(super) const PASTA_NEEDS: [&str; 2] = ["network.pasta", "network.tun"];

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "network.pasta",
        subject: "pasta",
        why: "pasta connects the network namespace of steps and containers; `--network none` and `host` work without it",
        loses: Loss::Nothing,
        quick: false,
        look: pasta,
    },
    Check {
        id: "network.tun",
        subject: "/dev/net/tun",
        why: "pasta gives a namespace its network through this device; `--network none` and `host` work without it",
        loses: Loss::Nothing,
        quick: false,
        look: tun,
    },
    Check {
        id: "network.ports",
        subject: "lowest unprivileged port",
        why: "lower ports of this host cannot be published, nor listened on under `--network host`",
        loses: Loss::Nothing,
        quick: false,
        look: ports,
    },
    Check {
        id: "network.ping",
        subject: "ping",
        why: "ping without privilege is allowed to these groups only; it matters under `--network host`",
        loses: Loss::Nothing,
        quick: false,
        look: ping,
    },
];

fn pasta(host: &Host<'_>) -> Verdict {
    if let Some(path) = host.view.program("pasta") {
        return Verdict::ok(path.display().to_string());
    }
    let install = host.family().install(Package::Pasta);
    match host.view.program("slirp4netns") {
        Some(path) => Verdict::failure(format!(
            "not in PATH; {} is there, but rbuild does not use it",
            path.display()
        )),
        None => Verdict::failure("not in PATH, nor is slirp4netns"),
    }
    .mend(install)
}

fn tun(host: &Host<'_>) -> Verdict {
    let path = host.view.dev.join("net/tun");
    let Err(errno) = (host.probes.open_tun)(&path) else {
        return Verdict::ok("can be opened");
    };
    let word = path_word(&path);
    if (host.probes.file)(&path).is_err() {
        return Verdict::failure(format!("{} does not exist", path.display())).mend(
            "sudo modprobe tun\n\
             echo tun | sudo tee /etc/modules-load.d/tun.conf\n\
             # or, in an outer container: podman run --device /dev/net/tun ..."
                .to_owned(),
        );
    }
    Verdict::failure(format!("{} cannot be opened: {errno}", path.display())).mend(format!(
        "sudo chmod 0666 {word}\n\
         echo 'KERNEL==\"tun\", MODE=\"0666\"' | sudo tee /etc/udev/rules.d/99-tun.rules"
    ))
}

fn ports(host: &Host<'_>) -> Verdict {
    const NAME: &str = "net.ipv4.ip_unprivileged_port_start";
    let Some(value) = host.sysctl(NAME) else {
        return Verdict::not_applicable("this kernel has no such setting");
    };
    let observed = format!("{NAME} = {value}");
    let remedy = sysctl(NAME, "80");
    match value.parse::<u32>() {
        Ok(start) if start > DEFAULT_PORT_START => Verdict::warning(observed).mend(remedy),
        Ok(start) if start > 80 => Verdict::ok(observed).mend(remedy),
        _ => Verdict::ok(observed),
    }
}

fn ping(host: &Host<'_>) -> Verdict {
    const NAME: &str = "net.ipv4.ping_group_range";
    let Some(value) = host.sysctl(NAME) else {
        return Verdict::not_applicable("this kernel has no such setting");
    };
    let bounds: Vec<u32> = value
        .split(' ')
        .filter_map(|bound| bound.parse().ok())
        .collect();
    let allowed = matches!(bounds[..], [low, high] if (low..=high).contains(&host.view.gid));
    if allowed || host.is_root() {
        return Verdict::ok(format!("{NAME} = {value}"));
    }
    Verdict::warning(format!(
        "{NAME} = {value}, without the user's group {}",
        host.view.gid
    ))
    .mend(sysctl(NAME, "0 2147483647"))
}
