//! `rbuild unshare`: a command, or a shell, that sees the files of the store with the owners that images gave them.
//!
//! The command travels to the session through its socket as JSON; its exit code is the session's. The invariant: the session is
//! process 1 of a process namespace of its own, so it stays and waits, and whatever the command leaves running ends with it.

use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus};

use rootfs::trees::WorkArea;
use sandbox::{Ground, Session, SessionContext, SharedNetwork};

use crate::args::build::NetworkArg;
use crate::args::host::UnshareArgs;
use crate::failure::{Failure, Kind};
use crate::host::NetworkChoice;
use crate::signals::Interrupts;
use crate::surroundings::{STORE_VARIABLE, Surroundings};
use crate::{host, show};

/// What the session runs.
pub(super) const ENTRY: sandbox::Entry = ("unshare", inside);

/// Runs the command and passes its exit code on.
pub(super) fn unshare(
    args: UnshareArgs,
    place: &Path,
    here: &Surroundings,
) -> Result<ExitCode, Failure> {
    let store = image::Store::open(place)?;
    let found = host::execution(here, store.path())?;
    if let Some(caution) = found.caution() {
        show::note(&caution);
    }
    let plan = found.required()?;
    let pasta = match args.rootless_netns {
        false => None,
        true => match host::network(NetworkArg::Pasta, here, store.path())? {
            NetworkChoice::Pasta(program) => Some(program),
            // Asked for by name it is there, or an error.
            NetworkChoice::None(_) | NetworkChoice::Host => None,
        },
    };
    let command = if args.command.is_empty() {
        vec![here.shell()]
    } else {
        args.command
    };
    // The terminal's signals are for the command; this process waits for it to end, whatever it does about them.
    let _interrupts = Interrupts::listen(|| ())?;
    let mut session =
        Session::start(ENTRY.0, &plan, Ground::Foreground).map_err(host::session_failure)?;
    let sent = send(session.socket(), &command, place, pasta.as_deref());
    let status = sent.and_then(|()| session.wait()).map_err(|error| {
        Failure::new(
            Kind::Host,
            anyhow::Error::new(error).context("talk to rbuild's session process"),
        )
    })?;
    Ok(ExitCode::from(code(status)))
}

/// Bytes, since neither arguments nor paths need to be UTF-8.
type Sent = (Vec<Vec<u8>>, Vec<u8>, Option<Vec<u8>>);

fn send(
    mut socket: &std::os::unix::net::UnixStream,
    command: &[OsString],
    place: &Path,
    pasta: Option<&Path>,
) -> io::Result<()> {
    let words = command
        .iter()
        .map(|word| word.as_bytes().to_vec())
        .collect();
    let bytes = |path: &Path| path.as_os_str().as_bytes().to_vec();
    let message: Sent = (words, bytes(place), pasta.map(bytes));
    serde_json::to_writer(&mut socket, &message)?;
    socket.flush()?;
    socket.shutdown(Shutdown::Write)
}

fn inside(mut context: SessionContext) -> ExitCode {
    match run(&mut context) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => failure.report(),
    }
}

fn run(context: &mut SessionContext) -> Result<u8, Failure> {
    let lost = |error: anyhow::Error| Failure::new(Kind::Host, error.context("hear what to run"));
    let mut bytes = Vec::new();
    context
        .socket
        .read_to_end(&mut bytes)
        .map_err(|error| lost(error.into()))?;
    let (words, place, pasta): Sent =
        serde_json::from_slice(&bytes).map_err(|error| lost(error.into()))?;
    let mut words = words.into_iter().map(OsString::from_vec);
    let program = words.next().unwrap_or_default();
    rustix::stdio::dup2_stdin(&context.stdin).map_err(|error| lost(error.into()))?;
    mount_own_proc();
    let _network = pasta
        .map(|program| join_network(&path(program), &path(place.clone())))
        .transpose()?;
    // A shell that calls rbuild means the same store, though it is user 0 now.
    let spawned = Command::new(&program)
        .args(words)
        .env(STORE_VARIABLE, OsString::from_vec(place))
        .spawn();
    let mut child = spawned.map_err(|error| {
        let code = if error.kind() == io::ErrorKind::NotFound {
            127
        } else {
            126
        };
        let what = format!("run {}", program.to_string_lossy());
        Failure::new(Kind::Code(code), anyhow::Error::new(error).context(what))
    })?;
    child.wait().map(code).map_err(|error| lost(error.into()))
}

fn path(bytes: Vec<u8>) -> PathBuf {
    OsString::from_vec(bytes).into()
}

/// Moves this process, and what it starts, into a network that lives as long as the session.
fn join_network(program: &Path, place: &Path) -> Result<impl Sized + use<>, Failure> {
    use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
    let failed = |error: anyhow::Error| Failure::new(Kind::Host, error);
    let store = image::Store::open(place)?;
    let area = WorkArea::create(&store).map_err(|error| failed(error.into()))?;
    let network = SharedNetwork::start(program, &area.path().join("namespace"), &[], &[])
        .map_err(|error| failed(error.into()))?;
    move_into_link_name_space(network.namespace(), Some(LinkNameSpaceType::Network))
        .map_err(|error| failed(anyhow::Error::new(error).context("join the network namespace")))?;
    Ok((network, area, store))
}

/// The command counts processes in its own namespace, so /proc should too. Where the kernel refuses (a container that covers
/// parts of /proc), the outer one stays.
fn mount_own_proc() {
    use rustix::mount::{MountFlags, mount};
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    if let Err(error) = mount("proc", "/proc", "proc", flags, None) {
        tracing::debug!(%error, "keep the outer /proc");
    }
}

fn code(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .unwrap_or(125);
    u8::try_from(code).unwrap_or(125)
}
