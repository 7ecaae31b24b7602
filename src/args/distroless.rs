//! `rbuild distroless`. The invariant: what it takes is complete as clap leaves it; options of the builds are `rbuild build`'s own.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  rbuild distroless Containerfile                      the patch, and the proof on standard error
  rbuild distroless Containerfile > distroless.patch
  rbuild distroless --write Containerfile              change the file, once it is proved
  rbuild distroless --arg --version Containerfile      run the entry point with this argument
  rbuild distroless --config tests.yaml Containerfile  structure tests, which hold of both images
  rbuild distroless Containerfile -- --build-arg V=2   options for the builds

The final stage becomes a build stage; a stage from scratch takes the program, what it needs, and the files that belong to no
package. Both images are built and their entry points run without a network; the new one's as an ordinary user without
capabilities and with a read-only root, /tmp being empty. Exit code 1 when the two do not do the same.";

/// Arguments of `rbuild distroless`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DistrolessArgs {
    /// The Containerfile
    #[arg(value_name = "FILE", default_value = "Containerfile")]
    pub file: PathBuf,
    /// Options of `rbuild build` for the builds
    #[arg(value_name = "BUILD OPTIONS", last = true)]
    pub build: Vec<OsString>,
    /// The build context [default: the directory of FILE]
    #[arg(long, value_name = "DIR")]
    pub context: Option<PathBuf>,
    /// Change FILE instead of printing the patch; only once it is proved
    #[arg(long)]
    pub write: bool,
    /// An argument for the entry points, in place of CMD; repeatable
    #[arg(long = "arg", value_name = "WORD", allow_hyphen_values = true)]
    pub args: Vec<String>,
    /// Run the structure tests of this file on both images, as `rbuild test` does, instead of the entry points; repeatable
    #[arg(short, long, value_name = "FILE", conflicts_with = "args")]
    pub config: Vec<PathBuf>,
    /// How long the entry points may run: what runs longer is a service, and has started
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=600))]
    pub timeout: u32,
}

impl DistrolessArgs {
    /// The build context.
    pub(crate) fn context(&self) -> &Path {
        match (&self.context, self.file.parent()) {
            (Some(given), _) => given,
            (None, Some(parent)) if !parent.as_os_str().is_empty() => parent,
            (None, _) => Path::new("."),
        }
    }
}
