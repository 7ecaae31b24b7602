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
mod names;
mod prepared;
mod protocol;
mod reown;
mod request;
mod run;
mod stdio;
mod userns;

pub use container::{ContainerError, ContainerSpec, user_text};
pub use execute::session_entry;
pub use protocol::Cause;
pub use request::{Mounts, Network, ParseMountError, Program, RunRequest, Stdin, Tmpfs, Volume};
pub use run::{ENTRY, RunError, Signals, Starting, prepare, start};
pub use userns::{Ids, Mapping, ParseUsernsError, UsernsError, UsernsMode};
