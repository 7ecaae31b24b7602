//! Processes that join a running container. The invariant: each has the container's confinement, belongs to the connection of who asked
//! for it, and ends with that connection or with the container, whichever is first.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use sandbox::{Handle, Namespaces, NetworkSpec, SetupPlan, Step, StepCgroup};
use serde::{Deserialize, Serialize};

use crate::container::{ContainerError, ContainerSpec, TERM, without_nul};
use crate::execute::{ExecuteError, Handles, Run, sandbox};
use crate::prepared::Prepared;
use crate::protocol::{Cause, receive, send};
use crate::request::{ExecRequest, Network};
use crate::stdio::owned_pipe;

/// To who asked for a process.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ExecReply {
    /// Descriptors travel along: of a terminal its other side; else standard output and error to be read, and before these, where it
    /// was asked for, standard input to be written.
    Streams,
    /// The network, for a container that is to be in it. Its user namespace and its network namespace travel along.
    Network(Network),
    /// It could not be started; nothing follows.
    Failed {
        /// As of [`crate::protocol::FromSession::Failed`].
        program: Option<i32>,
        /// Why.
        cause: Cause,
    },
    /// It ended; nothing follows.
    Ended {
        /// Its exit code, or 128 + the signal.
        code: i32,
    },
}

/// From who asked for it: pass this signal on.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ExecSignal(pub(crate) i32);

/// The container that they join.
pub(crate) struct Host<'h> {
    pub(crate) run: &'h Run<'h>,
    pub(crate) prepared: &'h Prepared,
    pub(crate) namespaces: Namespaces,
    pub(crate) cgroup: Option<&'h StepCgroup>,
}

/// All that have joined.
#[derive(Default)]
pub(crate) struct Guests<'h> {
    host: Option<Host<'h>>,
    inside: Vec<Guest>,
}

struct Guest {
    connection: UnixStream,
    step: Step,
    /// Whether its program runs.
    executed: bool,
}

/// Tells who asks that there is nothing to join.
pub(crate) fn turn_away(connection: Vec<OwnedFd>) {
    if let Some(connection) = connection.into_iter().next() {
        let cause = Cause::of(&io::Error::other("the container's program does not run"));
        tell_failure(&connection.into(), None, cause);
    }
}

fn tell_failure(connection: &UnixStream, program: Option<i32>, cause: Cause) {
    // Who is gone need not know.
    let _ = send(connection, &ExecReply::Failed { program, cause });
}

impl<'h> Guests<'h> {
    /// From now on there is something to join.
    pub(crate) fn let_in(&mut self, host: Host<'h>) {
        self.host = Some(host);
    }

    /// Starts a process for who is at the other end of the connection.
    pub(crate) fn admit(&mut self, request: &ExecRequest, connection: Vec<OwnedFd>) {
        let Some(host) = &self.host else {
            return turn_away(connection);
        };
        let Some(connection) = connection.into_iter().next().map(UnixStream::from) else {
            return;
        };
        match host.start(request, &connection) {
            Ok(step) => self.inside.push(Guest {
                connection,
                step,
                executed: false,
            }),
            Err(error) => tell_failure(&connection, error.program(), Cause::of(&error)),
        }
    }

    /// Tells who is at the other end of the connection what a container in the same network needs.
    pub(crate) fn tell_network(&self, connection: Vec<OwnedFd>) {
        let Some(host) = &self.host else {
            return turn_away(connection);
        };
        let Some(connection) = connection.into_iter().next().map(UnixStream::from) else {
            return;
        };
        if let Err(error) = host.tell_network(&connection) {
            tell_failure(&connection, None, Cause::of(&error));
        }
    }

    /// To be polled: two for each guest.
    pub(crate) fn sources(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.inside.iter().flat_map(Guest::sources)
    }

    /// Sees to those whose sources are ready.
    pub(crate) fn attend(&mut self, ready: &[bool]) {
        let mut ready = ready.chunks(2);
        let all = std::mem::take(&mut self.inside).into_iter();
        self.inside = all
            .filter_map(|guest| match ready.next() {
                Some([true, _]) => guest.hear_step(),
                Some([_, true]) => guest.hear_connection(),
                _ => Some(guest),
            })
            .collect();
    }

    /// The container has ended, and with it all of them.
    pub(crate) fn see_off(&mut self) {
        for mut guest in self.inside.drain(..) {
            while let Some(more) = guest.hear_step() {
                guest = more;
            }
        }
    }
}

impl Guest {
    fn sources(&self) -> [BorrowedFd<'_>; 2] {
        [self.step.as_fd(), self.connection.as_fd()]
    }

    /// `None` when it is over.
    fn hear_step(mut self) -> Option<Self> {
        if !self.executed {
            return match self.step.executed() {
                Ok(()) => {
                    self.executed = true;
                    Some(self)
                }
                Err(error) => {
                    let error = ExecuteError::from(error);
                    tell_failure(&self.connection, error.program(), Cause::of(&error));
                    None
                }
            };
        }
        match self.step.outcome() {
            Ok(outcome) => {
                let code = outcome.code();
                let _ = send(&self.connection, &ExecReply::Ended { code });
                self.step.release();
            }
            Err(error) => tell_failure(&self.connection, None, Cause::of(&error)),
        }
        None
    }

    fn hear_connection(self) -> Option<Self> {
        match receive(&self.connection) {
            Ok(Some((ExecSignal(signal), _))) => {
                self.step.signal(signal);
                Some(self)
            }
            Ok(None) | Err(_) => {
                self.step.kill();
                self.step.release();
                None
            }
        }
    }
}

impl Host<'_> {
    fn tell_network(&self, connection: &UnixStream) -> io::Result<()> {
        let [network, ..] = self.namespaces.handles();
        let user = File::open("/proc/self/ns/user")?;
        let reply = ExecReply::Network(self.run.request.network.clone());
        sandbox::send_message(connection, &reply, &[user.as_fd(), network])
    }

    fn start(&self, request: &ExecRequest, connection: &UnixStream) -> Result<Step, ExecuteError> {
        let container = self.container(request)?;
        let mut handles = Handles::default();
        let network = match self.run.request.network {
            Network::Host => NetworkSpec::Host,
            _ => NetworkSpec::None,
        };
        let mut spec = sandbox(&container, self.run.request, Handle(0), network, Vec::new());
        spec.process.init = false;
        if let Some(cgroup) = self.cgroup {
            spec.limits.cgroup = Some(handles.add(cgroup.door()?));
        }
        let mut terminal = None;
        let (streams, mut theirs) = if request.terminal {
            spec.process.terminal = Some(handles.door(&mut terminal)?);
            (nothing().map_err(ExecuteError::Stdio)?, Vec::new())
        } else {
            self.pipes(request, &container)
                .map_err(ExecuteError::Stdio)?
        };
        let mut join = [Handle(0); 7];
        for (handle, namespace) in join.iter_mut().zip(self.namespaces.handles()) {
            let copy = namespace.try_clone_to_owned();
            *handle = handles.add(copy.map_err(ExecuteError::Stdio)?);
        }
        let idle = self.run.context.idle_step()?;
        let plan = SetupPlan::joining(&spec, join);
        let mut step = idle.join(&plan, &handles.all(&streams))?;
        drop((streams, handles));
        if let Some(door) = terminal {
            match door.terminal() {
                Ok(terminal) => theirs.push(terminal),
                // What failed before says more.
                Err(failure) => {
                    step.executed()?;
                    return Err(ExecuteError::Doors(failure));
                }
            }
        }
        let theirs: Vec<_> = theirs.iter().map(AsFd::as_fd).collect();
        sandbox::send_message(connection, &ExecReply::Streams, &theirs)
            .map_err(ExecuteError::Stdio)?;
        Ok(step)
    }

    /// The container's own description with what is asked for instead.
    fn container(&self, request: &ExecRequest) -> Result<ContainerSpec, ExecuteError> {
        let mut container = self.prepared.container.clone();
        let argv = request.argv.iter().cloned().map(without_nul);
        container.argv = argv.collect::<Result<_, _>>()?;
        if let Some(directory) = &request.workdir {
            container.cwd = without_nul(directory.clone())?;
        }
        let mut env = Vec::new();
        if request.terminal {
            env.push(("TERM".to_owned(), TERM.to_owned()));
        }
        if let Some(user) = &request.user {
            let account = self.prepared.account(user)?;
            env.extend(container.become_user(&account));
        }
        env.extend(request.env.iter().cloned());
        for (key, value) in env {
            if key.is_empty() || key.contains(['=', '\0']) {
                return Err(ContainerError::Variable(key).into());
            }
            let value = without_nul(value)?;
            container.env.retain(|(known, _)| *known != key);
            container.env.push((key, value));
        }
        Ok(container)
    }

    /// The process's streams, and the sides of them that are its caller's.
    fn pipes(
        &self,
        request: &ExecRequest,
        container: &ContainerSpec,
    ) -> io::Result<([OwnedFd; 3], Vec<OwnedFd>)> {
        let owner = container.session_owner();
        let (mut streams, mut theirs) = (nothing()?, Vec::new());
        if request.stdin {
            let (read, write) = owned_pipe(owner)?;
            streams[0] = read;
            theirs.push(write);
        }
        for stream in &mut streams[1..] {
            let (read, write) = owned_pipe(owner)?;
            *stream = write;
            theirs.push(read);
        }
        Ok((streams, theirs))
    }
}

fn nothing() -> io::Result<[OwnedFd; 3]> {
    let null = || File::options().read(true).write(true).open("/dev/null");
    Ok([null()?.into(), null()?.into(), null()?.into()])
}
