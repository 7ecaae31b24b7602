//! The degrees of rootlessness. Invariant: the degree follows from the failed checks and the caller's uid alone.

use serde::Serialize;

use super::{Finding, Loss, Status};

/// How much of a container this user can have on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Degree {
    /// An ordinary user with subordinate ids.
    Full,
    /// Root, of the machine or of a container.
    Root,
    /// User namespaces, but only the caller's own id in them.
    SingleId,
    /// Nothing can be executed: no user namespaces, or no overlay in them.
    FilesOnly,
}

impl Degree {
    /// The degree that the failures among the findings leave to this user.
    pub fn of(uid: u32, findings: &[Finding]) -> Self {
        let failures = || {
            findings
                .iter()
                .filter(|finding| finding.status == Status::Failure)
        };
        let lost = |loss: Loss| failures().any(|finding| finding.loses == loss);
        match (lost(Loss::Execution), lost(Loss::SubIds)) {
            (true, _) => Self::FilesOnly,
            (false, true) => Self::SingleId,
            (false, false) if uid == 0 => Self::Root,
            (false, false) => Self::Full,
        }
    }

    /// In one phrase.
    pub fn title(self) -> &'static str {
        match self {
            Self::Full => "rootless with subordinate ids",
            Self::Root => "root",
            Self::SingleId => "rootless with a single id",
            Self::FilesOnly => "files only",
        }
    }

    /// What works.
    pub fn can(self) -> &'static str {
        match self {
            Self::Full => {
                "every build, RUN as any user 0 to 65535, and containers with keep-id, nomap and host maps"
            }
            Self::Root => {
                "every build, RUN as any user of the mapped range, and containers; image root is not this root"
            }
            Self::SingleId => {
                "every build, with the users and owners of RUN imitated and true owners in the image, and containers of one user"
            }
            Self::FilesOnly => {
                "builds that copy and configure, with every owner recorded in the layers"
            }
        }
    }

    /// What does not work, if anything.
    pub fn cannot(self) -> Option<&'static str> {
        match self {
            Self::Full | Self::Root => None,
            Self::SingleId => Some(
                "containers that change to another user, and keeping users of a RUN from each other's files",
            ),
            Self::FilesOnly => Some("RUN steps and `rbuild run`"),
        }
    }
}
