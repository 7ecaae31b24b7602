//! Where a script is performed. The invariant: one loop waits for everything that can happen (a child, its output, the time), so
//! an observed program is resumed at once, also while something else runs.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{WaitOptions, WaitStatus};

use super::fetch::fetch;
use super::listening::listeners;
use super::process::Process;
use super::watch::Watch;
use super::{Act, Command, Done, Ended, Identity, Record, Script};

/// How long what a process left behind may still write.
const REST: Duration = Duration::from_millis(50);
/// How often ports are looked at.
const GLANCE: Duration = Duration::from_millis(20);

/// Performs a script.
pub(super) fn perform(script: &Script, identity: Identity) -> Result<Record, Errno> {
    let mut stage = Stage::new(script.observe)?;
    let mut done = Vec::with_capacity(script.acts.len());
    for act in &script.acts {
        done.push(stage.act(act)?);
    }
    // The kernel kills all others of the process namespace as its first process ends.
    let program = stage.program.as_ref().map(Process::done);
    let blind = stage.program.as_ref().and_then(|program| program.blind);
    Ok(Record {
        done,
        program,
        observed: stage.watch.into_observed(),
        blind: blind.map(|errno| errno.desc().to_owned()),
        identity,
    })
}

struct Stage {
    children: SignalFd,
    observe: bool,
    watch: Watch,
    program: Option<Process>,
    /// What runs beside it.
    other: Option<Process>,
}

impl Stage {
    fn new(observe: bool) -> Result<Self, Errno> {
        let mut child = SigSet::empty();
        child.add(Signal::SIGCHLD);
        child.thread_block()?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        Ok(Self {
            children: SignalFd::with_flags(&child, flags)?,
            observe,
            watch: Watch::default(),
            program: None,
            other: None,
        })
    }

    fn act(&mut self, act: &Act) -> Result<Done, Errno> {
        match act {
            Act::Run(command) => self.run(command),
            Act::Start(command) => {
                let program = Process::start(command, self.observe)?;
                let done = program.done();
                self.program = Some(program);
                Ok(done)
            }
            Act::Settle { millis, ports } => self.settle(*millis, ports),
            Act::Until {
                command,
                tries,
                interval,
            } => self.until(command, *tries, *interval),
            Act::Fetch { port, path, millis } => Ok(fetch(*port, path, *millis)),
            Act::Stop { signal, millis } => self.stop(*signal, *millis),
        }
    }

    fn run(&mut self, command: &Command) -> Result<Done, Errno> {
        let process = Process::start(command, false)?;
        let group = process.pid;
        self.other = Some(process);
        let deadline = Instant::now() + Duration::from_millis(command.millis);
        let in_time = self.pump(deadline, |stage| is_over(stage.other.as_ref()))?;
        if in_time {
            self.pump(Instant::now() + REST, |stage| {
                let other = stage.other.as_ref();
                other.is_none_or(|other| other.sources().next().is_none())
            })?;
        } else {
            kill_all(group);
            let soon = Instant::now() + Duration::from_secs(5);
            self.pump(soon, |stage| is_over(stage.other.as_ref()))?;
        }
        let mut done = self
            .other
            .take()
            .map(|other| other.done())
            .ok_or(Errno::ECHILD)?;
        if !in_time {
            done.ended = Ended::TimedOut;
        }
        Ok(done)
    }

    fn settle(&mut self, millis: u64, ports: &[u16]) -> Result<Done, Errno> {
        let started = Instant::now();
        let deadline = started + Duration::from_millis(millis);
        loop {
            let glance = deadline.min(Instant::now() + GLANCE);
            let over = self.pump(glance, |stage| is_over(stage.program.as_ref()))?;
            let open = listeners();
            let listens = |port| open.iter().any(|one| one.port == port);
            let all = !ports.is_empty() && ports.iter().copied().all(listens);
            if over || all || Instant::now() >= deadline {
                let mut done = self
                    .program
                    .as_ref()
                    .map(Process::done)
                    .ok_or(Errno::ECHILD)?;
                done.listening = open;
                done.millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
                return Ok(done);
            }
        }
    }

    fn until(&mut self, command: &Command, tries: u32, interval: u64) -> Result<Done, Errno> {
        let mut tried = 0;
        loop {
            let mut done = self.run(command)?;
            tried += 1;
            if done.ended == Ended::Exited(0) || tried >= tries {
                done.tries = tried;
                return Ok(done);
            }
            let pause = Instant::now() + Duration::from_millis(interval);
            self.pump(pause, |stage| is_over(stage.program.as_ref()))?;
        }
    }

    fn stop(&mut self, signal: i32, millis: u64) -> Result<Done, Errno> {
        let pid = self.program.as_ref().map(|program| program.pid);
        let pid = pid.ok_or(Errno::ECHILD)?;
        let started = Instant::now();
        if !is_over(self.program.as_ref()) {
            nix::sys::signal::kill(pid, Signal::try_from(signal)?)?;
        }
        let deadline = started + Duration::from_millis(millis);
        let in_time = self.pump(deadline, |stage| is_over(stage.program.as_ref()))?;
        if !in_time {
            kill_all(pid);
            let soon = Instant::now() + Duration::from_secs(5);
            self.pump(soon, |stage| is_over(stage.program.as_ref()))?;
        }
        kill_what_is_left();
        let mut done = self
            .program
            .as_ref()
            .map(Process::done)
            .ok_or(Errno::ECHILD)?;
        if !in_time {
            done.ended = Ended::TimedOut;
        }
        done.millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(done)
    }

    /// Lets things happen until something is so, or the time has come; says whether it was so.
    fn pump(&mut self, deadline: Instant, enough: impl Fn(&Self) -> bool) -> Result<bool, Errno> {
        loop {
            self.reap();
            [&mut self.program, &mut self.other]
                .into_iter()
                .flatten()
                .for_each(Process::listen);
            if enough(self) {
                return Ok(true);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            self.wait(left)?;
        }
    }

    fn wait(&mut self, left: Duration) -> Result<(), Errno> {
        let streams = [&self.program, &self.other].into_iter().flatten();
        let mut watched = vec![PollFd::from_borrowed_fd(
            self.children.as_fd(),
            PollFlags::IN,
        )];
        watched.extend(
            streams
                .flat_map(Process::sources)
                .map(|from| PollFd::from_borrowed_fd(from, PollFlags::IN)),
        );
        let left = Timespec::try_from(left).map_err(|_| Errno::EINVAL)?;
        match rustix::event::poll(&mut watched, Some(&left)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(Errno::from_raw(error.raw_os_error())),
        }
        // What it says is found out by waiting.
        while let Ok(Some(_)) = self.children.read_signal() {}
        Ok(())
    }

    /// Hears what happened to children, until nothing more did.
    fn reap(&mut self) {
        loop {
            let heard = rustix::process::wait(WaitOptions::NOHANG | WaitOptions::UNTRACED);
            match heard {
                Ok(Some((pid, status))) => {
                    let pid = Pid::from_raw(pid.as_raw_nonzero().get());
                    match ended(status) {
                        Some(ended) => self.ended(pid, ended),
                        None => self.watch.stopped(pid, status),
                    }
                }
                Err(rustix::io::Errno::INTR) => {}
                Ok(None) | Err(_) => return,
            }
        }
    }

    fn ended(&mut self, pid: Pid, ended: Ended) {
        self.watch.forget(pid);
        let mut known = [&mut self.program, &mut self.other].into_iter().flatten();
        if let Some(process) = known.find(|process| process.pid == pid) {
            process.ended = Some(ended);
        }
    }
}

fn ended(status: WaitStatus) -> Option<Ended> {
    let exited = status.exit_status().map(Ended::Exited);
    exited.or(status.terminating_signal().map(Ended::Signaled))
}

fn is_over(process: Option<&Process>) -> bool {
    process.is_none_or(Process::is_over)
}

/// What the program started goes with it, as when a container ends. Only in a process namespace of one's own, kill(2) says why.
fn kill_what_is_left() {
    if std::process::id() == 1 {
        let _ = nix::sys::signal::kill(Pid::from_raw(-1), Signal::SIGKILL);
    }
}

/// A process and what it started; it may be gone.
fn kill_all(group: Pid) {
    let _ = nix::sys::signal::killpg(group, Signal::SIGKILL);
}
