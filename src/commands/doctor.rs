//! `rbuild doctor`: the checks of [`sandbox::preflight`], with the two that need a session of their own. The invariant: it
//! changes nothing but a scratch directory, which is gone afterwards, and works where nothing else does.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rustix::io::Errno;
use sandbox::preflight::{self, Probes, Status};
use sandbox::{
    ExtentMap, Ground, MapWriter, Overlay, Session, SessionContext, SessionError, SessionPlan,
    Upper,
};
use serde::{Deserialize, Serialize};

use crate::args::host::DoctorArgs;
use crate::args::store::Format;
use crate::failure::{Failure, Kind};
use crate::stdout::{print, print_json};
use crate::surroundings::Surroundings;

/// What the session tries.
pub(super) const ENTRY: sandbox::Entry = ("probe", inside);

/// Examines the machine.
pub(super) fn doctor(
    args: &DoctorArgs,
    place: &Path,
    here: &Surroundings,
) -> Result<ExitCode, Failure> {
    let view = here.host_view(place);
    let userns = || attempt(here, &Trial::PrivateMount);
    let overlay = || try_overlay(here, place);
    let report = preflight::examine(&view, &Probes::of_this_host(&userns, &overlay));
    match args.format {
        Format::Json => print_json(&report)?,
        Format::Text => print(&preflight::render_text(&report))?,
    }
    let failed = report.count(Status::Failure) > 0;
    Ok(if failed {
        ExitCode::from(Kind::Failed.code())
    } else {
        ExitCode::SUCCESS
    })
}

/// What is tried in the session.
#[derive(Debug, Serialize, Deserialize)]
enum Trial {
    /// Ubuntu's AppArmor restriction allows the namespace and withholds the capabilities in it: the session's own private
    /// mounts have shown by now that they are there.
    PrivateMount,
    /// An overlay whose directories are in this one.
    Overlay(PathBuf),
}

/// An overlay in the store's file system: in the nearest directory there is, as the store may be still to be made.
fn try_overlay(here: &Surroundings, place: &Path) -> Result<(), Errno> {
    let existing = place
        .ancestors()
        .find(|path| path.is_dir())
        .ok_or(Errno::NOENT)?;
    let scratch = existing.join(format!(".rbuild-doctor-{}", std::process::id()));
    let errno = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    std::fs::create_dir(&scratch).map_err(errno)?;
    let made = ["lower", "upper", "work"]
        .iter()
        .try_for_each(|name| std::fs::create_dir(scratch.join(name)));
    let result = made
        .map_err(errno)
        .and_then(|()| attempt(here, &Trial::Overlay(scratch.clone())));
    // The session has removed what the kernel made in it; this is for a session that did not start.
    let _ = std::fs::remove_dir_all(&scratch);
    result
}

/// A session with the caller's own id only: sub-ids are looked at by other checks.
fn attempt(here: &Surroundings, trial: &Trial) -> Result<(), Errno> {
    let own = |id| ExtentMap::single(0, id, 1).map_err(|_| Errno::INVAL);
    let plan = SessionPlan {
        uids: own(here.uid)?,
        gids: own(here.gid)?,
        writer: MapWriter::Itself,
    };
    let mut session =
        Session::start(ENTRY.0, &plan, Ground::Background).map_err(|error| refused(&error))?;
    let mut answer = Vec::new();
    let talked =
        send(session.socket(), trial).and_then(|()| session.socket().read_to_end(&mut answer));
    let _ = session.wait();
    talked.map_err(|_| Errno::PIPE)?;
    match serde_json::from_slice(&answer) {
        Ok(0) => Ok(()),
        Ok(errno) => Err(Errno::from_raw_os_error(errno)),
        Err(_) => Err(Errno::PIPE),
    }
}

fn refused(error: &SessionError) -> Errno {
    match error {
        SessionError::Setup(failure) => Errno::from_raw_os_error(failure.errno),
        SessionError::Spawn(error) | SessionError::Lost(error) => {
            Errno::from_io_error(error).unwrap_or(Errno::IO)
        }
        SessionError::WriteMap { source, .. } => Errno::from_io_error(source).unwrap_or(Errno::IO),
        SessionError::Helper { .. } => Errno::PERM,
    }
}

fn send(mut socket: &UnixStream, trial: &Trial) -> std::io::Result<()> {
    serde_json::to_writer(&mut socket, trial)?;
    socket.flush()?;
    socket.shutdown(Shutdown::Write)
}

fn inside(mut context: SessionContext) -> ExitCode {
    let mut bytes = Vec::new();
    let answer = match context
        .socket
        .read_to_end(&mut bytes)
        .map(|_| serde_json::from_slice(&bytes))
    {
        Ok(Ok(trial)) => perform(&trial),
        _ => Errno::PIPE.raw_os_error(),
    };
    let sent = serde_json::to_writer(&mut context.socket, &answer);
    if sent.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// 0, or the error number.
fn perform(trial: &Trial) -> i32 {
    match trial {
        Trial::PrivateMount => 0,
        Trial::Overlay(scratch) => {
            let upper = Upper {
                upper: scratch.join("upper"),
                work: scratch.join("work"),
            };
            let overlay = Overlay {
                lowers: vec![scratch.join("lower")],
                data_only: Vec::new(),
                upper: Some(upper),
            };
            let errno = overlay.mount().map_or_else(
                |failure| failure.errno,
                |mount| {
                    drop(mount);
                    0
                },
            );
            // The kernel leaves directories of mode 000 in the work directory, which only a capability opens.
            let _ = std::fs::remove_dir_all(scratch);
            errno
        }
    }
}
