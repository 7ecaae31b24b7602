//! Why a build failed. The invariant: every variant says enough for the command line to show the place in the Containerfile,
//! choose the exit code and give a hint, without looking into texts.

use containerfile::Diagnostic;

use crate::job::StepFailure;
use crate::session::RemoteError;

/// Why a build failed.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The Containerfile or the request is wrong; nothing was built.
    #[error("plan the build")]
    Plan(Vec<Diagnostic>),
    /// An image that the build needs cannot be had.
    #[error("get image {name}")]
    Image {
        /// As written.
        name: String,
        /// Whether a registry was asked.
        registry: bool,
        /// What the name may have meant.
        meant: Option<String>,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A build context cannot be had.
    #[error(transparent)]
    Context(crate::context::ContextError),
    /// A step failed.
    #[error("build stage {}", .0.stage)]
    Step(StepFailure),
    /// A step is for a platform whose programs this machine cannot execute; nothing was built.
    #[error("run a step of another platform")]
    Emulator(Box<Diagnostic>),
    /// RUN is needed and the host cannot give it a session.
    #[error("start a session for RUN")]
    Session(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The limits of RUN cannot be enforced on this machine; nothing has run.
    #[error("limit RUN steps")]
    Limits(#[source] sandbox::CgroupError),
    /// The image is built but may not be used: the user policy.
    #[error("accept the image's user")]
    Policy(Box<Diagnostic>),
    /// The image is built, but its entry point could not start.
    #[error("start the image's program")]
    Start(Box<Diagnostic>),
    /// The image could not be put together or stored.
    #[error("commit the image")]
    Commit(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What was asked for beside the image could not be made.
    #[error("attest the image")]
    Attest(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The image is stored but could not be written where it was asked for.
    #[error("write {target}")]
    Export {
        /// The output.
        target: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A registry did not take the image; everything else that was asked for is done.
    #[error("push {name}")]
    Push {
        /// The image's name there.
        name: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The results are no cache elsewhere; everything else that was asked for is done.
    #[error("write the build cache to {place}")]
    CacheExport {
        /// Where it was to go.
        place: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It was asked to stop.
    #[error("finish: the build was cancelled")]
    Cancelled,
}

impl BuildError {
    /// The same about an image's name that may have meant something else.
    pub(crate) fn meaning(mut self, what: impl FnOnce() -> Option<String>) -> Self {
        if let Self::Image { meant, .. } = &mut self {
            *meant = what();
        }
        self
    }
}

impl From<StepFailure> for BuildError {
    fn from(failure: StepFailure) -> Self {
        if failure.cancelled {
            Self::Cancelled
        } else {
            Self::Step(failure)
        }
    }
}

impl From<RemoteError> for BuildError {
    fn from(error: RemoteError) -> Self {
        match error {
            RemoteError::Step(failure) => failure.into(),
            RemoteError::Hold(error) => Self::Commit(Box::new(error)),
            other => Self::Session(Box::new(other)),
        }
    }
}
