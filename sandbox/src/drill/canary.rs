//! Things of the host that no step may reach. The invariant: while a [`Cage`] lives, each of them can be reached from the
//! host, so that a probe which fails there is broken.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::acts;

/// Where the host's things are.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Canary {
    /// A file that everybody may read and write.
    pub file: PathBuf,
    /// A file that only the caller may read, as secrets and the store are.
    pub private: PathBuf,
    /// A process of the caller, which is also the key of a System V shared memory segment.
    pub pid: i32,
    /// The name of an abstract socket that listens, of a POSIX message queue, and of a key in the session's keyring.
    pub name: String,
    /// A port that listens on every address.
    pub port: u16,
}

/// The things themselves.
pub struct Cage {
    /// Where they are.
    pub canary: Canary,
    directory: Place,
    process: Child,
    _listeners: (UnixListener, TcpListener),
}

impl Cage {
    /// Makes them all, the file in a new directory below `place`.
    ///
    /// # Errors
    /// What cannot be made.
    pub fn new(place: &Path) -> io::Result<Self> {
        let directory = Place::new(place)?;
        let file = directory.0.join("canary");
        fs::write(&file, "alive")?;
        let private = directory.0.join("private");
        fs::write(&private, "secret")?;
        fs::set_permissions(&private, fs::Permissions::from_mode(0o600))?;
        let name = directory.0.file_name().unwrap_or_default();
        let name = name.to_string_lossy().into_owned();
        let address = SocketAddr::from_abstract_name(&name)?;
        let socket = UnixListener::bind_addr(&address)?;
        let tcp = TcpListener::bind("0.0.0.0:0")?;
        let port = tcp.local_addr()?.port();
        // A host may have no keys, or hide them; then the probe of it is broken, and says so.
        let _ = acts::make_key(&name);
        let process = start(&name)?;
        let pid = process.id().cast_signed();
        Ok(Self {
            canary: Canary {
                file,
                private,
                pid,
                name,
                port,
            },
            directory,
            process,
            _listeners: (socket, tcp),
        })
    }

    /// Whether file and process are as they were.
    pub fn is_unharmed(&mut self) -> bool {
        let text = fs::read_to_string(self.directory.0.join("canary"));
        text.is_ok_and(|text| text == "alive") && matches!(self.process.try_wait(), Ok(None))
    }
}

impl Drop for Cage {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = acts::remove_queue(&self.canary.name);
        let _ = acts::remove_segment(self.canary.pid);
        let _ = acts::remove_key(&self.canary.name);
    }
}

/// The number in the name of the next cage's directory.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A directory that goes with its value.
struct Place(PathBuf);

impl Place {
    fn new(parent: &Path) -> io::Result<Self> {
        let own = std::process::id();
        // What a fork of this process still holds of an earlier cage has another name.
        for number in NEXT.fetch_add(1, Ordering::Relaxed).. {
            let path = parent.join(format!("rbuild-drill-{own}-{number}"));
            match fs::create_dir(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                other => return other.map(|()| Self(path)),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn start(name: &str) -> io::Result<Child> {
    let mut process = super::command(&["canary", name])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = process.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    match line.as_str() {
        "ready\n" => Ok(process),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// What the host's process does: it holds the things that belong to a process. A host that has no such things has broken probes.
pub(super) fn sing(name: &str) {
    let pid = std::process::id().cast_signed();
    let _ = acts::make_queue(name);
    let _ = acts::make_segment(pid);
    let _ = io::stdout().write_all(b"ready\n");
    std::thread::sleep(Duration::from_secs(60));
}
