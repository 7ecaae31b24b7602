//! Checks of user namespaces: the kernel's and the distributions' switches, then the thing itself. Invariant: a switch that
//! forbids is a failure even where the trial is not made; where the trial succeeds, no mere suspicion is one.

use rustix::io::Errno;

use super::remedy::{path_word, sysctl};
use super::{Check, Host, Loss, Verdict};

/// What a session and a few parallel steps make at once, with room for other programs of the same user.
const FEW: u64 = 64;

const KINDS: [&str; 6] = ["mnt", "pid", "ipc", "uts", "net", "cgroup"];

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "userns.clone",
        subject: "unprivileged user namespaces",
        why: "rbuild is rootless through user namespaces; this switch of Debian and hardened kernels forbids them",
        loses: Loss::Execution,
        quick: true,
        look: clone_switch,
    },
    Check {
        id: "userns.limit",
        subject: "number of user namespaces",
        why: "one is needed per build and one per running step; at the limit the kernel answers ENOSPC",
        loses: Loss::Execution,
        quick: true,
        look: limit,
    },
    Check {
        id: "userns.others",
        subject: "number of other namespaces",
        why: "each step has its own mount, pid, ipc, uts and network namespace; at a limit the kernel answers ENOSPC",
        loses: Loss::Execution,
        quick: true,
        look: other_limits,
    },
    Check {
        id: "userns.apparmor",
        subject: "AppArmor and user namespaces",
        why: "since Ubuntu 23.10 a program without a profile of its own has no capabilities in a user namespace",
        loses: Loss::Execution,
        quick: true,
        look: apparmor,
    },
    Check {
        id: "userns.trial",
        subject: "making a user namespace",
        why: "without a user namespace only builds that copy and configure are possible",
        loses: Loss::Execution,
        quick: false,
        look: trial,
    },
];

fn clone_switch(host: &Host<'_>) -> Verdict {
    const NAME: &str = "kernel.unprivileged_userns_clone";
    match host.sysctl(NAME).as_deref() {
        None => Verdict::not_applicable("this kernel has no such switch"),
        Some("0") if host.is_root() => Verdict::ok(format!("{NAME} = 0, which does not bind root")),
        Some("0") => Verdict::failure(format!("{NAME} = 0")).mend(sysctl(NAME, "1")),
        Some(value) => Verdict::ok(format!("{NAME} = {value}")),
    }
}

fn limit(host: &Host<'_>) -> Verdict {
    const NAME: &str = "user.max_user_namespaces";
    // The value that the documentation of rootless Docker and Podman gives.
    let remedy = || sysctl(NAME, "28633");
    let Some(value) = host.sysctl(NAME) else {
        return Verdict::failure("this kernel has no user namespaces (CONFIG_USER_NS)")
            .mend(host.family().upgrade_kernel());
    };
    let observed = format!("{NAME} = {value}");
    match value.parse::<u64>() {
        Ok(0) => Verdict::failure(observed).mend(remedy()),
        Ok(few) if few < FEW => Verdict::warning(observed).mend(remedy()),
        _ => Verdict::ok(observed),
    }
}

fn other_limits(host: &Host<'_>) -> Verdict {
    let names = KINDS.map(|kind| format!("user.max_{kind}_namespaces"));
    let values = names.map(|name| {
        (
            host.sysctl(&name)
                .and_then(|value| value.parse::<u64>().ok()),
            name,
        )
    });
    let zero: Vec<&str> = values
        .iter()
        .filter(|(value, _)| *value == Some(0))
        .map(|(_, name)| name.as_str())
        .collect();
    if zero.is_empty() {
        return match values.iter().filter_map(|(value, _)| *value).min() {
            Some(least) => Verdict::ok(format!("at least {least} of each kind")),
            None => Verdict::not_applicable("this kernel has no such limits"),
        };
    }
    let remedies: Vec<String> = zero.iter().map(|name| sysctl(name, "28633")).collect();
    Verdict::failure(format!("{} = 0", zero.join(" = 0, "))).mend(remedies.join("\n"))
}

fn apparmor(host: &Host<'_>) -> Verdict {
    const NAME: &str = "kernel.apparmor_restrict_unprivileged_userns";
    match host.sysctl(NAME).as_deref() {
        None => return Verdict::not_applicable("no such restriction"),
        Some("0") => return Verdict::ok(format!("{NAME} = 0")),
        Some(_) if host.is_root() => {
            return Verdict::ok(format!("{NAME} = 1, which does not bind root"));
        }
        Some(_) => {}
    }
    let label = super::host::read(&host.view.proc.join("self/attr/current")).unwrap_or_default();
    let label = label.trim_end_matches(['\n', '\0']);
    if host.userns() == Some(Ok(())) || (host.userns().is_none() && label != "unconfined") {
        return Verdict::ok(format!(
            "{NAME} = 1, and rbuild runs under the profile `{label}`"
        ));
    }
    Verdict::failure(format!(
        "{NAME} = 1, and rbuild runs under the profile `{label}`"
    ))
    .mend(format!("{}\n{}", profile_for(host), everywhere(NAME)))
}

/// A profile that restricts nothing and grants `userns`, as the packages of Ubuntu itself carry them.
fn profile_for(host: &Host<'_>) -> String {
    const PROFILE: &str = "/etc/apparmor.d/rbuild";
    let body = r#"abi <abi/4.0>,\ninclude <tunables/global>\nprofile rbuild "%s" flags=(unconfined) {\n  userns,\n}\n"#;
    let path = path_word(&host.view.executable);
    format!("printf '{body}' {path} | sudo tee {PROFILE}\nsudo apparmor_parser -r {PROFILE}")
}

fn everywhere(name: &str) -> String {
    format!(
        "# or, weaker, for every program of this machine:\n{}",
        sysctl(name, "0")
    )
}

fn trial(host: &Host<'_>) -> Verdict {
    match host.userns() {
        None => Verdict::not_applicable("not tried"),
        Some(Ok(())) => Verdict::ok("works"),
        Some(Err(errno)) => refused(host, errno),
    }
}

fn refused(host: &Host<'_>, errno: Errno) -> Verdict {
    let verdict = Verdict::failure(errno.to_string());
    match errno {
        Errno::NOSPC => verdict
            .because("a limit on the number of namespaces is reached, here or in a namespace around this one")
            .mend(sysctl("user.max_user_namespaces", "28633")),
        Errno::USERS => verdict.because("user namespaces cannot be nested more than 32 deep"),
        // Where there is a limit on them, there are user namespaces: Linux 5.10 knows something else in the trial not.
        Errno::NOSYS | Errno::INVAL if host.sysctl("user.max_user_namespaces").is_none() => verdict
            .because("this kernel is built without user namespaces (CONFIG_USER_NS)")
            .mend(host.family().upgrade_kernel()),
        Errno::PERM | Errno::ACCESS if host.is_filtered() => verdict
            .because("the seccomp filter of the container around rbuild forbids them, as Docker's default does")
            .mend(super::confinement::relaxed_container()),
        Errno::PERM | Errno::ACCESS => verdict.because(
"forbidden by a switch above, by a security module, or because rbuild runs in a chroot (user_namespaces(7))",
),
        _ => verdict,
    }
}
