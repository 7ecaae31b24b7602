//! A run, seen from the main process. The invariant: whatever happens to either side, both end: the session when its socket
//! closes, this one when the session's does.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use image::{Image, Platform, Store, StoreError};
use rustix::event::{PollFd, PollFlags};
use sandbox::{
    Emulator, EmulatorError, Errno, Ground, IdleSession, Session, SessionError, SessionPlan,
};
use thiserror::Error;

use crate::execute::live;
use crate::protocol::{Cause, FromSession, Purpose, RunJob, ToSession, receive, send};
use crate::request::{RunRequest, Stdin};
use crate::service::Neighbour;

/// The name of the session's entry, for `sandbox::divert`.
pub const ENTRY: &str = "run";

/// The name of the entry of [`sweep`]'s session.
pub const SWEEP_ENTRY: &str = "sweep";

/// Signals for a container, from whoever catches them; readable when there are some.
pub trait Signals: AsFd {
    /// Those that came since they were last taken; none is waited for.
    fn take(&mut self) -> Vec<i32>;
}

/// Why there is no exit code of a program.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RunError {
    /// The image is not there, or damaged.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A volume's source means something only to the caller.
    #[error("mount {0}: the source of a volume must be absolute")]
    RelativeVolume(PathBuf),
    /// The session did not start.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The session is gone without a word.
    #[error("hear from the container's session")]
    Lost(#[source] io::Error),
    /// The image is not for the platform that was asked for.
    #[error("find an image for {wanted}: this one is for {platform}")]
    OtherPlatform {
        /// The image's.
        platform: String,
        /// What was asked for.
        wanted: String,
    },
    /// This machine cannot execute the image's programs.
    #[error("run the image: it is for {platform}, and this machine is {machine}")]
    ForeignPlatform {
        /// The image's.
        platform: String,
        /// This machine's.
        machine: String,
        /// Why it cannot.
        source: EmulatorError,
    },
    /// The container could not be made.
    #[error("make the container")]
    Container(#[source] Cause),
    /// The container was ready, but its program could not be executed.
    #[error("run the container's program")]
    Program {
        /// The kernel's error number.
        errno: i32,
        /// What failed.
        source: Cause,
    },
}

impl RunError {
    /// The exit code that users of Docker and Podman expect: 125 for rbuild's own failures, 127 for a program that is not
    /// there, 126 for one that cannot be executed.
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::Program { errno, .. }
                if matches!(Errno::from_raw(*errno), Errno::ENOENT | Errno::ENOTDIR) =>
            {
                127
            }
            Self::Program { .. } => 126,
            _ => 125,
        }
    }
}

/// A container whose session has no ids yet. Dropped, it ends.
#[derive(Debug)]
pub struct Starting {
    pub(crate) job: RunJob,
    pub(crate) session: IdleSession,
}

/// Starts a container of an image in the `store`, a directory: its session makes its namespaces and looks for the image while the
/// caller finds out which ids it gets. The process must have one thread. With a terminal as standard input the session stays in the
/// terminal's foreground group: only that may read it.
///
/// # Errors
/// What is wrong with the request, or [`SessionError::Spawn`].
pub fn start(request: &RunRequest, store: &Path) -> Result<Starting, RunError> {
    begin(request, store, Purpose::Run, None)
}

/// As [`start`], in the network of another container: the request's is [`Network::Joined`](crate::Network).
///
/// # Errors
/// As [`start`].
pub fn start_beside(
    request: &RunRequest,
    store: &Path,
    neighbour: &Neighbour,
) -> Result<Starting, RunError> {
    begin(request, store, Purpose::Run, Some(neighbour))
}

pub(crate) fn begin(
    request: &RunRequest,
    store: &Path,
    purpose: Purpose,
    neighbour: Option<&Neighbour>,
) -> Result<Starting, RunError> {
    let job = job(request, store, purpose)?;
    let ground = match request.stdin {
        Stdin::Caller { terminal: true } => Ground::Foreground,
        _ => Ground::Background,
    };
    let beside = neighbour.map(Neighbour::namespaces);
    let session = IdleSession::fork(|context| live(&context, &job), ground, beside)?;
    Ok(Starting { job, session })
}

impl Starting {
    /// Runs it with the ids of the `plan`, and returns its exit code, 128 + n where signal n killed it. The program gets the `signals`;
    /// as pid 1 it ignores what it has no handler for, pid_namespaces(7). What the user should know goes to `notice`, and
    /// the other side of its terminal, if it has one, to `terminal`.
    ///
    /// # Errors
    /// When the program did not start; see [`RunError::exit_code`].
    pub fn run(
        self,
        plan: &SessionPlan,
        signals: &mut dyn Signals,
        notice: &dyn Fn(String),
        terminal: &dyn Fn(OwnedFd),
    ) -> Result<i32, RunError> {
        let session = self.session.start(plan)?;
        in_session(&self.job, session, Some(signals), (notice, terminal))
    }
}

/// Makes ready what the request's first start would have to make: unpacked layers and re-owned files. Later starts, this
/// request's first among them, take the same short time whatever the size of the image.
///
/// # Errors
/// As [`Starting::run`].
pub fn prepare(
    request: &RunRequest,
    store: &Path,
    plan: &SessionPlan,
    notice: &dyn Fn(String),
) -> Result<(), RunError> {
    let job = job(request, store, Purpose::Prepare)?;
    let session = Session::start(ENTRY, plan, Ground::Background)?;
    let order = ToSession::Run(Box::new(job.clone()));
    send(session.socket(), &order).map_err(RunError::Lost)?;
    in_session(&job, session, None, (notice, &drop)).map(drop)
}

/// Removes what containers wrote into the `store`, a directory, whose processes were killed.
///
/// # Errors
/// [`RunError::Session`].
pub fn sweep(store: &Path, plan: &SessionPlan) -> Result<(), RunError> {
    let mut session = Session::start(SWEEP_ENTRY, plan, Ground::Background)?;
    sandbox::send_message(session.socket(), &store, &[]).map_err(RunError::Lost)?;
    session.wait().map(drop).map_err(RunError::Lost)
}

fn job(request: &RunRequest, store: &Path, purpose: Purpose) -> Result<RunJob, RunError> {
    let mut volumes = request.mounts.volumes.iter();
    if let Some(volume) = volumes.find(|volume| !volume.source.is_absolute()) {
        return Err(RunError::RelativeVolume(volume.source.clone()));
    }
    Ok(RunJob {
        store: store.to_owned(),
        request: request.clone(),
        purpose,
    })
}

/// Who is told what the user should know, and who gets a terminal.
type Tell<'t> = (&'t dyn Fn(String), &'t dyn Fn(OwnedFd));

fn in_session(
    job: &RunJob,
    mut session: Session,
    signals: Option<&mut dyn Signals>,
    tell: Tell<'_>,
) -> Result<i32, RunError> {
    let result = follow(session.socket(), signals, tell);
    if result.is_err() {
        session.kill();
    }
    // After its last message the session has only to end: nobody waits for that.
    match result {
        Err(error) => Err(typed(error, job)),
        result => result,
    }
}

/// An error of the choice lost its type on the way here; it can be had again.
pub(crate) fn typed(error: RunError, job: &RunJob) -> RunError {
    match error {
        RunError::Container(cause) => {
            let again = Choice::make(job).err();
            again.unwrap_or(RunError::Container(cause))
        }
        error => error,
    }
}

/// The image that is asked for, and what executes its programs.
#[derive(Debug)]
pub(crate) struct Choice {
    pub(crate) image: Image,
    /// Where the machine does not by itself.
    pub(crate) emulator: Option<Emulator>,
    /// Held for as long as this is open.
    pub(crate) store: Store,
}

impl Choice {
    pub(crate) fn make(job: &RunJob) -> Result<Self, RunError> {
        let store = Store::open(&job.store)?;
        let image = image_of(&job.request, &store)?;
        let emulator = match job.purpose {
            Purpose::Prepare => None,
            Purpose::Run | Purpose::Serve => emulator_for(&image, &job.request)?,
        };
        Ok(Self {
            image,
            emulator,
            store,
        })
    }
}

/// The image of the request.
fn image_of(request: &RunRequest, store: &Store) -> Result<Image, RunError> {
    let host = Platform::host();
    let wanted = request.platform.as_ref().unwrap_or(&host);
    let image = store.image_for(&store.resolve(&request.image)?, wanted)?;
    let platform = image.config().platform();
    if request.platform.is_some() && wanted.fit(&platform).is_none() {
        return Err(RunError::OtherPlatform {
            platform: platform.to_string(),
            wanted: wanted.to_string(),
        });
    }
    Ok(image)
}

/// What executes the image's programs, where the machine does not by itself.
fn emulator_for(image: &Image, request: &RunRequest) -> Result<Option<Emulator>, RunError> {
    let (platform, machine) = (image.config().platform(), Platform::host());
    if platform.is_native_to(&machine) {
        return Ok(None);
    }
    Emulator::find(&platform.architecture, &request.program_dirs)
        .map(Some)
        .map_err(|source| RunError::ForeignPlatform {
            platform: platform.to_string(),
            machine: machine.to_string(),
            source,
        })
}

fn follow(
    socket: &UnixStream,
    mut signals: Option<&mut dyn Signals>,
    (notice, terminal): Tell<'_>,
) -> Result<i32, RunError> {
    loop {
        if let Some(signals) = &mut signals {
            pass_on(*signals, socket).map_err(RunError::Lost)?;
        }
        let received = receive(socket).map_err(RunError::Lost)?;
        let (message, fds) = received.unzip();
        match message {
            Some(FromSession::Notice(text)) => notice(text),
            Some(FromSession::Started { .. }) => fds.into_iter().flatten().for_each(terminal),
            Some(FromSession::Ended { code }) => return Ok(code),
            Some(FromSession::Failed { program, cause }) => return Err(failed(program, cause)),
            None => return Err(RunError::Lost(io::ErrorKind::UnexpectedEof.into())),
        }
    }
}

pub(crate) fn failed(program: Option<i32>, cause: Cause) -> RunError {
    match program {
        Some(errno) => RunError::Program {
            errno,
            source: cause,
        },
        None => RunError::Container(cause),
    }
}

/// Passes signals on until there is a message.
fn pass_on(signals: &mut dyn Signals, socket: &UnixStream) -> io::Result<()> {
    let mut heard = false;
    while !heard {
        let mut watched = [
            PollFd::new(socket, PollFlags::IN),
            PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
        ];
        match rustix::event::poll(&mut watched, None) {
            Err(rustix::io::Errno::INTR) => continue,
            other => other?,
        };
        heard = !watched[0].revents().is_empty();
        for signal in signals.take() {
            // A container that ended takes no orders, which is no error.
            let _ = send(socket, &ToSession::Signal(signal));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_dockers() {
        let failed = |errno: Errno| RunError::Program {
            errno: errno as i32,
            source: Cause::of(&io::Error::other("x")),
        };
        assert_eq!(failed(Errno::ENOENT).exit_code(), 127);
        assert_eq!(failed(Errno::EACCES).exit_code(), 126);
        assert_eq!(failed(Errno::ENOEXEC).exit_code(), 126);
        assert_eq!(RunError::RelativeVolume("x".into()).exit_code(), 125);
    }
}
