//! What only the name service switch knows, asked from `getent` and `getsubids`: this binary is static and loads no NSS
//! module. Invariant: a program that is missing, knows nothing or does not answer never hangs the caller.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::{IdKind, SubIdError, SubIdRange};

/// sssd's own default timeout for a request to its back end is 6 s; past that nobody answers any more.
const TIMEOUT_SECONDS: u32 = 10;

/// The module that `subid:` in nsswitch.conf names, unless it is `files`, the default.
pub(super) fn subid_module(nsswitch: &str) -> Option<String> {
    let value = nsswitch
        .lines()
        .find_map(|line| line.trim().strip_prefix("subid:"))?;
    let module = value.split('#').next()?.split_whitespace().next()?;
    (module != "files").then(|| module.to_owned())
}

/// The login name of `uid`, by `getent passwd UID`.
pub(super) fn name_of(uid: u32, path_dirs: &[PathBuf]) -> Result<Option<String>, SubIdError> {
    let Some(output) = ask("getent", &["passwd", &uid.to_string()], path_dirs)? else {
        return Ok(None);
    };
    let name = output
        .lines()
        .next()
        .and_then(|line| line.split(':').next());
    Ok(name.filter(|name| !name.is_empty()).map(str::to_owned))
}

/// The ranges that `getsubids [-g] NAME` lists, as `0: alice 100000 65536`.
pub(super) fn ranges_of(
    kind: IdKind,
    name: &str,
    path_dirs: &[PathBuf],
) -> Result<Vec<SubIdRange>, SubIdError> {
    let args: &[&str] = match kind {
        IdKind::Uid => &[name],
        IdKind::Gid => &["-g", name],
    };
    let output = ask("getsubids", args, path_dirs)?.unwrap_or_default();
    Ok(output.lines().filter_map(listed_range).collect())
}

fn listed_range(line: &str) -> Option<SubIdRange> {
    let mut numbers = line.split_whitespace().rev();
    let count = numbers.next()?.parse().ok()?;
    let start = numbers.next()?.parse().ok()?;
    SubIdRange::new(start, count).ok()
}

/// The program's standard output, or nothing if there is no such program or it failed (both mean "unknown").
fn ask(program: &str, args: &[&str], path_dirs: &[PathBuf]) -> Result<Option<String>, SubIdError> {
    let Some(program) = path_dirs
        .iter()
        .map(|dir| dir.join(program))
        .find(|path| path.is_file())
    else {
        return Ok(None);
    };
    let failed = |source| SubIdError::Run {
        program: program.clone(),
        source,
    };
    let mut child = Command::new(&program)
        .args(args)
        .env_clear()
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    if !ends_in_time(Pid::from_child(&child)).map_err(|errno| failed(errno.into()))? {
        // Both can only fail because it has ended meanwhile, which is what is wanted.
        let _ = child.kill();
        let _ = child.wait();
        return Err(SubIdError::TimedOut {
            program: Path::to_owned(&program),
            seconds: TIMEOUT_SECONDS,
        });
    }
    let output = child.wait_with_output().map_err(failed)?;
    Ok(output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned()))
}

fn ends_in_time(pid: Pid) -> rustix::io::Result<bool> {
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    let timeout = Timespec {
        tv_sec: i64::from(TIMEOUT_SECONDS),
        tv_nsec: 0,
    };
    loop {
        match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timeout)) {
            Ok(ready) => return Ok(ready > 0),
            // A signal for the caller restarts the wait; those that matter end the process by themselves.
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}
