//! Things of the host that no step may reach. The invariant: while a [`Cage`] lives, each of them can be reached from the
//! host, so that a probe which fails there is broken.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::acts;

/// Where the host's things are.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Canary {
    /// A file that everybody may read and write.
    pub(crate) file: PathBuf,
    /// A process of the caller, which is also the key of a System V shared memory segment.
    pub(crate) pid: i32,
    /// The name of an abstract socket that listens, of a POSIX message queue, and of a key in the session's keyring.
    pub(crate) name: String,
    /// A port that listens on every address.
    pub(crate) port: u16,
}

/// The things themselves.
pub(crate) struct Cage {
    /// Where they are.
    pub(crate) canary: Canary,
    directory: tempfile::TempDir,
    process: Child,
    _listeners: (UnixListener, TcpListener),
}

impl Cage {
    /// Makes them all.
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("the temporary directory is writable");
        let file = directory.path().join("canary");
        fs::write(&file, "alive").expect("the temporary directory is writable");
        let name = directory
            .path()
            .file_name()
            .expect("it has a name")
            .to_string_lossy()
            .into_owned();
        let address = SocketAddr::from_abstract_name(&name).expect("the name is short");
        let socket = UnixListener::bind_addr(&address).expect("the name is new");
        let tcp = TcpListener::bind("0.0.0.0:0").expect("loopback is up");
        let port = tcp.local_addr().expect("it is bound").port();
        acts::make_key(&name).expect("the host allows keys");
        let process = start(&name);
        let pid = process.id().cast_signed();
        Self {
            canary: Canary {
                file,
                pid,
                name,
                port,
            },
            directory,
            process,
            _listeners: (socket, tcp),
        }
    }

    /// Whether file and process are as they were.
    pub(crate) fn is_unharmed(&mut self) -> bool {
        let text = fs::read_to_string(self.directory.path().join("canary"));
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

fn start(name: &str) -> Child {
    let mut process = super::command(&["canary", name])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the test program can be executed");
    let stdout = process.stdout.take().expect("it is a pipe");
    let mut line = String::new();
    BufReader::new(stdout)
        .read_line(&mut line)
        .expect("a pipe can be read");
    assert_eq!(line, "ready\n");
    process
}

/// What the host's process does: it holds the things that belong to a process.
#[expect(clippy::print_stdout, reason = "the cage waits for it")]
pub(super) fn sing(name: &str) {
    let pid = std::process::id().cast_signed();
    acts::make_queue(name)
        .and_then(|()| acts::make_segment(pid))
        .expect("the host allows queues and shared memory");
    println!("ready");
    std::thread::sleep(Duration::from_secs(60));
}
