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
pub mod health;
mod idmaps;
mod mount;
mod names;
mod own;
mod prepared;
mod protocol;
mod publish;
mod ranges;
pub mod readiness;
mod reown;
mod request;
mod run;
mod signal;
mod stdio;
pub mod structure;
mod userns;

pub use container::{ContainerError, ContainerSpec, check_hostname, user_text};
pub use execute::session_entry;
pub use idmaps::{MapLine, MapRequest, MapRequestError, ParseMapError};
pub use mount::{ParseMountError, RequestedMount, Tmpfs, Volume};
pub use protocol::Cause;
pub use publish::{ParsePublishError, Publish};
pub use request::{
    CgroupPlace, ContainerLimits, Mounts, Network, Program, RunRequest, Secret, Stdin, StopPolicy,
};
pub use run::{ENTRY, RunError, Signals, Starting, prepare, start};
pub use signal::{ParseSignalError, StopSignal};
pub use userns::{Ids, Mapping, ParseUsernsError, UsernsError, UsernsMode};
