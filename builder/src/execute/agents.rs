//! Agents of `RUN --mount=type=ssh`. The invariant: a step reaches an agent only through a socket of its own user, of which this
//! relay passes on requests for signatures and nothing else, so that no step adds, removes or locks keys; the caller, who owns
//! the agent, does not exist in the step, which is why the agent's own socket cannot be mounted.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, Gid, Mode, Uid};
use sandbox::detached_tree;

use super::mounts::{Mounted, session_owner};
use super::{SessionTools, Workshop};
use crate::job::StepFailure;
use crate::mounts::Access;
use crate::settings::Agent;

/// How many connections one mount has at a time; ssh needs one for each of its processes.
const CONNECTIONS: usize = 16;
/// The longest message that OpenSSH's agent takes (AGENT_MAX_LEN of authfd.h).
const LONGEST: usize = 256 << 10;
/// Answers to what is not passed on: SSH_AGENT_FAILURE of the agent protocol, draft-ietf-sshm-ssh-agent, section 3.1.
const FAILURE: [u8; 5] = [0, 0, 0, 1, 5];
/// SSH_AGENTC_REQUEST_IDENTITIES, SSH_AGENTC_SIGN_REQUEST, SSH_AGENTC_EXTENSION: what BuildKit passes on too.
const PASSED: [u8; 3] = [11, 13, 27];
/// How long ssh-agent may take to listen.
const START: Duration = Duration::from_secs(10);

fn fail(error: &dyn std::error::Error) -> StepFailure {
    StepFailure::of_build(error)
}

/// A socket for one step, and what stands behind it.
pub(super) struct Relay {
    place: PathBuf,
    end: Arc<End>,
    thread: Option<JoinHandle<()>>,
    /// Ends after the relay.
    _own: Option<OwnAgent>,
}

/// How a relay is ended: connections that are open are cut.
#[derive(Default)]
struct End {
    asked: AtomicBool,
    open: Mutex<BTreeMap<u64, [UnixStream; 2]>>,
}

impl End {
    fn connections(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, [UnixStream; 2]>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.end.asked.store(true, Ordering::SeqCst);
        for stream in self.end.connections().values().flatten() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        // Wakes the thread that accepts; where that fails it has ended.
        let _ = UnixStream::connect(&self.place);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Workshop<'_> {
    /// A socket for a step; `None` where the agent is not required and the command line gives none.
    pub(super) fn agent(
        &self,
        session: &SessionTools<'_>,
        (id, required): (&str, bool),
        access: Access,
    ) -> Result<Option<(Mounted, Relay)>, StepFailure> {
        let Some(agent) = self.job.access.ssh.get(id) else {
            if required {
                let hint =
                    format!("give it: --ssh {id}, or --ssh {id}=FILE with a key or a socket");
                let text = format!("find the agent {id:?}, which the step requires");
                return Err(StepFailure::saying(text).hint(hint));
            }
            return Ok(None);
        };
        let directory = session
            .work
            .directory("agent")
            .map_err(|error| fail(&error))?;
        let (behind, own) = match agent {
            Agent::Socket(path) => (path.clone(), None),
            Agent::Keys { agent, add, keys } => {
                let own = OwnAgent::start((agent, add), keys, &directory)?;
                (own.socket.clone(), Some(own))
            }
        };
        // A session that cannot reach it says so before the step starts.
        UnixStream::connect(&behind).map_err(|error| {
            StepFailure::saying(format!(
                "reach the agent {id:?} at {}: {error}",
                behind.display()
            ))
        })?;
        let relay = Relay::listen(&directory, behind, own)?;
        let socket = directory.join("relay");
        if let Some((uid, gid)) = session_owner(session, access)? {
            let owner = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
            rustix::fs::chownat(CWD, &socket, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|error| fail(&error))?;
        }
        rustix::fs::chmod(&socket, Mode::from_raw_mode(access.mode))
            .map_err(|error| fail(&error))?;
        let tree = detached_tree(&socket).map_err(|error| fail(&error))?;
        let mounted = Mounted::Tree {
            tree,
            directory: false,
            read_only: false,
        };
        Ok(Some((mounted, relay)))
    }
}

impl Relay {
    fn listen(
        directory: &Path,
        behind: PathBuf,
        own: Option<OwnAgent>,
    ) -> Result<Self, StepFailure> {
        // The store's path may be longer than the 108 bytes that an address has, unix(7).
        let handle = std::fs::File::open(directory).map_err(|error| fail(&error))?;
        let short = PathBuf::from(format!("/proc/self/fd/{}/relay", handle.as_raw_fd()));
        let listener = UnixListener::bind(&short).map_err(|error| fail(&error))?;
        let end = Arc::new(End::default());
        let ended = Arc::clone(&end);
        let thread = std::thread::Builder::new()
            .spawn(move || {
                accept(&listener, &behind, &ended);
                drop(handle);
            })
            .map_err(|error| fail(&error))?;
        Ok(Self {
            place: short,
            end,
            thread: Some(thread),
            _own: own,
        })
    }
}

fn accept(listener: &UnixListener, behind: &Path, end: &Arc<End>) {
    let mut number = 0;
    let mut serving: Vec<JoinHandle<()>> = Vec::new();
    for client in listener.incoming() {
        if end.asked.load(Ordering::SeqCst) {
            break;
        }
        serving.retain(|thread| !thread.is_finished());
        let Ok(client) = client else { continue };
        if serving.len() >= CONNECTIONS {
            // Dropped: the program sees a closed connection.
            continue;
        }
        let Ok(agent) = UnixStream::connect(behind) else {
            continue;
        };
        let (Ok(ours), Ok(theirs)) = (client.try_clone(), agent.try_clone()) else {
            continue;
        };
        number += 1;
        end.connections().insert(number, [ours, theirs]);
        let (ended, key) = (Arc::clone(end), number);
        let serve = move || {
            // A broken connection ends like any other.
            let _ = relay(&client, &agent);
            ended.connections().remove(&key);
        };
        match std::thread::Builder::new().spawn(serve) {
            Ok(thread) => serving.push(thread),
            Err(_) => drop(end.connections().remove(&number)),
        }
    }
    for thread in serving {
        let _ = thread.join();
    }
}

/// Requests and answers in turn, each a length and a type, until one side ends.
fn relay(mut client: &UnixStream, mut agent: &UnixStream) -> io::Result<()> {
    while let Some(request) = message(client)? {
        if request.get(4).is_some_and(|kind| PASSED.contains(kind)) {
            agent.write_all(&request)?;
            match message(agent)? {
                Some(answer) => client.write_all(&answer)?,
                None => return Ok(()),
            }
        } else {
            client.write_all(&FAILURE)?;
        }
    }
    Ok(())
}

/// One message with its length; `None` at the end of the stream.
fn message(mut stream: &UnixStream) -> io::Result<Option<Vec<u8>>> {
    let mut message = vec![0; 4];
    match stream.read_exact(&mut message) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let length = message
        .iter()
        .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    if length > LONGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    message.resize(4 + length, 0);
    stream.read_exact(&mut message[4..])?;
    Ok(Some(message))
}

/// An agent for keys of the command line: OpenSSH's own, started in the session, whose end it does not survive.
struct OwnAgent {
    child: Child,
    socket: PathBuf,
    _directory: std::fs::File,
}

impl Drop for OwnAgent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl OwnAgent {
    fn start(
        (agent, add): (&Path, &Path),
        keys: &[PathBuf],
        directory: &Path,
    ) -> Result<Self, StepFailure> {
        let handle = std::fs::File::open(directory).map_err(|error| fail(&error))?;
        // Seen by its children too: the path names this process's descriptor.
        let own = std::fs::read_link("/proc/self").map_err(|error| fail(&error))?;
        let name = format!("/proc/{}/fd/{}/own", own.display(), handle.as_raw_fd());
        let child = Command::new(agent)
            .args(["-D", "-a", &name])
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| StepFailure::saying(format!("start {}: {error}", agent.display())))?;
        let started = Self {
            child,
            socket: PathBuf::from(name),
            _directory: handle,
        };
        started.wait_until_it_listens()?;
        for key in keys {
            started.add(add, key)?;
        }
        Ok(started)
    }

    fn wait_until_it_listens(&self) -> Result<(), StepFailure> {
        let asked = Instant::now();
        while UnixStream::connect(&self.socket).is_err() {
            if asked.elapsed() > START {
                return Err(StepFailure::saying(
                    "reach ssh-agent, which was started for the keys",
                ));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn add(&self, program: &Path, key: &Path) -> Result<(), StepFailure> {
        let output = Command::new(program)
            .args(["-q", "--"])
            .arg(key)
            .env_clear()
            .env("SSH_AUTH_SOCK", &self.socket)
            // A key with a passphrase fails instead of asking nobody.
            .env("SSH_ASKPASS_REQUIRE", "never")
            .stdin(Stdio::null())
            .output()
            .map_err(|error| {
                StepFailure::saying(format!("start {}: {error}", program.display()))
            })?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let why = said.lines().next().unwrap_or("it does not say why").trim();
        let text = format!("load the key {}: {why}", key.display());
        Err(StepFailure::saying(text).hint(
            "a key with a passphrase has to be in an agent: ssh-add it, and give --ssh default",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served(requests: &[&[u8]]) -> (Vec<u8>, Vec<Vec<u8>>) {
        let (client, relay_client) = UnixStream::pair().unwrap();
        let (agent, relay_agent) = UnixStream::pair().unwrap();
        let seen = std::thread::spawn(move || {
            let mut seen = Vec::new();
            while let Ok(Some(request)) = message(&agent) {
                seen.push(request);
                (&agent).write_all(&[0, 0, 0, 1, 12]).unwrap();
            }
            seen
        });
        for request in requests {
            (&client).write_all(request).unwrap();
        }
        client.shutdown(Shutdown::Write).unwrap();
        let _ = relay(&relay_client, &relay_agent);
        drop((relay_client, relay_agent));
        let mut answers = Vec::new();
        // A relay that hangs up on what it has not read resets the connection.
        match (&client).read_to_end(&mut answers) {
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
            other => drop(other.unwrap()),
        }
        (answers, seen.join().unwrap())
    }

    #[test]
    fn only_requests_for_identities_and_signatures_are_passed_on() {
        let list: &[u8] = &[0, 0, 0, 1, 11];
        let remove_all: &[u8] = &[0, 0, 0, 1, 19];
        let (answers, seen) = served(&[list, remove_all, list]);
        assert_eq!(seen, [list, list]);
        assert_eq!(
            answers,
            [[0, 0, 0, 1, 12], FAILURE, [0, 0, 0, 1, 12]].concat()
        );
    }

    #[test]
    fn an_endless_message_ends_the_connection() {
        let (answers, seen) = served(&[&[255, 255, 255, 255, 11]]);
        assert!(answers.is_empty() && seen.is_empty());
    }
}
