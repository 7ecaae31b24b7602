//! The caller of a run, as a process of its own, so that its streams are real. `drive JOB` takes a [`Drive`] as JSON.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use runner::{RunEvent, RunRequest};
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
    let session = (!drive.prepare).then(|| runner::session(false).expect("there is one thread"));
    let plan = crate::fixture::session_plan(drive.single_id).expect("the fixture had one");
    let events = |event| match event {
        RunEvent::Started(control) => {
            let Some((signal, ready)) = drive.signal.clone() else {
                return;
            };
            std::thread::spawn(move || {
                while !ready.exists() {
                    std::thread::sleep(Duration::from_millis(5));
                }
                control.signal(signal);
            });
        }
        RunEvent::Notice(text) => eprintln!("notice: {text}"),
        _ => {}
    };
    let result = match session {
        None => runner::prepare(&drive.request, &drive.store, &plan, &events).map(|()| 0),
        Some(session) => session
            .begin(&plan)
            .map_err(runner::RunError::from)
            .and_then(|session| runner::run(&drive.request, &drive.store, session, &events)),
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
