//! One run of `git`. The invariant: its environment and its configuration are those of [`super::config`] and of the caller's
//! [`super::GitProgram`]; what it prints is bounded, and it ends with the build.

use std::io::Read;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use super::config::ENVIRONMENT;
use super::error::last_words;
use super::{Git, GitError};

impl Git<'_> {
    /// Runs git in a directory and gives what it printed.
    pub(super) fn run(&self, directory: &Path, arguments: &[&str]) -> Result<String, GitError> {
        let mut command = Command::new(&self.program.program);
        command.current_dir(directory).args(arguments).env_clear();
        command.envs(self.program.env.iter().map(|(name, value)| (name, value)));
        for (name, value) in ENVIRONMENT {
            command.env(name, value);
        }
        command
            .env("HOME", &self.home)
            .env("XDG_CONFIG_HOME", &self.home);
        // Repositories above the store are nobody's business here.
        command.env(
            "GIT_CEILING_DIRECTORIES",
            directory.parent().unwrap_or(directory),
        );
        command.env("GIT_CONFIG_COUNT", self.config.len().to_string());
        for (number, (name, value)) in self.config.iter().enumerate() {
            command.env(format!("GIT_CONFIG_KEY_{number}"), name);
            command.env(format!("GIT_CONFIG_VALUE_{number}"), value);
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // A group of its own, so that its helpers end with it.
        let child = command.process_group(0).spawn().map_err(GitError::Run)?;
        let (status, stdout, stderr) = self.finish(child)?;
        if status.success() {
            return Ok(stdout);
        }
        Err(GitError::Refused {
            url: self.shown.clone(),
            command: arguments.first().copied().unwrap_or_default().to_owned(),
            message: last_words(&stderr),
        })
    }

    fn finish(&self, mut child: Child) -> Result<(ExitStatus, String, String), GitError> {
        const LOOK: Duration = Duration::from_millis(5);
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        std::thread::scope(|scope| {
            let stdout = scope.spawn(move || bounded(stdout));
            let stderr = scope.spawn(move || bounded(stderr));
            let status = loop {
                if let Some(status) = child.try_wait().map_err(GitError::Run)? {
                    break status;
                }
                if self.reach.cancel.is_cancelled() {
                    if let Some(group) = rustix::process::Pid::from_raw(child.id().cast_signed()) {
                        let _ = rustix::process::kill_process_group(
                            group,
                            rustix::process::Signal::KILL,
                        );
                    }
                    let _ = child.wait();
                    return Err(GitError::Stopped {
                        url: self.shown.clone(),
                    });
                }
                std::thread::sleep(LOOK);
            };
            let text = |thread: std::thread::ScopedJoinHandle<'_, String>| {
                thread.join().unwrap_or_default()
            };
            Ok((status, text(stdout), text(stderr)))
        })
    }
}

/// What a child printed: the beginning of it, and the rest unread but taken.
fn bounded(stream: Option<impl Read>) -> String {
    const MOST: u64 = 4 << 20;
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        let _ = stream.by_ref().take(MOST).read_to_end(&mut bytes);
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
