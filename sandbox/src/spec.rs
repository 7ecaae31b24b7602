//! What a sandbox is to be, as data. The invariant: a spec names every resource by value or by [`Handle`], an index into the
//! descriptors that travel with it; no host path of a tree that somebody else wrote is in it.

use serde::{Deserialize, Serialize};

use crate::capabilities::CapabilitySet;
use crate::idmap::IdMap;
use crate::resource::Resource;

/// The position of a descriptor in the list that is sent along with the spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handle(pub usize);

/// A sandbox: a root, what is mounted in it, how it is confined and what runs there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxSpec {
    /// Ids inside to session ids.
    pub ids: IdMap,
    /// A detached mount that becomes `/`.
    pub root: Handle,
    /// Whether `/` itself is read-only.
    pub read_only_root: bool,
    /// Mounts in addition to the usual ones, in order.
    pub mounts: Vec<MountSpec>,
    /// The network.
    pub network: NetworkSpec,
    /// The host name inside.
    pub hostname: String,
    /// What the process may not do.
    pub confinement: Confinement,
    /// What it may use up.
    pub limits: Limits,
    /// What is executed.
    pub process: ProcessSpec,
    /// The [door](crate::Supervisor::door) of the supervisor that imitates the process's user, and all owners, where the ids have
    /// no room for them.
    pub supervisor: Option<Handle>,
    /// Where its namespaces are sent, for processes that [join](crate::SetupPlan::joining) it; see [`crate::Door`].
    pub namespaces: Option<Handle>,
}

/// One mount that the caller asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountSpec {
    /// Where, as an absolute path inside; resolved inside the root only.
    pub target: String,
    /// What.
    pub source: MountSource,
    /// Whether it is read-only.
    pub read_only: bool,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountSource {
    /// A detached tree, with all that is mounted below it.
    Tree {
        /// The tree.
        handle: Handle,
        /// Whether it is a directory; says what to create where the target is missing.
        directory: bool,
    },
    /// A new tmpfs.
    Tmpfs {
        /// Largest size in bytes; half of the memory by default, tmpfs(5).
        size: Option<u64>,
        /// Mode of its root.
        mode: u32,
    },
}

/// The network of a sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NetworkSpec {
    /// An own network namespace with only `lo`.
    None,
    /// The network of the session, which is the host's.
    Host,
    /// A network namespace that the session owns, shared by its steps.
    Shared(Handle),
}

/// What the process may not do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// The capabilities it may have or gain.
    pub capabilities: CapabilitySet,
    /// Whether a user other than root keeps them, as ambient capabilities.
    pub ambient: bool,
    /// Whether set-user-ID programs and file capabilities have no effect.
    pub no_new_privileges: bool,
    /// Whether the system call filter is installed.
    pub seccomp: bool,
    /// Whether kernel interfaces that say or change too much are masked or read-only.
    pub mask_paths: bool,
}

/// What the process and its children may use up; what is not said is as it is outside.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// The size of /dev/shm in bytes; 64 MiB by default, as everywhere.
    pub shm_size: Option<u64>,
    /// Limits of each process, getrlimit(2).
    pub resources: Vec<ResourceLimit>,
    /// The cgroup that limits all of them together, by its [door](crate::StepCgroup::door).
    pub cgroup: Option<Handle>,
}

/// One limit of each process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceLimit {
    /// Of what.
    pub resource: Resource,
    /// What holds at first; `None` is no limit.
    pub soft: Option<u64>,
    /// What it may be raised to; `None` is no limit.
    pub hard: Option<u64>,
}

/// The program and its surroundings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessSpec {
    /// The program and its arguments; a program without `/` is looked for in the environment's `PATH`.
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    /// The working directory, absolute.
    pub cwd: String,
    /// As whom.
    pub user: UserSpec,
    /// Standard input, output and error.
    pub stdio: [Handle; 3],
    /// Where the other side of a new terminal is sent that takes the place of the three; see [`crate::Door`].
    pub terminal: Option<Handle>,
    /// Whether the program is the child of a first process that passes signals on and reaps orphans, instead of being it.
    pub init: bool,
}

/// Numeric ids inside the sandbox.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserSpec {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary group ids.
    pub groups: Vec<u32>,
}
