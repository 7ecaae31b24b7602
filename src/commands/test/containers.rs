//! Containers that tests run. The invariant: each is made by `rbuild run` itself, in a process of its own, so what is tested is what
//! users get.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sandbox::trial::{self, Record, Script};

use crate::args::UsernsMode;
use crate::args::build::NetworkArg;
use crate::args::test::TestArgs;
use crate::failure::{Failure, Kind};
use crate::surroundings::Surroundings;

/// Where the trial is in the container.
const PROGRAM: &str = "/.rbuild-trial";

/// How containers of one image are run.
#[derive(Clone)]
pub(super) struct Containers {
    store: PathBuf,
    executable: PathBuf,
    userns_mode: UsernsMode,
    image: String,
    platform: Option<String>,
    flags: Vec<String>,
}

/// What came of a container.
pub(super) enum Ran {
    /// The script was performed.
    Performed(Box<Record>),
    /// It did not come to that: what was said about it.
    Not(String),
}

impl Containers {
    pub(super) fn new(args: &TestArgs, store: &Path, here: &Surroundings) -> Self {
        let network = match args.network {
            NetworkArg::None => "none",
            NetworkArg::Host => "host",
            NetworkArg::Pasta => "pasta",
            NetworkArg::Default => "default",
        };
        let mut flags = vec!["--network".to_owned(), network.to_owned()];
        flags.extend(
            args.env
                .iter()
                .flat_map(|env| ["-e".to_owned(), env.clone()]),
        );
        flags.extend(
            args.volume
                .iter()
                .flat_map(|it| ["-v".to_owned(), it.clone()]),
        );
        Self {
            store: store.to_owned(),
            executable: here.host_view(store).executable,
            userns_mode: here.userns_mode,
            image: args.image().to_owned(),
            platform: args.platform.as_ref().map(ToString::to_string),
            flags,
        }
    }

    /// The beginning of a command line: `rbuild run` with more flags, up to the image.
    fn command(&self, flags: &[String]) -> Command {
        let mut command = Command::new("/proc/self/exe");
        command.arg("--root").arg(&self.store);
        match self.userns_mode {
            UsernsMode::Auto => {}
            UsernsMode::Subids => drop(command.args(["--userns-mode", "subids"])),
            UsernsMode::Single => drop(command.args(["--userns-mode", "single"])),
        }
        command.arg("run").args(&self.flags).args(flags);
        if let Some(platform) = &self.platform {
            command.args(["--platform", platform]);
        }
        command.stdin(Stdio::null());
        command
    }

    /// The same with other ids.
    pub(super) fn with_ids(&self, userns_mode: UsernsMode) -> Self {
        Self {
            userns_mode,
            ..self.clone()
        }
    }

    /// Runs the image's own program, tells it to stop when some time has passed, and says after how many milliseconds it ended, with
    /// which exit code; `None` where it had to be killed.
    pub(super) fn stop(
        &self,
        flags: &[String],
        arguments: &[String],
        wait: Duration,
        patience: Duration,
    ) -> Result<Option<(u64, i32)>, Failure> {
        let mut command = self.command(flags);
        command.arg(&self.image).args(arguments);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = Running(command.spawn().map_err(not_run)?);
        std::thread::sleep(wait);
        let told = Instant::now();
        rustix::process::kill_process(child.pid(), rustix::process::Signal::TERM)
            .map_err(|error| not_run(error.into()))?;
        while told.elapsed() < patience {
            if let Some(status) = child.0.try_wait().map_err(not_run)? {
                let millis = u64::try_from(told.elapsed().as_millis()).unwrap_or(u64::MAX);
                return Ok(Some((millis, status.code().unwrap_or(-1))));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(None)
    }

    /// What the drill printed, and said.
    pub(super) fn drill(&self) -> Result<(Vec<u8>, String), Failure> {
        let mut command = self.command(&["--drill=json".to_owned()]);
        let output = command.arg(&self.image).output().map_err(not_run)?;
        Ok((output.stdout, said(&output.stderr)))
    }

    /// Performs a script in a container.
    pub(super) fn perform(&self, flags: &[String], script: &Script) -> Result<Ran, Failure> {
        let argument = trial::argument(script);
        if argument.len() > trial::MAX_SCRIPT {
            return Ok(Ran::Not(
                "its commands are too long to be passed".to_owned(),
            ));
        }
        let mut volume: OsString = self.executable.clone().into_os_string();
        volume.push(format!(":{PROGRAM}:ro"));
        let mut command = self.command(flags);
        command.args(["--entrypoint", PROGRAM, "-v"]).arg(volume);
        let output = command
            .arg(&self.image)
            .arg(argument)
            .output()
            .map_err(not_run)?;
        Ok(match trial::record(&output.stdout) {
            Some(record) if output.status.success() => Ran::Performed(Box::new(record)),
            _ => Ran::Not(said(&output.stderr)),
        })
    }
}

/// A container that ends with its value: killed, rbuild takes all of it along.
struct Running(Child);

impl Running {
    fn pid(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(&self.0)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn not_run(error: std::io::Error) -> Failure {
    let error = anyhow::Error::new(error);
    Failure::new(Kind::Host, error.context("run a container for the tests"))
}

/// What rbuild said, on one line.
fn said(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let lines: Vec<&str> = text
        .lines()
        .map(|line| line.trim_start_matches("error: ").trim())
        .filter(|line| !line.is_empty())
        .collect();
    match lines.is_empty() {
        true => "the container ended without a word".to_owned(),
        false => lines.join("; "),
    }
}
