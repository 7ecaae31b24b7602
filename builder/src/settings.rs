//! What the command line says about all RUN steps. The invariant: [`RunSettings`] can change what a step makes and is part of its
//! key; [`RunAccess`] only gives access to something (a secret, a resolver) and is not, so that a rotated token or another
//! network does not build everything anew. The line between the two is BuildKit's: extra hosts, limits and the host name are in
//! its ExecOp, values of secrets and resolvers are not. [`RunLimits`] decide whether a step ends, not what it makes, and are in no key.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use sandbox::{CgroupLimits, ResourceLimit};
use serde::{Deserialize, Serialize};

/// Docker's word for the address by which RUN reaches the machine; which one that is depends on the network.
pub const HOST_GATEWAY: &str = "host-gateway";

/// What can change the result of a RUN.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunSettings {
    /// `--cap-add`: names, checked.
    pub cap_add: Vec<String>,
    /// `--cap-drop`: names, checked.
    pub cap_drop: Vec<String>,
    /// `--add-host`: name and address, or [`HOST_GATEWAY`].
    pub hosts: Vec<(String, String)>,
    /// The argument BUILDKIT_SANDBOX_HOSTNAME.
    pub hostname: Option<String>,
    /// `--shm-size` in bytes.
    pub shm_size: Option<u64>,
    /// `--ulimit`.
    pub ulimits: Vec<ResourceLimit>,
    /// `--userns keep-id`: the user and group that are the caller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_id: Option<KeepId>,
}

/// The ids that are the caller in RUN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeepId {
    /// The user, as the image counts.
    pub uid: u32,
    /// The group, as the image counts.
    pub gid: u32,
}

impl RunSettings {
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Whether RUN is to reach the machine by a name.
    #[must_use]
    pub fn names_the_host(&self) -> bool {
        self.hosts
            .iter()
            .any(|(_, address)| address == HOST_GATEWAY)
    }
}

/// How much each RUN may use up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunLimits {
    /// `--memory` and its relatives.
    pub limits: CgroupLimits,
    /// `--cgroup-parent`: the cgroup below which the steps have theirs, by its absolute name.
    pub parent: Option<String>,
}

impl RunLimits {
    /// Whether steps need cgroups of their own.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// One line for each limit, as `--dry-run` shows them.
impl fmt::Display for RunLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = &self.parent {
            writeln!(f, "each RUN: a cgroup below {parent}")?;
        }
        let writes = self.limits.writes();
        writes
            .iter()
            .try_for_each(|write| writeln!(f, "each RUN: {write}"))
    }
}

/// What RUN gets access to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunAccess {
    /// `--secret`, by id.
    pub secrets: BTreeMap<String, Secret>,
    /// `--ssh`, by id.
    pub ssh: BTreeMap<String, Agent>,
    /// `--volume`.
    pub volumes: Vec<Volume>,
    /// `--dns` and its relatives.
    pub dns: Dns,
}

/// What stands behind the socket of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Agent {
    /// An agent of the caller.
    Socket(PathBuf),
    /// Key files, for an agent that is started with the build.
    Keys {
        /// The program `ssh-agent`.
        agent: PathBuf,
        /// The program `ssh-add`.
        add: PathBuf,
        /// The files.
        keys: Vec<PathBuf>,
    },
}

/// A file or directory of the machine that every RUN sees. Files of the caller are nobody's there, 65534, since the caller has no
/// id in a step, unless [`RunSettings::keep_id`] gives one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// An absolute path of the machine.
    pub source: PathBuf,
    /// An absolute path inside.
    pub target: String,
    /// Whether steps may only read.
    pub read_only: bool,
}

/// The resolver of RUN; what is empty is as it is on the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dns {
    /// `--dns none`: /etc/resolv.conf is the image's own.
    pub untouched: bool,
    /// `--dns`: addresses.
    pub servers: Vec<String>,
    /// `--dns-search`: domains; `.` alone is none.
    pub searches: Vec<String>,
    /// `--dns-option`.
    pub options: Vec<String>,
}

/// The value of a secret. It is never shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// The largest, as BuildKit's `MaxSecretSize`.
    pub const MAX_SIZE: usize = 500 << 10;

    /// The value, unless it is larger than a secret may be.
    #[must_use]
    pub fn new(value: Vec<u8>) -> Option<Self> {
        (value.len() <= Self::MAX_SIZE).then_some(Self(value))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s46_a_secret_is_not_shown_by_debug_output() {
        let secret = Secret::new(b"swordfish".to_vec()).unwrap();
        let access = RunAccess {
            secrets: [("a".to_owned(), secret)].into(),
            ..RunAccess::default()
        };
        let text = format!("{access:?}");
        assert!(
            text.contains("9 bytes") && !text.contains("sword"),
            "{text}"
        );
        assert!(Secret::new(vec![0; Secret::MAX_SIZE + 1]).is_none());
    }
}
