//! Resource limits of steps through cgroup v2, cgroups(7). The invariant: rbuild makes cgroups only below one that its user was
//! given, leaves nothing of its own there, and refuses with the reason where a limit cannot be enforced.
//!
//! ```text
//! PARENT                 the cgroup that rbuild was started in, or --cgroup-parent
//! └── rbuild-PID         locked by the rbuild that made it, so that the next one removes what a dead one left
//!     ├── self           rbuild and its session, where they were started in PARENT: only leaves hold processes
//!     └── step-NAME      one step, with its limits
//! ```

mod directory;
mod error;
mod hierarchy;
mod limits;
mod plan;
mod steps;

pub use error::CgroupError;
pub use limits::{Bound, CgroupLimits, Controller, Cpus, LimitError, WantedLimits, Write};
pub use steps::{StepCgroup, StepCgroups};

pub(crate) use hierarchy::{Hierarchy, directory_of, own_cgroup};
