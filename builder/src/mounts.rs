//! `RUN --mount`, evaluated. The invariant: a target is absolute, clean and not the root; what is mounted is named, and the value
//! of a secret, the content of a cache and an agent's address are not here, so that they can be in no cache key.

use serde::{Deserialize, Serialize};

use crate::step::CopyFrom;

/// One mount of a RUN.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunMount {
    /// Where.
    pub target: String,
    /// What.
    pub source: RunMountSource,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunMountSource {
    /// Files of the context, a stage or an image.
    Bind {
        /// Whose.
        from: CopyFrom,
        /// Which file or directory of it.
        source: String,
        /// Whether the program may write; its writes are thrown away.
        writable: bool,
    },
    /// A directory that outlives builds.
    Cache(CacheMount),
    /// An empty directory in memory.
    Tmpfs {
        /// The limit in bytes.
        size: Option<u64>,
        /// Its mode.
        mode: u32,
    },
    /// A secret as a file.
    Secret {
        /// Its name on the command line.
        id: String,
        /// Whether the step fails without it.
        required: bool,
        /// Owner and mode of the file.
        access: Access,
    },
    /// The socket of an agent.
    Ssh {
        /// Its name on the command line.
        id: String,
        /// Whether the step fails without it.
        required: bool,
        /// Owner and mode of the socket.
        access: Access,
    },
}

/// A cache directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheMount {
    /// Its name; two mounts of one name share their files.
    pub id: String,
    /// What it is filled with when it is new.
    pub from: Option<CopyFrom>,
    /// Which of its directories is mounted.
    pub source: String,
    /// How builds that run at the same time share it.
    pub sharing: CacheSharing,
    /// Owner and mode of a new directory.
    pub access: Access,
    /// Whether the program may only read.
    pub read_only: bool,
}

/// How builds that run at the same time share a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CacheSharing {
    /// All use it at once.
    Shared,
    /// Each gets another directory while it is in use.
    Private,
    /// One waits for the other.
    Locked,
}

/// Owner and mode of something that is made for a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// Owner, as the image counts.
    pub uid: u32,
    /// Group, as the image counts.
    pub gid: u32,
    /// Permissions.
    pub mode: u32,
}

/// A secret as an environment variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretVariable {
    /// The variable.
    pub name: String,
    /// The secret's name on the command line.
    pub id: String,
    /// Whether the step fails without it.
    pub required: bool,
}

impl RunMount {
    /// The tree that the mount takes files from.
    #[must_use]
    pub fn from(&self) -> Option<&CopyFrom> {
        match &self.source {
            RunMountSource::Bind { from, .. } => Some(from),
            RunMountSource::Cache(cache) => cache.from.as_ref(),
            RunMountSource::Tmpfs { .. }
            | RunMountSource::Secret { .. }
            | RunMountSource::Ssh { .. } => None,
        }
    }
}
