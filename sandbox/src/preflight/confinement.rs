//! Checks of whatever rbuild itself runs in: the container, service or CI job around it. Invariant: these only read
//! /proc/self; what they suspect is confirmed or refuted by the trials of `userns.rs`.

use super::{Check, Host, Loss, Verdict};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "confinement.no-new-privs",
        subject: "no_new_privs",
        why: "under no_new_privs newuidmap and newgidmap start without their privilege",
        loses: Loss::SubIds,
        quick: true,
        look: no_new_privs,
    },
    Check {
        id: "confinement.seccomp",
        subject: "outer seccomp filter",
        why: "the filter of an outer container may forbid unshare, mount and pivot_root",
        loses: Loss::Nothing,
        quick: false,
        look: seccomp,
    },
    Check {
        id: "confinement.apparmor",
        subject: "outer AppArmor profile",
        why: "the profile of an outer container, such as docker-default, forbids mounts",
        loses: Loss::Nothing,
        quick: false,
        look: profile,
    },
    Check {
        id: "confinement.proc",
        subject: "unmasked /proc",
        why: "where parts of /proc are covered, the kernel refuses the fresh /proc that each step needs (EPERM)",
        loses: Loss::Execution,
        quick: true,
        look: proc_masks,
    },
];

/// The options that let an outer container run rbuild in every degree.
pub(super) fn relaxed_container() -> String {
    "# start the outer container with\n\
     docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined ...\n\
     # or\n\
     podman run --security-opt seccomp=unconfined --security-opt unmask=ALL ..."
        .to_owned()
}

fn no_new_privs(host: &Host<'_>) -> Verdict {
    match host.status("NoNewPrivs") {
        Some("1") if host.is_root() => Verdict::ok("set, and root needs no setuid program"),
        Some("1") => Verdict::failure("set for this process").mend(
            "# in the outer container: docker run --security-opt no-new-privileges=false ...\n\
             # in Kubernetes: securityContext: {allowPrivilegeEscalation: true}\n\
             # in a systemd unit: NoNewPrivileges=no"
                .to_owned(),
        ),
        Some(_) => Verdict::ok("not set"),
        None => Verdict::not_applicable("/proc/self/status does not say"),
    }
}

fn seccomp(host: &Host<'_>) -> Verdict {
    match (host.is_filtered(), host.userns()) {
        (false, _) => Verdict::ok("none"),
        (true, Some(Ok(()))) => Verdict::ok("active, and allows user namespaces and mounts"),
        (true, tried) => {
            let observed = if tried.is_some() {
                "active, and forbids them"
            } else {
                "active"
            };
            Verdict::warning(observed).mend(relaxed_container())
        }
    }
}

fn profile(host: &Host<'_>) -> Verdict {
    // SELinux uses the same file; its contexts have no mode in parentheses.
    let label = super::host::read(&host.view.proc.join("self/attr/current")).unwrap_or_default();
    let label = label.trim_end_matches(['\n', '\0']);
    if !label.ends_with(" (enforce)") {
        return Verdict::ok("none that restricts");
    }
    if host.userns() == Some(Ok(())) {
        return Verdict::ok(format!("{label}, and allows mounts"));
    }
    Verdict::warning(label).mend(relaxed_container())
}

/// The kernel lets a user namespace mount proc only where one is fully visible already (mount_namespaces(7), and
/// mount_too_revealing() in fs/namespace.c); automounts on empty directories do not count.
fn proc_masks(host: &Host<'_>) -> Verdict {
    let masks: Vec<String> = host
        .mounts()
        .iter()
        .filter(|mount| mount.point.starts_with("/proc") && mount.point.as_os_str() != "/proc")
        .filter(|mount| !matches!(mount.kind.as_str(), "autofs" | "binfmt_misc"))
        .map(|mount| mount.point.display().to_string())
        .collect();
    match masks.as_slice() {
        [] => Verdict::ok("nothing is mounted over it"),
        [first, rest @ ..] => {
            Verdict::failure(format!("{first} and {} more are covered", rest.len()))
                .mend(relaxed_container())
        }
    }
}
