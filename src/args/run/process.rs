//! Flags of `run` about the program and how it ends.

use std::path::PathBuf;

use runner::{Program, StopPolicy};

use super::misused;
use crate::failure::Failure;
use crate::surroundings::Surroundings;

/// What runs.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Process")]
pub(super) struct ProcessArgs {
    /// Run this program instead of the image's; empty: none, the first argument is the program
    #[arg(long, value_name = "PROGRAM")]
    entrypoint: Option<String>,
    /// Set a variable; NAME alone takes it from the environment; repeatable
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Set the variables of this file, a line each as for --env, which come before those of --env; repeatable
    #[arg(long = "env-file", value_name = "FILE")]
    pub(super) env_files: Vec<PathBuf>,
    /// Start in this directory
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// Of an index, run the image for this platform [default: this machine's]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub(super) platform: Option<image::Platform>,
    /// Run as this user
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// Be in this group too; repeatable
    #[arg(long = "group-add", value_name = "GROUP")]
    groups: Vec<String>,
    /// Run the program below an init, which passes signals on and reaps orphans
    #[arg(long)]
    init: bool,
    /// What the program gets instead of a SIGTERM sent to rbuild [default: the image's STOPSIGNAL]
    #[arg(long, value_name = "SIGNAL")]
    stop_signal: Option<String>,
    /// Kill it when it runs so many seconds after that [default: never]
    #[arg(long, value_name = "SECONDS")]
    stop_timeout: Option<u32>,
    /// Keep nothing of the container when it ends, which is so in any case
    #[arg(long)]
    rm: bool,
}

impl ProcessArgs {
    pub(super) fn settings(
        self,
        args: Vec<String>,
        here: &Surroundings,
    ) -> Result<Program, Failure> {
        let mut env = Vec::new();
        for text in &self.env {
            env.extend(variable(text, here)?);
        }
        if let Some(workdir) = self.workdir.as_ref().filter(|path| !path.starts_with('/')) {
            return Err(Failure::usage(format!(
                "-w {workdir}: the directory must be absolute"
            )));
        }
        if self.groups.iter().any(|group| group == "keep-groups") {
            return Err(Failure::usage(
                "--group-add keep-groups: your own groups are never given to a container",
            )
            .hint("a directory that only a group of yours may enter can be given with -v"));
        }
        Ok(Program {
            args,
            entrypoint: self.entrypoint,
            env,
            workdir: self.workdir,
            user: self.user,
            groups: self.groups,
            init: self.init,
            terminal: false,
        })
    }

    pub(super) fn stop(&self) -> Result<StopPolicy, Failure> {
        let signal = self.stop_signal.as_deref().map(str::parse).transpose();
        Ok(StopPolicy {
            signal: signal.map_err(misused)?,
            timeout: self.stop_timeout,
        })
    }
}

/// `NAME=VALUE`, or NAME alone for the environment's value; none where the environment has none.
pub(crate) fn variable(
    text: &str,
    here: &Surroundings,
) -> Result<Option<(String, String)>, Failure> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok(Some((name.to_owned(), value.to_owned()))),
        None if !text.is_empty() => Ok(here.variable(text)?.map(|value| (text.to_owned(), value))),
        _ => Err(Failure::usage(format!(
            "-e {text}: expected NAME=VALUE or NAME"
        ))),
    }
}
