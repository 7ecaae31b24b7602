//! What happens in the session while a program runs. The invariant: the program ends when nobody is left at the other end of the
//! session's socket, whatever else goes on.

use std::io;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use sandbox::Step;

use crate::guests::Guests;
use crate::protocol::{ToSession, receive};
use crate::signal::StopSignal;
use crate::stdio::Carrying;

/// Signals by their numbers, signal(7): the one that nobody survives, and the one that asks to end.
const KILL: i32 = 9;
const TERM: i32 = 15;

/// The end of a container that was asked for.
pub(crate) struct Stop {
    signal: StopSignal,
    timeout: Option<Duration>,
    /// When it is killed.
    deadline: Option<Instant>,
}

impl Stop {
    pub(crate) fn new(signal: StopSignal, timeout: Option<u32>) -> Self {
        Self {
            signal,
            timeout: timeout.map(seconds),
            deadline: None,
        }
    }

    fn ask(&mut self, step: &Step) {
        step.signal(self.signal.number());
        if self.deadline.is_none() {
            self.deadline = self.timeout.map(|timeout| Instant::now() + timeout);
        }
    }

    /// For poll(2): how long there is still to wait.
    fn left(&self) -> Option<Timespec> {
        let left = self.deadline?.saturating_duration_since(Instant::now());
        Timespec::try_from(left).ok()
    }

    fn kill(&mut self, step: &Step) {
        step.signal(KILL);
        self.timeout = None;
        self.deadline = None;
    }
}

fn seconds(count: u32) -> Duration {
    Duration::from_secs(count.into())
}

/// Passes on what the main process says, and what the program and its guests write, until the step has something to say; without
/// the main process there is nobody to run for.
pub(crate) fn listen(
    orders: &UnixStream,
    step: &Step,
    carrying: &mut Carrying,
    stop: &mut Stop,
    guests: &mut Guests<'_>,
) -> io::Result<()> {
    loop {
        let mut watched = vec![
            PollFd::new(step, PollFlags::IN),
            PollFd::new(orders, PollFlags::IN),
        ];
        let sources = carrying.sources();
        watched.extend(sources.map(|from| PollFd::from_borrowed_fd(from, PollFlags::IN)));
        let files = watched.len();
        let sources = guests.sources();
        watched.extend(sources.map(|from| PollFd::from_borrowed_fd(from, PollFlags::IN)));
        match rustix::event::poll(&mut watched, stop.left().as_ref()) {
            Err(rustix::io::Errno::INTR) => continue,
            Ok(0) => {
                stop.kill(step);
                continue;
            }
            other => other?,
        };
        let ready: Vec<bool> = watched.iter().map(|fd| !fd.revents().is_empty()).collect();
        if ready[0] {
            return Ok(());
        }
        carrying.pass(&ready[2..files]);
        guests.attend(&ready[files..]);
        if ready[1] && !obey(orders, step, stop, guests) {
            step.kill();
            return Ok(());
        }
    }
}

/// Does what the next order says; `false` where there will be no more.
fn obey(orders: &UnixStream, step: &Step, stop: &mut Stop, guests: &mut Guests<'_>) -> bool {
    match receive(orders) {
        // Who ends rbuild wishes the container to stop.
        Ok(Some((ToSession::Signal(TERM), _))) => stop.ask(step),
        Ok(Some((ToSession::Stop(timeout), _))) => {
            stop.timeout = timeout.map(seconds).or(stop.timeout);
            stop.ask(step);
        }
        Ok(Some((ToSession::Signal(signal) | ToSession::Kill(signal), _))) => step.signal(signal),
        Ok(Some((ToSession::Exec(request), connection))) => guests.admit(&request, connection),
        Ok(Some((ToSession::Network, connection))) => guests.tell_network(connection),
        // It runs already.
        Ok(Some((ToSession::Again, _))) => {}
        Ok(Some((ToSession::Run(_), _)) | None) | Err(_) => return false,
    }
    true
}
