//! Why limits cannot be enforced. The invariant: each text is a whole sentence about this machine, since what mends it differs.

use std::io;

use thiserror::Error;

use super::Controller;

/// What is missing on this machine, or what the kernel refused.
#[derive(Debug, Error)]
pub enum CgroupError {
    /// Version 2 is not mounted.
    #[error("cgroup v2 is not mounted here{}", if *.legacy { ", version 1 is" } else { "" })]
    NotMounted {
        /// Whether version 1 is.
        legacy: bool,
    },
    /// The cgroup of this process is outside of what is mounted.
    #[error("this process's cgroup is not visible here")]
    NotVisible,
    /// The parent that was asked for cannot be opened.
    #[error("the cgroup {cgroup} cannot be opened")]
    Open {
        /// The cgroup.
        cgroup: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Controllers that the limits need are missing.
    #[error(
        "cgroup v2 has no {} controller {}{}",
        names(.missing),
        place(.cgroup),
        if *.hybrid { ": its controllers belong to version 1" } else { "" }
    )]
    NoController {
        /// Which.
        missing: Vec<Controller>,
        /// The cgroup that lacks them.
        cgroup: String,
        /// Whether the machine has controllers of version 1.
        hybrid: bool,
    },
    /// The user may not make cgroups there.
    #[error("the cgroup {cgroup} is not delegated to this user")]
    NotDelegated {
        /// The cgroup.
        cgroup: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Only leaves may hold processes once controllers are passed on, cgroups(7).
    #[error(
        "other processes are in the cgroup {cgroup}, so that its controllers cannot be passed on"
    )]
    OtherProcesses {
        /// The cgroup.
        cgroup: String,
    },
    /// Something else was refused.
    #[error("the kernel refuses to {operation}")]
    Refused {
        /// What was tried.
        operation: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

fn names(controllers: &[Controller]) -> String {
    let names: Vec<_> = controllers.iter().map(|one| one.name()).collect();
    names.join(" and no ")
}

/// The root is the machine, or what a container takes for it.
fn place(cgroup: &str) -> String {
    if cgroup == "/" {
        "here".to_owned()
    } else {
        format!("at {cgroup}")
    }
}
