//! Checks of cgroups: which hierarchy there is, and what of it the user may use. Invariant: builds need no cgroup, so
//! nothing here is a failure.

use std::path::{Path, PathBuf};

use super::host::read;
use super::{Check, Host, Loss, Verdict};

/// What limits on memory, processes and processor time need.
const WANTED: [&str; 3] = ["cpu", "memory", "pids"];

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "cgroup.version",
        subject: "cgroup hierarchy",
        why: "an ordinary user can be given a part of cgroup v2 only; without it limits of containers are not enforced",
        loses: Loss::Nothing,
        quick: false,
        look: version,
    },
    Check {
        id: "cgroup.delegation",
        subject: "delegated controllers",
        why: "limits of a container on memory, processes and cpu are enforced by controllers that the user was given",
        loses: Loss::Nothing,
        quick: false,
        look: delegation,
    },
];

/// The hierarchies of cgroups(7), as systemd names them.
enum Hierarchy<'h> {
    Unified(&'h Path),
    Hybrid(&'h Path),
    Legacy,
    Absent,
}

fn hierarchy<'h>(host: &'h Host<'_>) -> Hierarchy<'h> {
    let v2 = host.mounts().iter().find(|mount| mount.kind == "cgroup2");
    let v1 = host.mounts().iter().any(|mount| mount.kind == "cgroup");
    match (v2, v1) {
        (Some(mount), false) => Hierarchy::Unified(&mount.point),
        (Some(mount), true) => Hierarchy::Hybrid(&mount.point),
        (None, true) => Hierarchy::Legacy,
        (None, false) => Hierarchy::Absent,
    }
}

fn version(host: &Host<'_>) -> Verdict {
    let unify = || {
        host.family()
            .kernel_argument("systemd.unified_cgroup_hierarchy=1")
    };
    match hierarchy(host) {
        Hierarchy::Unified(point) => Verdict::ok(format!("v2 at {}", point.display())),
        Hierarchy::Hybrid(point) => {
            Verdict::warning(format!("hybrid: v1 controllers, v2 at {}", point.display()))
                .mend(unify())
        }
        Hierarchy::Legacy => Verdict::warning("v1").mend(unify()),
        Hierarchy::Absent => Verdict::warning("none is mounted")
            .mend("sudo mount -t cgroup2 none /sys/fs/cgroup".to_owned()),
    }
}

fn delegation(host: &Host<'_>) -> Verdict {
    let Hierarchy::Unified(point) = hierarchy(host) else {
        return Verdict::not_applicable("needs cgroup v2 alone");
    };
    let Some((name, dir)) = delegated(host, point) else {
        return Verdict::not_applicable("this process's cgroup is not visible here");
    };
    let controllers = |file: &str| -> Vec<String> {
        read(&dir.join(file))
            .unwrap_or_default()
            .split_whitespace()
            .map(str::to_owned)
            .collect()
    };
    let owned =
        host.is_root() || (host.probes.file)(&dir).is_ok_and(|facts| facts.uid == host.view.uid);
    if !owned {
        return Verdict::warning(format!("{name} is not the user's")).mend(delegate());
    }
    let (there, enabled) = (
        controllers("cgroup.controllers"),
        controllers("cgroup.subtree_control"),
    );
    let missing: Vec<&str> = WANTED
        .into_iter()
        .filter(|wanted| !there.iter().any(|c| c == wanted))
        .collect();
    let shown = |list: &[String]| {
        if list.is_empty() {
            "none".to_owned()
        } else {
            list.join(" ")
        }
    };
    let observed = format!(
        "{} at {name}, on for its children: {}",
        shown(&there),
        shown(&enabled)
    );
    if missing.is_empty() {
        return Verdict::ok(observed);
    }
    Verdict::warning(format!("{observed}; missing: {}", missing.join(" "))).mend(delegate())
}

/// The user's systemd manager is what controllers are delegated to; without one, the cgroup of this process counts.
fn delegated(host: &Host<'_>, point: &Path) -> Option<(String, PathBuf)> {
    let root = point
        .strip_prefix("/sys")
        .map_or_else(|_| point.to_owned(), |below| host.view.sys.join(below));
    let uid = host.view.uid;
    let manager = format!("user.slice/user-{uid}.slice/user@{uid}.service");
    if !host.is_root() && root.join(&manager).is_dir() {
        return Some((format!("user@{uid}.service"), root.join(manager)));
    }
    let cgroups = read(&host.view.proc.join("self/cgroup"))?;
    let own = cgroups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let dir = root.join(own.trim_start_matches('/'));
    dir.is_dir().then(|| (own.to_owned(), dir))
}

/// As the documentation of rootless Docker and Podman gives it.
fn delegate() -> String {
    const DIR: &str = "/etc/systemd/system/user@.service.d";
    format!(
        "sudo mkdir -p {DIR}\n\
         printf '[Service]\\nDelegate=cpu cpuset io memory pids\\n' | sudo tee {DIR}/delegate.conf\n\
         sudo systemctl daemon-reload\n\
         # then log out and in again"
    )
}
