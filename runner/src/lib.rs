//! An image becomes a running container: id maps, mounts, network, standard streams.
//!
//! ```text
//! main process                     session (user namespace)                   step (nested namespace)
//! RunRequest + store ──RunJob──▶   layers, overlay, user, re-owned files  ──▶ the program
//!            ◀── notices, code ──  signals in, output out
//! ```
//!
//! The invariant: everything that the session needs is one value, which it has from its start, and what the container is to be is a
//! value ([`ContainerSpec`]) before anything is mounted for it.
#![forbid(unsafe_code)]

mod container;
mod execute;
mod guests;
pub mod health;
mod idmaps;
mod listen;
mod mount;
mod name;
mod names;
mod own;
mod prepared;
mod protocol;
mod publish;
pub mod quadlet;
mod ranges;
pub mod readiness;
mod reown;
mod request;
mod run;
pub mod service;
mod signal;
mod stdio;
pub mod structure;
mod userns;
pub mod volume;

pub use container::{ContainerError, ContainerSpec, check_hostname, user_text};
pub use execute::{session_entry, sweep_entry};
pub use idmaps::{MapLine, MapRequest, MapRequestError, ParseMapError};
pub use mount::{NamedVolume, ParseMountError, RequestedMount, Tmpfs, Volume};
pub use name::{Name, ParseNameError};
pub use protocol::Cause;
pub use publish::{ParsePublishError, Publish};
pub use request::{
    CgroupPlace, ContainerLimits, ExecRequest, Mounts, Network, Program, RunRequest, Secret, Stdin,
    StopPolicy,
};
pub use run::{
    ENTRY, RunError, SWEEP_ENTRY, Signals, Starting, prepare, start, start_beside, sweep,
};
pub use signal::{ParseSignalError, StopSignal};
pub use userns::{Ids, Mapping, ParseUsernsError, UsernsError, UsernsMode};
