//! One run of `git`. The invariant: its environment and its configuration are those of this file and of the caller's
//! [`super::GitProgram`]; what it prints is bounded, and it ends with the build.

use std::io::Read;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use image::fetch::HttpUrl;

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

/// git(1): nothing of the system and of the user is read, nobody is asked for a password, messages are in one language.
const ENVIRONMENT: [(&str, &str); 8] = [
    ("GIT_CONFIG_NOSYSTEM", "1"),
    ("GIT_CONFIG_GLOBAL", "/dev/null"),
    ("GIT_ATTR_NOSYSTEM", "1"),
    ("GIT_TERMINAL_PROMPT", "0"),
    ("GIT_ASKPASS", "/bin/false"),
    ("GIT_SSH_COMMAND", "ssh -oBatchMode=yes"),
    ("GIT_OPTIONAL_LOCKS", "0"),
    ("LC_ALL", "C"),
];

/// The configuration: everything that could run something, or read a local file, is off.
const CONFIG: [(&str, &str); 18] = [
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.symlinks", "true"),
    ("core.attributesFile", "/dev/null"),
    ("core.excludesFile", "/dev/null"),
    ("credential.helper", ""),
    ("safe.bareRepository", "explicit"),
    ("protocol.allow", "never"),
    ("protocol.https.allow", "always"),
    ("protocol.ssh.allow", "always"),
    ("submodule.recurse", "false"),
    ("advice.detachedHead", "false"),
    ("gc.auto", "0"),
    // Logs have the time, and several threads pack as they are scheduled.
    ("core.logAllRefUpdates", "false"),
    ("pack.threads", "1"),
    ("maintenance.auto", "false"),
    ("http.lowSpeedLimit", "1"),
    ("http.lowSpeedTime", "60"),
];

/// The URL that git is told, and the configuration for it.
pub(super) fn config_of(url: &str) -> (String, Vec<(String, String)>) {
    let mut config: Vec<(String, String)> = CONFIG
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let mut set = |name: String, value: &str| config.push((name, value.to_owned()));
    // Only who asks without encryption gets answers without it: no redirect and no submodule leads from https to http.
    let plain = ["http", "git"]
        .into_iter()
        .find(|scheme| url.starts_with(&format!("{scheme}://")));
    if let Some(scheme) = plain {
        set(format!("protocol.{scheme}.allow"), "always");
    }
    let Ok(parsed) = url.parse::<HttpUrl>() else {
        return (url.to_owned(), config);
    };
    // In the URL a password would be an argument of git's helpers, which everybody sees; a redirect would take the header along.
    let (bare, header) = parsed.split_credentials();
    if let Some(header) = header {
        set(
            format!("http.{bare}.extraHeader"),
            &format!("Authorization: {header}"),
        );
        set("http.followRedirects".to_owned(), "false");
    }
    (bare, config)
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

/// The last lines of an error, harmless for a terminal.
fn last_words(stderr: &str) -> String {
    let lines: Vec<&str> = stderr
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let last = lines[lines.len().saturating_sub(3)..].join("; ");
    last.chars().filter(|c| !c.is_control()).take(500).collect()
}
