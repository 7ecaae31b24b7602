//! Sessions that run no step: to look at, to clean up in, or to fail. The invariant: each ends before its function returns.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use sandbox::{Ground, Session, SessionContext, SessionPlan};

use super::{chain, receive, send};

/// Why a session does not start with these ids.
pub(crate) fn failure_to_start(plan: &SessionPlan) -> String {
    match Session::start(DESCRIPTORS, plan, Ground::Background) {
        Ok(mut session) => {
            session.kill();
            "it starts".to_owned()
        }
        Err(error) => chain(&error),
    }
}

/// The name of the entry that tells what the session has open.
pub(crate) const DESCRIPTORS: &str = "descriptors";

/// What each descriptor of a session leads to.
pub(crate) fn descriptors(plan: &SessionPlan) -> Vec<String> {
    let mut session =
        Session::start(DESCRIPTORS, plan, Ground::Background).expect("the session starts");
    let found = receive(session.socket());
    session.wait().expect("the session is a child");
    found
}

/// What happens in that session.
pub(crate) fn list_descriptors(context: SessionContext) -> ExitCode {
    let entries = fs::read_dir("/proc/self/fd")
        .expect("/proc is mounted")
        .flatten();
    let targets = entries.filter_map(|entry| fs::read_link(entry.path()).ok());
    let targets: Vec<String> = targets.map(|target| target.display().to_string()).collect();
    send(&context.socket, &targets);
    ExitCode::SUCCESS
}

/// The name of the entry that removes what a killed session left.
pub(crate) const CLEANING: &str = "cleaning";

/// Removes everything below a directory, whoever owns it.
pub(crate) fn clean(directory: &Path, plan: &SessionPlan) {
    let mut session =
        Session::start(CLEANING, plan, Ground::Background).expect("the session starts");
    send(session.socket(), &directory);
    session.wait().expect("the session is a child");
}

/// What happens in that session.
pub(crate) fn clean_up(context: SessionContext) -> ExitCode {
    let directory: PathBuf = receive(&context.socket);
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let _ = fs::remove_dir_all(entry.path());
    }
    ExitCode::SUCCESS
}

/// The name of the entry in which a thread panics.
pub(crate) const PANICKING: &str = "panicking";

/// How a session ends of which a thread panics, and nothing else happens; `None` when it does not end.
pub(crate) fn end_of_a_panic(plan: &SessionPlan) -> Option<i32> {
    let mut session =
        Session::start(PANICKING, plan, Ground::Background).expect("the session starts");
    let patience = Some(Duration::from_secs(5));
    let socket = session.socket();
    socket.set_read_timeout(patience).expect("it is a socket");
    let ended = matches!((&*socket).read(&mut [0]), Ok(0));
    if !ended {
        session.kill();
        return None;
    }
    session.wait().expect("the session is a child").code()
}

/// What happens in that session.
pub(crate) fn panic_in_a_thread(context: SessionContext) -> ExitCode {
    std::thread::spawn(|| panic!("as it should"));
    // Nobody says anything.
    let _ = (&context.socket).read(&mut [0]);
    ExitCode::SUCCESS
}
