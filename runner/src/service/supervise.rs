//! The supervisor of a container in the background. The invariant: it waits in one place, never for one client alone, and when it has
//! returned nothing of the container is left.

use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use rustix::event::{PollFd, PollFlags, Timespec};
use sandbox::{Session, SessionPlan};

use super::client::{Neighbour, Reply, Request};
use super::directory::Home;
use super::log::{LogStream, LogWriter};
use super::policy::pause;
use super::record::{Record, State};
use super::streams::ServiceStreams;
use crate::protocol::{Cause, FromSession, Purpose, RunJob, ToSession, receive, send};
use crate::request::RunRequest;
use crate::run::{RunError, Signals, Starting, begin, failed, typed};

/// What one read takes: the size of a pipe, pipe(7).
const PIECE: usize = 64 << 10;

/// A client that says nothing, or takes nothing, keeps nobody longer.
const PATIENCE: Duration = Duration::from_secs(1);

/// Podman's default of `--stop-timeout`, in seconds.
const STOP_TIMEOUT: u32 = 10;

/// The signals that ask a process to end, signal(7): HUP, INT, QUIT, TERM.
const ENDING: [i32; 4] = [1, 2, 3, 15];
const KILL: i32 = 9;

/// Starts a container's session as [`crate::start`] does, for a container that is to be supervised. The standard streams of this process
/// must be those of the container.
///
/// # Errors
/// As [`crate::start`].
pub fn start_service(
    request: &RunRequest,
    store: &Path,
    neighbour: Option<&Neighbour>,
) -> Result<Starting, RunError> {
    begin(request, store, Purpose::Serve, neighbour)
}

/// What a supervisor needs beside the container itself.
pub struct Service<'s> {
    /// Its place among all.
    pub home: Home,
    /// What is known of it.
    pub record: Record,
    /// Its streams.
    pub streams: ServiceStreams,
    /// Signals for the supervisor.
    pub signals: &'s mut dyn Signals,
    /// The time.
    pub clock: &'s dyn Fn() -> SystemTime,
    /// Told what the user should know, until the program runs.
    pub notice: &'s dyn Fn(String),
    /// Called once, when the program runs for the first time.
    pub started: &'s dyn Fn(),
}

impl Starting {
    /// Holds the container until it has ended for good.
    ///
    /// # Errors
    /// When the program did not start the first time.
    pub fn serve(self, plan: &SessionPlan, service: Service<'_>) -> Result<(), RunError> {
        let session = self.session.start(plan)?;
        service.streams.leave().map_err(RunError::Lost)?;
        let log = LogWriter::create(service.home.path()).map_err(RunError::Lost)?;
        let mut supervisor = Supervisor {
            timeout: self.job.request.stop.timeout.unwrap_or(STOP_TIMEOUT),
            has_terminal: self.job.request.program.terminal,
            job: Some(self.job),
            session,
            service,
            log,
            written: 0,
            terminal: None,
            clients: Vec::new(),
            stopping: false,
            again: None,
            pause: None,
            began: Instant::now(),
        };
        match supervisor.supervise() {
            Ok(code) => {
                supervisor.close(code);
                Ok(())
            }
            Err(error) => {
                supervisor.session.kill();
                Err(match supervisor.job {
                    Some(job) => typed(error, &job),
                    None => error,
                })
            }
        }
    }
}

struct Supervisor<'s> {
    /// What was asked for, until the program runs: it may have secrets in it.
    job: Option<RunJob>,
    session: Session,
    service: Service<'s>,
    log: LogWriter,
    /// How many pieces went into the log.
    written: u64,
    timeout: u32,
    has_terminal: bool,
    terminal: Option<OwnedFd>,
    clients: Vec<Client>,
    /// Whether it was asked to end for good.
    stopping: bool,
    /// When it is started again.
    again: Option<Instant>,
    pause: Option<Duration>,
    /// When it was last started.
    began: Instant,
}

struct Client {
    socket: UnixStream,
    waits: Waits,
}

/// What a client waits for; all hear of the end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waits {
    Nothing,
    More { seen: u64 },
}

impl Supervisor<'_> {
    /// Returns the exit code when it is over.
    fn supervise(&mut self) -> Result<i32, RunError> {
        loop {
            let ready = self.wait().map_err(RunError::Lost)?;
            let (fixed, rest) = ready.split_at(3);
            let (outputs, clients) = rest.split_at(self.outputs().count());
            self.log_ready(outputs);
            let mut code = self.obey_signals();
            if fixed[0] && code.is_none() {
                code = self.hear_session()?;
            }
            let clients: Vec<bool> = clients.to_vec();
            code = code.or(self.hear_clients(&clients));
            if fixed[2] {
                self.admit();
            }
            if let Some(code) = code.or_else(|| self.start_again()) {
                return Ok(code);
            }
        }
    }

    fn outputs(&self) -> impl Iterator<Item = (LogStream, BorrowedFd<'_>)> {
        let pipes = self.service.streams.outputs.iter();
        let pipes = pipes.map(|(stream, fd)| (*stream, fd.as_fd()));
        let terminal = self.terminal.iter();
        pipes.chain(terminal.map(|fd| (LogStream::Stdout, fd.as_fd())))
    }

    /// Waits until something is ready: session, signals, listener, outputs, clients.
    fn wait(&self) -> io::Result<Vec<bool>> {
        let fixed = [
            self.session.socket().as_fd(),
            self.service.signals.as_fd(),
            self.service.home.listener.as_fd(),
        ];
        let outputs = self.outputs().map(|(_, fd)| fd);
        let clients = self.clients.iter().map(|client| client.socket.as_fd());
        let all = fixed.into_iter().chain(outputs).chain(clients);
        let mut watched: Vec<PollFd<'_>> = all
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
            .collect();
        let left = self
            .again
            .map(|at| at.saturating_duration_since(Instant::now()));
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        match rustix::event::poll(&mut watched, left.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        Ok(watched.iter().map(|fd| !fd.revents().is_empty()).collect())
    }

    /// Writes what the outputs that are ready have into the log.
    fn log_ready(&mut self, ready: &[bool]) {
        let mut piece = vec![0; PIECE];
        let mut taken = Vec::new();
        let mut terminal_ended = false;
        for ((stream, fd), ready) in self.outputs().zip(ready) {
            if *ready {
                match rustix::io::read(fd, &mut piece) {
                    Ok(length) if length > 0 => taken.push((stream, piece[..length].to_vec())),
                    // EIO: nobody has the other side of a terminal any more, tty_ioctl(4).
                    _ => terminal_ended = true,
                }
            }
        }
        if terminal_ended {
            self.terminal = None;
        }
        for (stream, bytes) in taken {
            self.note(stream, &bytes);
        }
    }

    /// A log that cannot be written must not keep the container from writing.
    fn note(&mut self, stream: LogStream, bytes: &[u8]) {
        let _ = self.log.write(stream, (self.service.clock)(), bytes);
        self.written += 1;
        let written = self.written;
        for client in &mut self.clients {
            if matches!(client.waits, Waits::More { seen } if seen < written) {
                client.waits = Waits::Nothing;
                let _ = send(&client.socket, &Reply::Wrote(written));
            }
        }
    }

    /// Everything that is still in the pipes of a program that ended.
    fn drain(&mut self) {
        loop {
            let ready: Vec<bool> = {
                let mut watched: Vec<PollFd<'_>> = self
                    .outputs()
                    .map(|(_, fd)| PollFd::from_borrowed_fd(fd, PollFlags::IN))
                    .collect();
                let now = Timespec::default();
                // It waits for nothing, so nothing interrupts it.
                let _ = rustix::event::poll(&mut watched, Some(&now));
                let readable = |fd: &PollFd<'_>| fd.revents().contains(PollFlags::IN);
                watched.iter().map(readable).collect()
            };
            if !ready.contains(&true) {
                return;
            }
            self.log_ready(&ready);
        }
    }

    fn obey_signals(&mut self) -> Option<i32> {
        let signals = self.service.signals.take();
        let ending = signals.iter().any(|signal| ENDING.contains(signal));
        ending.then(|| self.stop(None)).flatten()
    }

    /// Asks it to end; the code where it has.
    fn stop(&mut self, timeout: Option<u32>) -> Option<i32> {
        self.stopping = true;
        if self.again.is_some() {
            return self.service.record.exit_code.or(Some(0));
        }
        self.tell(State::Stopping);
        let timeout = timeout.unwrap_or(self.timeout);
        // A session that is gone is noticed next.
        let _ = send(self.session.socket(), &ToSession::Stop(Some(timeout)));
        None
    }

    fn hear_session(&mut self) -> Result<Option<i32>, RunError> {
        let lost = || RunError::Lost(io::ErrorKind::UnexpectedEof.into());
        let received = receive(self.session.socket()).map_err(RunError::Lost)?;
        let (message, fds) = received.ok_or_else(lost)?;
        match message {
            FromSession::Notice(text) if self.job.is_some() => (self.service.notice)(text),
            FromSession::Notice(text) => {
                self.note(LogStream::Stderr, format!("rbuild: {text}\n").as_bytes());
            }
            FromSession::Started { argv } => {
                self.terminal = fds.into_iter().next();
                self.run(argv);
            }
            FromSession::Ended { code } => {
                self.drain();
                self.terminal = None;
                return Ok(self.ended(code));
            }
            FromSession::Failed { program, cause } if self.job.is_some() => {
                return Err(failed(program, cause));
            }
            FromSession::Failed { program, cause } => {
                self.drain();
                let error = failed(program, cause);
                let text = format!("rbuild: {}\n", text_of(&error));
                self.note(LogStream::Stderr, text.as_bytes());
                return Ok(Some(error.exit_code()));
            }
        }
        Ok(None)
    }

    fn run(&mut self, argv: Vec<String>) {
        self.began = Instant::now();
        self.service.record.command = argv;
        self.service.record.started = seconds((self.service.clock)());
        self.tell(State::Running);
        if self.job.take().is_some() {
            (self.service.started)();
        }
    }

    /// Decides whether it is started again; the code where it is not.
    fn ended(&mut self, code: i32) -> Option<i32> {
        let record = &mut self.service.record;
        record.exit_code = Some(code);
        if self.stopping || !record.restart.again(code, record.restarts) {
            return Some(code);
        }
        let pause = pause(self.pause, self.began.elapsed());
        self.pause = Some(pause);
        self.again = Some(Instant::now() + pause);
        self.tell(State::Restarting);
        None
    }

    /// Starts it again when it is time; the code where that is no longer possible.
    fn start_again(&mut self) -> Option<i32> {
        if self.again.is_some_and(|at| at <= Instant::now()) {
            self.again = None;
            self.service.record.restarts += 1;
            if send(self.session.socket(), &ToSession::Again).is_err() {
                return self.service.record.exit_code;
            }
        }
        None
    }

    fn tell(&mut self, state: State) {
        self.service.record.state = state;
        // The record is for people; a disk that is full ends no container.
        let _ = self.service.record.write(self.service.home.path());
    }

    fn admit(&mut self) {
        let Ok((socket, _)) = self.service.home.listener.accept() else {
            return;
        };
        let patient = socket
            .set_read_timeout(Some(PATIENCE))
            .and_then(|()| socket.set_write_timeout(Some(PATIENCE)))
            .and_then(|()| socket.set_nonblocking(false));
        if patient.is_ok() {
            let waits = Waits::Nothing;
            self.clients.push(Client { socket, waits });
        }
    }

    fn hear_clients(&mut self, ready: &[bool]) -> Option<i32> {
        let mut code = None;
        // Those that came meanwhile are behind the others.
        let mut ready = ready.iter();
        for mut client in std::mem::take(&mut self.clients) {
            if ready.next() != Some(&true) {
                self.clients.push(client);
                continue;
            }
            // Who has gone, or says nothing that is understood, waits for nothing.
            let Ok(Some((request, _))) = receive::<Request>(&client.socket) else {
                continue;
            };
            if self.answer(&mut client, request, &mut code) {
                self.clients.push(client);
            }
        }
        code
    }

    /// Whether the client stays.
    fn answer(&mut self, client: &mut Client, request: Request, code: &mut Option<i32>) -> bool {
        let told = match request {
            Request::Wait => Ok(()),
            Request::Stop(timeout) => {
                *code = code.or(self.stop(timeout));
                Ok(())
            }
            Request::Kill(signal) => {
                // Nobody kills what is to go on.
                if signal == KILL {
                    self.stopping = true;
                    *code = code.or(self.again.and(self.service.record.exit_code));
                }
                let _ = send(self.session.socket(), &ToSession::Kill(signal));
                send(&client.socket, &Reply::Done)
            }
            Request::Next { seen } if seen < self.written => {
                send(&client.socket, &Reply::Wrote(self.written))
            }
            Request::Next { seen } => {
                client.waits = Waits::More { seen };
                Ok(())
            }
            Request::Attach => self.attach(&client.socket),
            Request::Exec(request) => return self.hand_on(client, &ToSession::Exec(request)),
            Request::Network => return self.hand_on(client, &ToSession::Network),
        };
        told.is_ok()
    }

    /// Gives a client to the session; it stays here no longer.
    fn hand_on(&self, client: &Client, order: &ToSession) -> bool {
        let connection = [client.socket.as_fd()];
        let _ = sandbox::send_message(self.session.socket(), order, &connection);
        false
    }

    fn attach(&self, client: &UnixStream) -> io::Result<()> {
        let input = match self.has_terminal {
            true => &self.terminal,
            false => &self.service.streams.input,
        };
        let input: Vec<BorrowedFd<'_>> = input.iter().map(AsFd::as_fd).collect();
        let terminal = self.has_terminal;
        sandbox::send_message(client, &Reply::Attached { terminal }, &input)
    }

    /// Waits until nothing is left, and tells all who wait.
    fn close(mut self, code: i32) {
        let socket = self.session.socket();
        let _ = socket.shutdown(Shutdown::Write);
        while let Ok(Some(_)) = receive::<FromSession>(socket) {}
        let _ = self.session.wait();
        self.drain();
        let Self {
            service, clients, ..
        } = self;
        // First its place, so that who hears of its end can have its name.
        drop(service.home);
        for client in clients {
            let _ = send(&client.socket, &Reply::Ended { code });
        }
    }
}

fn seconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

fn text_of(error: &RunError) -> String {
    Cause::of(error).chain()
}
