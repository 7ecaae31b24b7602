//! ShellCheck, where it is installed. The invariant: it gets scripts in memory and nothing of the environment or of anybody's
//! configuration, so its findings depend on the file and on its version alone; what it cannot do is said once and stops nothing.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use containerfile::lint::{self, Script, ShellFinding};
use containerfile::{Diagnostic, Source};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use serde::Deserialize;

use crate::show;
use crate::surroundings::Surroundings;

/// Scripts for one process: as many files are open then.
const MOST: usize = 64;

/// Longer ones take longer than anybody waits.
const LONGEST: usize = 32 << 10;

/// Not found out from a script alone: files that it reads, its first line, another shell of busybox.
const EXCLUDED: &str = "SC1090,SC1091,SC2148,SC2187";

/// The program.
pub(in super::super) struct ShellCheck {
    program: PathBuf,
    failed: AtomicBool,
}

/// What it writes with `--format=json1`.
#[derive(Deserialize)]
struct Output {
    comments: Vec<Comment>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Comment {
    file: String,
    line: usize,
    end_line: usize,
    column: usize,
    end_column: usize,
    level: String,
    code: u32,
    message: String,
}

impl ShellCheck {
    /// The one in PATH.
    pub(in super::super) fn find(here: &Surroundings) -> Option<Self> {
        let candidates = here.path_dirs().into_iter();
        let mut candidates = candidates.map(|directory| directory.join("shellcheck"));
        Some(Self {
            program: candidates.find(|candidate| candidate.is_file())?,
            failed: AtomicBool::new(false),
        })
    }

    /// What it finds in the scripts of each text; `None` for all when it does not work.
    pub(super) fn ask(&self, sources: &[&Source]) -> Vec<Option<Vec<Diagnostic>>> {
        let scripts: Vec<Vec<Script>> =
            sources.iter().map(|source| lint::scripts(source)).collect();
        let mut texts: Vec<&str> = scripts
            .iter()
            .flatten()
            .map(|script| script.text.as_str())
            .collect();
        // Files of one project repeat each other.
        texts.sort_unstable();
        texts.dedup();
        texts.retain(|text| text.len() <= LONGEST);
        let Some(found) = self.examine(&texts) else {
            return vec![None; sources.len()];
        };
        let of_script = |script: &Script| {
            let own = found.get(script.text.as_str()).into_iter().flatten();
            own.filter_map(|found| script.place(found))
                .collect::<Vec<_>>()
        };
        let of_text = scripts
            .iter()
            .map(|scripts| scripts.iter().flat_map(of_script).collect());
        of_text.map(Some).collect()
    }

    /// Findings by text.
    fn examine<'t>(&self, texts: &[&'t str]) -> Option<HashMap<&'t str, Vec<ShellFinding>>> {
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        let share = texts.len().div_ceil(workers).clamp(1, MOST);
        let mut found = HashMap::new();
        for round in texts.chunks(share * workers) {
            let results: Vec<_> = std::thread::scope(|scope| {
                let started: Vec<_> = round
                    .chunks(share)
                    .map(|texts| scope.spawn(|| self.run(texts)))
                    .collect();
                started.into_iter().map(|thread| thread.join()).collect()
            });
            for result in results {
                match result {
                    Ok(Ok(more)) => found.extend(more),
                    Ok(Err(why)) => return self.give_up(&why),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
        }
        Some(found)
    }

    fn give_up<T>(&self, why: &str) -> Option<T> {
        if !self.failed.swap(true, Ordering::Relaxed) {
            let program = self.program.display();
            show::note(&format!(
                "{program} does not work ({why}): scripts of RUN are not examined"
            ));
        }
        None
    }

    /// One process.
    fn run<'t>(&self, texts: &[&'t str]) -> Result<Vec<(&'t str, Vec<ShellFinding>)>, String> {
        let files = texts
            .iter()
            .map(|text| in_memory(text))
            .collect::<std::io::Result<Vec<_>>>();
        let files = files.map_err(|error| error.to_string())?;
        let path = |file: &File| format!("/proc/self/fd/{}", file.as_raw_fd());
        let output = Command::new(&self.program)
            .args(["--norc", "--format=json1", "--exclude", EXCLUDED, "--"])
            .args(files.iter().map(path))
            .env_clear()
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null())
            .output()
            .map_err(|error| error.to_string())?;
        let answer: Output = serde_json::from_slice(&output.stdout).map_err(|_| {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            format!(
                "{}: {}",
                output.status,
                said.lines().next().unwrap_or_default()
            )
        })?;
        let mut found: BTreeMap<String, Vec<ShellFinding>> = BTreeMap::new();
        for comment in answer.comments {
            found
                .entry(comment.file.clone())
                .or_default()
                .push(comment.into());
        }
        let of_file = |(text, file): (&&'t str, &File)| {
            (*text, found.remove(&path(file)).unwrap_or_default())
        };
        Ok(texts.iter().zip(&files).map(of_file).collect())
    }
}

impl From<Comment> for ShellFinding {
    fn from(comment: Comment) -> Self {
        Self {
            code: comment.code,
            level: comment.level,
            message: comment.message,
            from: (comment.line, comment.column),
            to: (comment.end_line, comment.end_column),
        }
    }
}

/// A file that the child inherits, and opens by its number.
fn in_memory(text: &str) -> std::io::Result<File> {
    // Linux knows the flag from 6.3 on, and then misses it in its log.
    let fd = match memfd_create("script", MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => memfd_create("script", MemfdFlags::empty())?,
        other => other?,
    };
    let mut file = File::from(fd);
    file.write_all(text.as_bytes())?;
    Ok(file)
}
