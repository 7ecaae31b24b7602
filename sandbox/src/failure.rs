//! What a set-up that failed tells its parent. The invariant: the reason found in a child process reaches the user whole,
//! as the operation, its subject and the error number.

use std::fmt;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

/// One operation that the kernel refused while a namespace or a step was set up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetupFailure {
    /// What was tried, as a verb with its subject: "mount proc at /proc".
    pub operation: String,
    /// The error number.
    pub errno: i32,
}

impl SetupFailure {
    /// An id that a namespace has no place for.
    pub fn unmapped(id: u32) -> Self {
        Self::new(
            format!("find the id {id} in the container's map"),
            Errno::EINVAL,
        )
    }

    pub(crate) fn new(operation: impl Into<String>, errno: impl Into<Errno>) -> Self {
        Self {
            operation: operation.into(),
            errno: errno.into() as i32,
        }
    }

    pub(crate) fn io(operation: impl Into<String>, error: &std::io::Error) -> Self {
        Self {
            operation: operation.into(),
            errno: error.raw_os_error().unwrap_or(Errno::EIO as i32),
        }
    }

    /// The error number as a name.
    pub fn errno(&self) -> Errno {
        Errno::from_raw(self.errno)
    }
}

impl fmt::Display for SetupFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.operation, self.errno().desc())
    }
}

impl std::error::Error for SetupFailure {}

/// Names the operation of a failed call.
pub(crate) trait During<T> {
    fn during(self, operation: impl FnOnce() -> String) -> Result<T, SetupFailure>;
}

impl<T> During<T> for Result<T, Errno> {
    fn during(self, operation: impl FnOnce() -> String) -> Result<T, SetupFailure> {
        self.map_err(|errno| SetupFailure::new(operation(), errno))
    }
}

impl<T> During<T> for Result<T, rustix::io::Errno> {
    fn during(self, operation: impl FnOnce() -> String) -> Result<T, SetupFailure> {
        self.map_err(|errno| SetupFailure::new(operation(), Errno::from_raw(errno.raw_os_error())))
    }
}

impl<T> During<T> for std::io::Result<T> {
    fn during(self, operation: impl FnOnce() -> String) -> Result<T, SetupFailure> {
        self.map_err(|error| SetupFailure::io(operation(), &error))
    }
}
