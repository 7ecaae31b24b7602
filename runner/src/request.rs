//! What is asked of a run, as data. The invariant: nothing here refers to the caller's surroundings; values that come from
//! an environment or a working directory were filled in before, and the whole of it travels to the session as it is.

use std::fmt;
use std::path::PathBuf;

use image::Platform;
use sandbox::{CgroupLimits, Forward, ResourceLimit};
use serde::{Deserialize, Serialize};

use crate::idmaps::MapRequest;
use crate::mount::{NamedVolume, Tmpfs, Volume};
use crate::signal::StopSignal;
use crate::userns::UsernsMode;

/// A container to be run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRequest {
    /// The image: a name, an id, the beginning of an id, or a digest.
    pub image: String,
    /// Which image of an index; this machine's by default.
    pub platform: Option<Platform>,
    /// Directories of programs, in which an emulator of a foreign processor is looked for.
    pub program_dirs: Vec<PathBuf>,
    /// What runs.
    pub program: Program,
    /// What is mounted beside the image.
    pub mounts: Mounts,
    /// The network.
    pub network: Network,
    /// Which id inside is the invoking user.
    pub userns: UsernsMode,
    /// The whole of the maps, in place of a mode.
    pub maps: Option<MapRequest>,
    /// Capabilities to have, by name; there are none by default.
    pub cap_add: Vec<String>,
    /// Capabilities to take away again, by name.
    pub cap_drop: Vec<String>,
    /// The host name; the beginning of the image's digest by default.
    pub hostname: Option<String>,
    /// What it may use up.
    pub limits: ContainerLimits,
    /// How it is stopped.
    pub stop: StopPolicy,
    /// Standard input.
    pub stdin: Stdin,
}

/// What runs, where it differs from the image's configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// In place of the image's CMD; empty leaves it.
    pub args: Vec<String>,
    /// In place of the image's ENTRYPOINT, and without its CMD. An empty text means no entry point.
    pub entrypoint: Option<String>,
    /// Variables over those of the image.
    pub env: Vec<(String, String)>,
    /// In place of the image's WORKDIR.
    pub workdir: Option<String>,
    /// In place of the image's USER.
    pub user: Option<String>,
    /// More supplementary groups, names or numbers.
    pub groups: Vec<String>,
    /// Whether the program is the child of an init.
    pub init: bool,
    /// Whether it has a terminal, in place of the caller's streams.
    pub terminal: bool,
}

/// A process that is to join a running container, where it differs from the container's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecRequest {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Variables over those of the container.
    pub env: Vec<(String, String)>,
    /// The working directory.
    pub workdir: Option<String>,
    /// As whom.
    pub user: Option<String>,
    /// Whether it gets the caller's standard input.
    pub stdin: bool,
    /// Whether it has a terminal.
    pub terminal: bool,
}

/// What is mounted beside the image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mounts {
    /// Directories and files of the host.
    pub volumes: Vec<Volume>,
    /// Directories of the store, by name.
    pub named: Vec<NamedVolume>,
    /// Empty file systems in memory.
    pub tmpfs: Vec<Tmpfs>,
    /// Whether the image's file system is read-only.
    pub read_only: bool,
    /// Files in memory with these contents.
    pub secrets: Vec<Secret>,
}

/// A file that only the container's user can read, which is in no layer and on no disk.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// Where, absolute.
    pub target: String,
    /// What is in it.
    pub content: Vec<u8>,
    /// Its permissions.
    pub mode: u32,
    /// Whose it is; the container's user by default.
    pub owner: (Option<u32>, Option<u32>),
}

/// Not derived: the content is nobody's to print.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({}, {} bytes)", self.target, self.content.len())
    }
}

/// What a container may use up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerLimits {
    /// Limits of each process.
    pub resources: Vec<ResourceLimit>,
    /// The size of /dev/shm in bytes.
    pub shm_size: Option<u64>,
    /// Limits of all of them together.
    pub cgroup: Option<CgroupPlace>,
}

/// A cgroup that the container gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupPlace {
    /// Where, see [`sandbox::StepCgroups::path`].
    pub place: PathBuf,
    /// What holds in it.
    pub limits: CgroupLimits,
}

/// How a container is stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopPolicy {
    /// In place of the image's STOPSIGNAL; SIGTERM where neither says anything.
    pub signal: Option<StopSignal>,
    /// After how many seconds it is killed; `None` waits as long as it takes.
    pub timeout: Option<u32>,
}

/// Standard input of a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stdin {
    /// `/dev/null`.
    #[default]
    Null,
    /// What the caller's gives. `terminal` says that it is a terminal, whose foreground the container then needs.
    Caller {
        /// Whether it is a terminal.
        terminal: bool,
    },
}

/// The network of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// Only `lo`.
    #[default]
    None,
    /// The host's.
    Host,
    /// An own one that pasta connects.
    Pasta {
        /// The program.
        program: PathBuf,
        /// Ports of this machine that lead into it.
        forwards: Vec<Forward>,
        /// The size of its packets, in bytes; pasta's own choice by default.
        mtu: Option<u16>,
    },
    /// That of another container, see [`crate::service::Neighbour`].
    Joined {
        /// Whether pasta connects it.
        connected: bool,
    },
}
