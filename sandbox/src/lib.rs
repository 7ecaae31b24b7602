//! Namespaces, id maps, mounts, seccomp, capabilities and processes.
//!
//! The crate knows nothing of images: a caller describes a [`SandboxSpec`], it becomes a [`SetupPlan`], an ordered list of
//! operations as data, and one small loop in a re-executed, single-threaded process performs it.

mod capabilities;
mod cgroup;
mod claim;
mod degree;
mod detach;
pub mod drill;
mod executable;
mod failure;
mod foreign;
mod foreign_memory;
mod forge;
mod idmap;
mod init;
mod join;
mod memory;
mod mountinfo;
mod network;
mod overlay;
mod own_network;
mod perform;
mod plan;
pub mod preflight;
mod resource;
mod seccomp;
mod session;
mod spec;
mod step;
pub mod subids;
mod supervisor;
mod sys;
mod target;
mod terminal;
mod tree;
pub mod trial;
mod wire;

use std::process::ExitCode;

pub use capabilities::{CapabilitySet, UnknownCapability};
pub use cgroup::{
    Bound, CgroupError, CgroupLimits, Controller, Cpus, LimitError, StepCgroup, StepCgroups,
    WantedLimits, Write,
};
pub use claim::IdClaim;
pub use degree::{Caller, WriterChoice};
pub use detach::{Detached, detach};
pub use executable::OwnExecutable;
pub use failure::SetupFailure;
pub use foreign::{Emulator, EmulatorError, Emulators};
pub use forge::StepForge;
pub use idmap::{Extent, ExtentMap, IdMap, IdMapError};
pub use join::{Door, Namespaces};
pub use memory::{MemoryFile, MemoryFiles, memory_file, memory_files};
pub use network::{
    DNS_FORWARD, Forward, HOST_GATEWAY, NetworkError, SharedNetwork, Transport, confuses_loopback,
};
pub use nix::errno::Errno;
pub use overlay::{MAX_LOWERS, Overlay, Upper};
pub use plan::{Namespace, SetupOp, SetupPlan};
pub use resource::{Resource, UnknownResource};
pub use session::{
    Beside, Entry, Ground, IdleSession, MapWriter, Session, SessionContext, SessionError,
    SessionPlan,
};
pub use spec::{
    Confinement, Handle, Limits, MountSource, MountSpec, NetworkSpec, ProcessSpec, ResourceLimit,
    SandboxSpec, UserSpec,
};
pub use step::{IdleStep, Outcome, Step, StepControl, StepError};
pub use supervisor::{
    FileOwner, IMITATED_IDS, LinkOwners, OwnerNotes, Supervisor, SupervisorError,
};
pub use tree::{detached_handle, detached_tree, subtree};
pub use wire::{receive as receive_message, send as send_message};

/// Diverts a process that rbuild started as its own session or step. It must be the first call of `main`; `Some` is the
/// exit code to end with, `None` means that this is an ordinary start.
pub fn divert(entries: &[Entry]) -> Option<ExitCode> {
    let argv0 = std::env::args_os().next()?;
    match argv0.to_str()? {
        session::ARGV0 => Some(session::main(entries)),
        step::ARGV0 => Some(step::main()),
        forge::ARGV0 => Some(forge::main()),
        // In an image it lies under a name of its own.
        name if name.ends_with(drill::PROGRAM) => {
            Some(drill::main(&std::env::args().skip(1).collect::<Vec<_>>()))
        }
        name if name.ends_with(trial::PROGRAM) => {
            Some(trial::main(&std::env::args().skip(1).collect::<Vec<_>>()))
        }
        _ => None,
    }
}
