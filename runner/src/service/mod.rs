//! Containers that run in the background, without a daemon.
//!
//! ```text
//! rbuild run -d ──fork──▶ supervisor ──▶ session ──▶ the program     one supervisor for each container
//!                          │ holds the lock, writes the log, starts it again
//! rbuild stop, exec ... ──▶ control socket
//! ```
//!
//! The invariant: everything of a container ends with its supervisor, because its session does, and nothing but files of one
//! directory tells of it.

mod client;
mod directory;
mod log;
mod policy;
mod record;
mod streams;
mod supervise;

pub use client::{Attached, Connection, Exec, ExecSignals, Neighbour, Progress};
pub use directory::{Container, Containers, ContainersError, Home};
pub use log::{LogEntry, LogReader, LogStream};
pub use policy::{ParsePolicyError, RestartPolicy};
pub use record::{Record, State};
pub use streams::ServiceStreams;
pub use supervise::{Service, start_service};
