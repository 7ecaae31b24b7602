//! The caller of a run, as a process of its own, so that its streams are real. `drive JOB` takes a [`Drive`] as JSON.

use std::error::Error;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use runner::RunRequest;
use serde::{Deserialize, Serialize};

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Drive {
    pub(crate) store: PathBuf,
    pub(crate) request: RunRequest,
    /// Give up the subordinate ids.
    pub(crate) single_id: bool,
    /// Only make ready.
    pub(crate) prepare: bool,
    /// Send this signal when this file is there.
    pub(crate) signal: Option<(i32, PathBuf)>,
}

pub(crate) fn main(args: &[String]) -> ExitCode {
    let text = args.first().map_or("", String::as_str);
    let drive: Drive = serde_json::from_str(text).expect("the test wrote it");
    let starting = (!drive.prepare).then(|| runner::start(&drive.request, &drive.store));
    let plan = crate::fixture::session_plan(drive.single_id).expect("the fixture had one");
    let mut signals = Sent::once_ready(drive.signal.clone());
    let notice = |text: String| eprintln!("notice: {text}");
    let result = match starting {
        None => runner::prepare(&drive.request, &drive.store, &plan, &notice).map(|()| 0),
        Some(starting) => {
            starting.and_then(|starting| starting.run(&plan, &mut signals, &notice, &drop))
        }
    };
    let code = match result {
        Ok(code) => code,
        Err(error) => {
            eprint!("error: {error}");
            let mut cause: &dyn Error = &error;
            while let Some(next) = cause.source() {
                eprint!(": {next}");
                cause = next;
            }
            eprintln!();
            error.exit_code()
        }
    };
    ExitCode::from(u8::try_from(code).unwrap_or(255))
}

/// One signal, readable once a file is there.
struct Sent {
    signal: i32,
    ready: UnixStream,
    /// Open, so that the other end is readable only then.
    _sender: UnixStream,
}

impl Sent {
    fn once_ready(wanted: Option<(i32, PathBuf)>) -> Self {
        let (ready, sender) = UnixStream::pair().expect("a socket");
        ready.set_nonblocking(true).expect("a socket");
        let mut thread = sender.try_clone().expect("a descriptor");
        let signal = wanted.as_ref().map_or(0, |(signal, _)| *signal);
        if let Some((_, file)) = wanted {
            std::thread::spawn(move || {
                while !file.exists() {
                    std::thread::sleep(Duration::from_millis(5));
                }
                thread.write_all(b"!").expect("the test listens");
            });
        }
        Self {
            signal,
            ready,
            _sender: sender,
        }
    }
}

impl AsFd for Sent {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ready.as_fd()
    }
}

impl runner::Signals for Sent {
    fn take(&mut self) -> Vec<i32> {
        match self.ready.read(&mut [0]) {
            Ok(1) => vec![self.signal],
            _ => Vec::new(),
        }
    }
}
