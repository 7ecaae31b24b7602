//! Checks of cgroups: which hierarchy there is, and what of it the user may use. Invariant: only limits of steps need a cgroup,
//! so nothing here is a failure.

use std::path::PathBuf;

use super::host::read;
use super::{Check, Host, Loss, Verdict};
use crate::cgroup::{Controller, Hierarchy, directory_of, own_cgroup};
use crate::mountinfo::Mount;

/// What limits on memory, processes and processor time need.
const WANTED: [Controller; 3] = [Controller::Cpu, Controller::Memory, Controller::Pids];

/// The checks of what limits need, and no others.
pub(super) const LIMITS_NEED: [&str; 2] = ["cgroup.version", "cgroup.delegation"];

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "cgroup.version",
        subject: "cgroup hierarchy",
        why: "an ordinary user can be given a part of cgroup v2 only; without it limits such as --memory are refused",
        loses: Loss::Nothing,
        quick: false,
        look: version,
    },
    Check {
        id: "cgroup.delegation",
        subject: "delegated controllers",
        why: "limits on memory, processes and cpu are enforced by controllers that the user was given",
        loses: Loss::Nothing,
        quick: false,
        look: delegation,
    },
];

fn version(host: &Host<'_>) -> Verdict {
    let unify = || {
        host.family()
            .kernel_argument("systemd.unified_cgroup_hierarchy=1")
    };
    match Hierarchy::of(host.mounts()) {
        Hierarchy::Unified(mount) => Verdict::ok(format!("v2 at {}", mount.point.display())),
        Hierarchy::Hybrid(mount) => Verdict::warning(format!(
            "hybrid: v1 controllers, v2 at {}",
            mount.point.display()
        ))
        .mend(unify()),
        Hierarchy::Legacy => Verdict::warning("v1").mend(unify()),
        Hierarchy::Absent => Verdict::warning("none is mounted")
            .mend("sudo mount -t cgroup2 none /sys/fs/cgroup".to_owned()),
    }
}

fn delegation(host: &Host<'_>) -> Verdict {
    let Hierarchy::Unified(mount) = Hierarchy::of(host.mounts()) else {
        return Verdict::not_applicable("needs cgroup v2 alone");
    };
    let Some((name, dir)) = delegated(host, mount) else {
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
        .map(Controller::name)
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
fn delegated(host: &Host<'_>, mount: &Mount) -> Option<(String, PathBuf)> {
    let point = &mount.point;
    let root = point
        .strip_prefix("/sys")
        .map_or_else(|_| point.clone(), |below| host.view.sys.join(below));
    let uid = host.view.uid;
    let manager = format!("user.slice/user-{uid}.slice/user@{uid}.service");
    if !host.is_root() && root.join(&manager).is_dir() {
        return Some((format!("user@{uid}.service"), root.join(manager)));
    }
    let cgroups = read(&host.view.proc.join("self/cgroup"))?;
    let own = own_cgroup(&cgroups)?;
    let dir = root.join(directory_of(mount, own)?);
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
