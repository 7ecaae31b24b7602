//! rbuild's own builds and runs, as processes: a container's output is its process's own, and the store is the caller's. The invariant:
//! every one of them works with the caller's store and mode.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::args::distroless::DistrolessArgs;
use crate::args::{Global, UsernsMode};
use crate::failure::{Failure, Kind};

/// The file names that a Containerfile's own ignore file has behind it.
const IGNORE: [&str; 2] = [".containerignore", ".dockerignore"];

/// This program, with what all calls share.
pub(super) struct Own<'a> {
    args: &'a DistrolessArgs,
    global: Vec<OsString>,
}

impl<'a> Own<'a> {
    pub(super) fn new(args: &'a DistrolessArgs, global: &Global) -> Self {
        let mut words: Vec<OsString> = Vec::new();
        if let Some(root) = &global.root {
            words.extend(["--root".into(), root.clone().into_os_string()]);
        }
        let mode = match global.userns_mode {
            UsernsMode::Auto => "auto",
            UsernsMode::Subids => "subids",
            UsernsMode::Single => "single",
        };
        words.extend(["--userns-mode".into(), mode.into()]);
        Self {
            args,
            global: words,
        }
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new("/proc/self/exe");
        command.args(&self.global).arg(name);
        command
    }

    /// Builds a Containerfile and returns the image's id.
    pub(super) fn build(&self, text: &str) -> Result<String, Failure> {
        let mut command = self.command("build");
        command.args(["--quiet", "--no-lint", "--user-policy", "off", "-f", "-"]);
        if let Some(ignore) = self.ignore_file() {
            command.arg("--ignorefile").arg(ignore);
        }
        command.args(&self.args.build).arg(self.args.context());
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| started("build", error))?;
        if let Some(mut input) = child.stdin.take() {
            // A build that ended says itself why it read no further.
            let _ = input.write_all(text.as_bytes());
        }
        let output = child
            .wait_with_output()
            .map_err(|error| started("build", error))?;
        if !output.status.success() {
            let code = output
                .status
                .code()
                .and_then(|code| u8::try_from(code).ok());
            return Err(Failure::silent(code.unwrap_or(1)));
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// The ignore file that is the Containerfile's own: one that is the context's is found by the build.
    fn ignore_file(&self) -> Option<PathBuf> {
        let named = IGNORE.iter().map(|end| {
            let mut name = self.args.file.clone().into_os_string();
            name.push(end);
            PathBuf::from(name)
        });
        named.into_iter().find(|path| path.is_file())
    }

    /// Starts a container, its output in pipes.
    pub(super) fn run(&self, options: &[&str], image: &str) -> Result<Child, Failure> {
        let mut command = self.command("run");
        command.args(["--network", "none", "--tmpfs", "/tmp:mode=1777"]);
        command
            .args(["--stop-timeout", "2"])
            .args(options)
            .arg(image);
        command
            .args(&self.args.args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| started("run", error))
    }

    /// Runs the structure tests on an image; whether they passed, and the report.
    pub(super) fn test(&self, image: &str) -> Result<(bool, String), Failure> {
        let mut command = self.command("test");
        for config in &self.args.config {
            command.arg("--config").arg(config);
        }
        let output = command
            .arg(image)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| started("test", error))?;
        let report = [output.stdout, output.stderr].concat();
        let report = String::from_utf8_lossy(&report).into_owned();
        Ok((output.status.success(), report))
    }
}

fn started(what: &str, error: std::io::Error) -> Failure {
    let context = format!("{what} with this program");
    Failure::new(Kind::Host, anyhow::Error::new(error).context(context))
}
