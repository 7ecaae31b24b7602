//! Where cgroup v2 is, and where in it a process is. The invariant: everything follows from the texts of
//! /proc/self/mountinfo and /proc/self/cgroup.

use std::path::{Path, PathBuf};

use crate::mountinfo::Mount;

/// The hierarchies of cgroups(7), as systemd names them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Hierarchy<'m> {
    /// Version 2 alone.
    Unified(&'m Mount),
    /// Version 2 beside controllers of version 1.
    Hybrid(&'m Mount),
    /// Version 1 alone.
    Legacy,
    /// None is mounted.
    Absent,
}

impl<'m> Hierarchy<'m> {
    pub(crate) fn of(mounts: &'m [Mount]) -> Self {
        let v2 = mounts.iter().find(|mount| mount.kind == "cgroup2");
        let v1 = mounts.iter().any(|mount| mount.kind == "cgroup");
        match (v2, v1) {
            (Some(mount), false) => Self::Unified(mount),
            (Some(mount), true) => Self::Hybrid(mount),
            (None, true) => Self::Legacy,
            (None, false) => Self::Absent,
        }
    }

    /// The mount of version 2.
    pub(crate) fn mount(&self) -> Option<&'m Mount> {
        match self {
            Self::Unified(mount) | Self::Hybrid(mount) => Some(mount),
            Self::Legacy | Self::Absent => None,
        }
    }
}

/// The process's cgroup of version 2, from the text of its /proc/PID/cgroup.
pub(crate) fn own_cgroup(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("0::"))
}

/// Where a cgroup is below the mount point: relative, and empty for what is mounted itself. `None` where it is not visible,
/// as in a container that sees only a part, or outside of the cgroup namespace (cgroup_namespaces(7)).
pub(crate) fn directory_of(mount: &Mount, cgroup: &str) -> Option<PathBuf> {
    let below = Path::new(cgroup).strip_prefix(&mount.root).ok()?;
    let escapes = below
        .components()
        .any(|part| !matches!(part, std::path::Component::Normal(_)));
    (!escapes).then(|| below.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mountinfo::mounts;

    const V2: &str = "31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
    const V1: &str = "33 31 0:30 / /sys/fs/cgroup/cpu rw shared:9 - cgroup cgroup rw,cpu\n";

    #[test]
    fn hierarchies_are_told_apart_by_what_is_mounted() {
        let both = format!("{V1}{V2}");
        let kind = |text: &str| match Hierarchy::of(&mounts(text)) {
            Hierarchy::Unified(_) => "unified",
            Hierarchy::Hybrid(_) => "hybrid",
            Hierarchy::Legacy => "legacy",
            Hierarchy::Absent => "absent",
        };
        assert_eq!(
            [kind(V2), kind(&both), kind(V1), kind("")],
            ["unified", "hybrid", "legacy", "absent"]
        );
    }

    #[test]
    fn the_own_cgroup_is_that_of_version_2() {
        let hybrid = "9:name=systemd:/a\n4:memory:/b\n0::/user.slice/x.scope\n";
        assert_eq!(own_cgroup(hybrid), Some("/user.slice/x.scope"));
        assert_eq!(own_cgroup("4:memory:/b\n"), None);
    }

    #[test]
    fn only_what_is_mounted_has_a_directory() {
        let whole = &mounts(V2)[0];
        let part = &mounts("31 23 0:28 /docker/1 /sys/fs/cgroup ro - cgroup2 cgroup rw\n")[0];
        let found =
            |mount, cgroup| directory_of(mount, cgroup).map(|path| path.display().to_string());
        assert_eq!(found(whole, "/").as_deref(), Some(""));
        assert_eq!(found(whole, "/a/b").as_deref(), Some("a/b"));
        assert_eq!(found(whole, "/../b"), None);
        assert_eq!(found(part, "/docker/1").as_deref(), Some(""));
        assert_eq!(found(part, "/docker/1/a").as_deref(), Some("a"));
        assert_eq!(found(part, "/docker/2"), None);
    }
}
