//! The id maps of a session's namespace, and who may write them. The invariant: a map is written once and whole, from an
//! [`ExtentMap`], or the session does not start.

use std::fs;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::errno::Errno;
use nix::unistd::{Gid, Pid, Uid};

use super::{MapWriter, SessionError, SessionPlan};
use crate::failure::{During, SetupFailure};
use crate::idmap::ExtentMap;

/// Maps that are being written.
#[derive(Debug)]
pub(super) struct Writing(Vec<(String, io::Result<Child>)>);

impl Writing {
    /// Begins to write the maps of the namespace that process `pid` made, unless the session does it itself. Whoever writes
    /// has `writers` open until it is done: the session hears of it without this process having to run in between.
    pub(super) fn start(
        pid: Pid,
        plan: &SessionPlan,
        writers: &io::PipeWriter,
    ) -> Result<Self, SessionError> {
        match &plan.writer {
            MapWriter::Itself => Ok(Self(Vec::new())),
            MapWriter::Caller => {
                for (name, map) in [("uid_map", &plan.uids), ("gid_map", &plan.gids)] {
                    let path = format!("/proc/{pid}/{name}");
                    fs::write(&path, map.to_string())
                        .map_err(|source| SessionError::WriteMap { path, source })?;
                }
                Ok(Self(Vec::new()))
            }
            // The two run side by side: each costs an execve of a setuid program.
            MapWriter::Helpers {
                newuidmap,
                newgidmap,
            } => Ok(Self(vec![
                helper(newuidmap, pid, &plan.uids, writers),
                helper(newgidmap, pid, &plan.gids, writers),
            ])),
        }
    }

    /// Waits until they are written.
    pub(super) fn finish(self) -> Result<(), SessionError> {
        // All are waited for, whatever became of the first.
        let ended: Vec<_> = self
            .0
            .into_iter()
            .map(|(program, child)| (program, child.and_then(Child::wait_with_output)))
            .collect();
        for (program, output) in ended {
            let helper = |message| SessionError::Helper {
                program: program.clone(),
                message,
            };
            let output = output.map_err(|error| helper(error.to_string()))?;
            if !output.status.success() {
                let printed = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                return Err(helper(if printed.is_empty() {
                    output.status.to_string()
                } else {
                    printed
                }));
            }
        }
        Ok(())
    }
}

/// In the session: waits until nobody writes any more, and sees whether there are maps.
pub(super) fn wait(pipe: OwnedFd) -> io::Result<()> {
    io::PipeReader::from(pipe).read_to_end(&mut Vec::new())?;
    for name in ["uid_map", "gid_map"] {
        if fs::read(format!("/proc/self/{name}"))?.is_empty() {
            return Err(io::Error::from_raw_os_error(Errno::EPERM as i32));
        }
    }
    Ok(())
}

fn helper(
    program: &Path,
    pid: Pid,
    map: &ExtentMap,
    writers: &io::PipeWriter,
) -> (String, io::Result<Child>) {
    let numbers = map
        .extents()
        .iter()
        .flat_map(|e| [e.inside, e.outside, e.count].map(|n| n.to_string()));
    let spawn = |stdout| {
        Command::new(program)
            .arg(pid.to_string())
            .args(numbers)
            .stdin(Stdio::null())
            // They print nothing there.
            .stdout(Stdio::from(stdout))
            .stderr(Stdio::piped())
            .spawn()
    };
    (
        program.display().to_string(),
        writers.try_clone().and_then(spawn),
    )
}

/// Without a helper program a process may map its own ids only, after giving up setgroups, user_namespaces(7).
pub(super) fn write_own(uid: Uid, gid: Gid) -> Result<(), SetupFailure> {
    let files = [
        ("setgroups", "deny".to_owned()),
        ("uid_map", format!("0 {uid} 1\n")),
        ("gid_map", format!("0 {gid} 1\n")),
    ];
    for (name, text) in files {
        let path = format!("/proc/self/{name}");
        fs::write(&path, text).during(|| format!("write {path}"))?;
    }
    Ok(())
}
