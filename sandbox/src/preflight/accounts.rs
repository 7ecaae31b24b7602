//! Checks of the caller's account: the id-map programs and the subordinate ids. Invariant: what passes here is accepted by
//! newuidmap(1), and what fails names the program or the line at fault.

use std::path::Path;

use super::remedy::{Family, Package, path_word, shell_word};
use super::{Check, Finding, Host, Loss, Status, Verdict};
use crate::subids::{IdKind, NEEDED, SubIdError, SubIdRange, ids_of_namespace, total};

const WHY_HELPER: &str = "an ordinary user may map only its own id; this program maps the subordinate ids, and needs privilege for that";
const WHY_RANGE: &str =
    "an image's users 0 to 65535 become these ids on this host, so 65536 are needed";
const WHY_EXCLUSIVE: &str =
    "accounts that share ids can read and change the files of each other's containers";

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "account.name",
        subject: "account",
        why: "newuidmap refuses callers whose uid has no account name",
        loses: Loss::SubIds,
        quick: true,
        look: account_name,
    },
    Check {
        id: "helpers.newuidmap",
        subject: "newuidmap",
        why: WHY_HELPER,
        loses: Loss::SubIds,
        quick: true,
        look: |host| id_map_program(host, IdKind::Uid),
    },
    Check {
        id: "helpers.newgidmap",
        subject: "newgidmap",
        why: WHY_HELPER,
        loses: Loss::SubIds,
        quick: true,
        look: |host| id_map_program(host, IdKind::Gid),
    },
    Check {
        id: "subuid.range",
        subject: "subordinate uids",
        why: WHY_RANGE,
        loses: Loss::SubIds,
        quick: true,
        look: |host| range(host, IdKind::Uid),
    },
    Check {
        id: "subgid.range",
        subject: "subordinate gids",
        why: WHY_RANGE,
        loses: Loss::SubIds,
        quick: true,
        look: |host| range(host, IdKind::Gid),
    },
    Check {
        id: "subuid.exclusive",
        subject: "subordinate uids unshared",
        why: WHY_EXCLUSIVE,
        loses: Loss::Nothing,
        quick: true,
        look: |host| exclusive(host, IdKind::Uid),
    },
    Check {
        id: "subgid.exclusive",
        subject: "subordinate gids unshared",
        why: WHY_EXCLUSIVE,
        loses: Loss::Nothing,
        quick: true,
        look: |host| exclusive(host, IdKind::Gid),
    },
];

/// The finding of an error that occurred outside any check.
pub(super) fn finding_of(error: &SubIdError) -> Finding {
    Finding {
        id: "subuid.range",
        subject: "subordinate ids".to_owned(),
        status: Status::Failure,
        loses: Loss::SubIds,
        observed: told(error),
        why: WHY_RANGE.to_owned(),
        remedy: error.remedy(),
    }
}

fn account_name(host: &Host<'_>) -> Verdict {
    let uid = host.view.uid;
    match host.account() {
        Ok(account) if account.local => Verdict::ok(format!("{} (uid {uid})", account.name)),
        Ok(account) => Verdict::ok(format!(
            "{} (uid {uid}), from a directory service",
            account.name
        )),
        Err(_) if host.is_root() => Verdict::ok("uid 0"),
        Err(error) => {
            let line = format!(
                "user{uid}:x:{uid}:{}::/home/user{uid}:/bin/sh",
                host.view.gid
            );
            let passwd = path_word(&host.view.etc.join("passwd"));
            Verdict::failure(told(error))
                .mend(format!("echo {} | sudo tee -a {passwd}", shell_word(&line)))
        }
    }
}

fn id_map_program(host: &Host<'_>, kind: IdKind) -> Verdict {
    if host.is_root() {
        return Verdict::not_applicable("root writes the maps itself");
    }
    let name = format!("new{}map", kind.name());
    let Some(path) = host.view.program(&name) else {
        return Verdict::failure("not in PATH").mend(host.family().install(Package::IdMapPrograms));
    };
    let facts = match (host.probes.file)(&path) {
        Ok(facts) => facts,
        Err(errno) => return Verdict::failure(format!("{}: {errno}", path.display())),
    };
    let (bit, capability) = match kind {
        IdKind::Uid => (7, "cap_setuid"),
        IdKind::Gid => (6, "cap_setgid"),
    };
    let privilege = if facts.uid == 0 && facts.mode & 0o4000 != 0 {
        "setuid root"
    } else if facts.capabilities & 1 << bit != 0 {
        capability
    } else {
        let observed = format!(
            "{} is neither setuid root nor has {capability}",
            path.display()
        );
        return Verdict::failure(observed).mend(give_privilege(host.family(), &path, capability));
    };
    if (host.probes.filesystem)(&path).is_ok_and(|filesystem| filesystem.nosuid) {
        let point = mount_point(host, &path);
        return Verdict::failure(format!(
            "{} is {privilege}, but {point} is mounted nosuid",
            path.display()
        ))
        .because("on a nosuid mount the kernel ignores setuid bits and file capabilities")
        .mend(format!("sudo mount -o remount,suid {}", shell_word(&point)));
    }
    Verdict::ok(format!("{}, {privilege}", path.display()))
}

/// As the distribution's own package does it: setuid on Debian and Alpine, file capabilities elsewhere.
fn give_privilege(family: Family, path: &Path, capability: &str) -> String {
    let path = path_word(path);
    match family {
        Family::Debian | Family::Alpine | Family::Unknown => {
            format!("sudo chown root:root {path}\nsudo chmod 4755 {path}")
        }
        Family::Fedora | Family::Suse | Family::Arch => {
            format!("sudo setcap {capability}=ep {path}")
        }
    }
}

fn mount_point(host: &Host<'_>, path: &Path) -> String {
    let above = host
        .mounts()
        .iter()
        .filter(|mount| path.starts_with(&mount.point));
    let nearest = above.max_by_key(|mount| mount.point.components().count());
    nearest.map_or_else(
        || "its filesystem".to_owned(),
        |mount| mount.point.display().to_string(),
    )
}

fn range(host: &Host<'_>, kind: IdKind) -> Verdict {
    if host.is_root() {
        return root_range(host, kind);
    }
    match host.ranges(kind) {
        None => Verdict::not_applicable("no account"),
        Some(Err(error)) => failure(error),
        Some(Ok(ranges)) => range_in_namespace(host, kind, ranges),
    }
}

/// Root of a container has what its namespace has, which may be too little, or nothing but root itself.
fn root_range(host: &Host<'_>, kind: IdKind) -> Verdict {
    let ids = match host.sources.for_root(&host.uid_map, &host.gid_map) {
        Ok(ids) => ids,
        Err(error) => return failure(&error),
    };
    let ranges = match kind {
        IdKind::Uid => ids.uids,
        IdKind::Gid => ids.gids,
    };
    match total(&ranges) {
        0 => Verdict::failure("none: this user namespace has a single id")
            .because("the container around rbuild was started without subordinate ids; they cannot be added from inside"),
        few if few < NEEDED => scarce(kind, &ranges),
        _ => Verdict::ok(spans(&ranges)),
    }
}

fn scarce(kind: IdKind, ranges: &[SubIdRange]) -> Verdict {
    Verdict::warning(format!("{}: all that this container has", spans(ranges))).because(format!(
        "image {} {} is the first that cannot exist here",
        kind.name(),
        total(ranges)
    ))
}

/// Inside a container the ranges must exist in its user namespace too, where 65536 ids may be all there are.
fn range_in_namespace(host: &Host<'_>, kind: IdKind, ranges: &[SubIdRange]) -> Verdict {
    let Ok(account) = host.account() else {
        return Verdict::not_applicable("no account");
    };
    let there = ids_of_namespace(match kind {
        IdKind::Uid => &host.uid_map,
        IdKind::Gid => &host.gid_map,
    });
    let exists = |range: &SubIdRange| {
        there
            .iter()
            .any(|t| t.start <= range.start && range.end() <= t.end())
    };
    if !there.is_empty() && !ranges.iter().all(exists) {
        let lines: Vec<String> = without(&there, [0, account.uid])
            .iter()
            .map(|r| shell_word(&format!("{}:{}:{}", account.name, r.start, r.count)))
            .collect();
        let file = path_word(host.sources.file(kind));
        return Verdict::failure(format!(
            "{}, but this container has only {}",
            spans(ranges),
            spans(&there)
        ))
        .because("ids that the container itself does not have cannot be mapped")
        .mend(format!(
            "printf '%s\\n' {} | sudo tee {file}",
            lines.join(" ")
        ));
    }
    match host.sources.check_size(kind, account, ranges) {
        Ok(()) => Verdict::ok(spans(ranges)),
        Err(_) if !there.is_empty() && total(&there) <= NEEDED => scarce(kind, ranges),
        Err(error) => failure(&error),
    }
}

fn exclusive(host: &Host<'_>, kind: IdKind) -> Verdict {
    if host.is_root() {
        return Verdict::not_applicable("root can read every file anyway");
    }
    let (Ok(account), Some(Ok(_))) = (host.account(), host.ranges(kind)) else {
        return Verdict::not_applicable("no range");
    };
    match host.sources.check_exclusive(kind, account) {
        Ok(()) => Verdict::ok("no other account has any of them"),
        Err(error) => failure(&error),
    }
}

fn failure(error: &SubIdError) -> Verdict {
    Verdict::failure(told(error)).mend(error.remedy())
}

/// Errors are worded to follow "failed to"; as an observation "cannot" reads better.
fn told(error: &SubIdError) -> String {
    let source = std::error::Error::source(error)
        .map(|source| format!(": {source}"))
        .unwrap_or_default();
    format!("cannot {error}{source}")
}

fn spans(ranges: &[SubIdRange]) -> String {
    let spans: Vec<String> = ranges
        .iter()
        .map(|range| format!("{}-{}", range.start, range.last()))
        .collect();
    format!("{} ({} ids)", spans.join(", "), total(ranges))
}

/// The ranges with two ids taken out of them.
fn without(ranges: &[SubIdRange], mut ids: [u32; 2]) -> Vec<SubIdRange> {
    ids.sort_unstable();
    let mut out = Vec::new();
    for range in ranges {
        let mut start = range.start;
        for id in ids.into_iter().filter(|&id| range.contains(id)) {
            out.push(SubIdRange {
                start,
                count: id.saturating_sub(start),
            });
            start = id + 1;
        }
        out.push(SubIdRange {
            start,
            count: range.end().saturating_sub(start),
        });
    }
    out.retain(|range| range.count > 0);
    out
}
