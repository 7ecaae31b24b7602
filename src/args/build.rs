//! `rbuild build`: raw arguments ([`BuildArgs`]) to settings ([`BuildSettings`]). The invariant: a setting that reaches the builder is complete and valid; only the
//! files themselves (Containerfile, context, ignore file) are still to be read, by [`crate::commands`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use builder::{Output, RemoteSource};
use clap::ValueEnum;

use super::limits::LimitArgs;
use super::output::{OutputArg, plain};
use super::registry::RegistryArgs;
use crate::failure::Failure;
use crate::show::Progress;
use crate::surroundings::Surroundings;

mod agents;
mod attest;
mod cache;
pub(crate) mod context;
mod elsewhere;
mod files;
mod furnish;
mod image_args;
mod outputs;
mod settings;
mod steps;
mod times;
mod userns;
mod volume;

use attest::AttestArgs;
use cache::CacheArgs;
use context::named_context;
use elsewhere::ElsewhereArgs;
use furnish::FurnishArgs;
pub(crate) use furnish::{CaArg, FurnishSettings};
use image_args::ImageArgs;
pub(crate) use settings::{
    BuildSettings, ContainerfileSource, ContextSource, ImageSettings, Isolation, Results, Sources,
};
use steps::StepArgs;
pub(crate) use steps::StepSettings;
use times::TimeArgs;

const EXAMPLES: &str = "\
Examples:
  rbuild -f Containerfile .                                   build, into the store
  rbuild build -t hello --target release --build-arg V=2 .    a stage, a tag, a build argument
  rbuild --build-context debian=oci-layout:/srv/debian .      FROM debian is the layout in /srv/debian
  rbuild -o type=oci,dest=hello.tar .                         an OCI archive instead of the store
  rbuild -t registry.example/hello:1 --push .                 into a registry
  rbuild --dry-run .                                          show the plan and do nothing";

/// Arguments of `rbuild build`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES, disable_version_flag = true)]
pub(crate) struct BuildArgs {
    #[command(flatten)]
    sources: SourceArgs,
    #[command(flatten)]
    image: ImageArgs,
    #[command(flatten)]
    furnish: FurnishArgs,
    #[command(flatten)]
    attest: AttestArgs,
    #[command(flatten)]
    times: TimeArgs,
    /// Show the plan and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Build twice without the cache, the second time at another time and with other jobs, umask, time zone, language, host name and order of files; name the first instruction and file that differ, and exit with 1
    #[arg(long, conflicts_with = "dry_run")]
    check_reproducible: bool,
    /// Show what the linter finds in the Containerfile, and build nothing; exit with 1 for warnings and errors
    #[arg(long, value_name = "BOOL", default_value = "false", default_missing_value = "true", num_args = 0..=1, require_equals = true, hide_default_value = true, hide_possible_values = true, action = clap::ArgAction::Set, conflicts_with_all = ["dry_run", "check_reproducible", "no_lint"])]
    check: bool,
    /// Do not ask the linter before the build
    #[arg(long)]
    no_lint: bool,
    #[command(flatten)]
    results: ResultArgs,
    #[command(flatten)]
    caches: CacheArgs,
    #[command(flatten)]
    isolation: IsolationArgs,
    #[command(flatten)]
    steps: StepArgs,
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    registry: RegistryArgs,
    #[command(flatten)]
    elsewhere: ElsewhereArgs,
}

/// What is read.
#[derive(Clone, Debug, clap::Args)]
struct SourceArgs {
    /// Where COPY takes files from: a directory, a tar, the URL of one, or a git repository; `-`: a tar or a lone Containerfile on standard input
    #[arg(value_name = "CONTEXT", default_value = ".")]
    context: PathBuf,
    /// The Containerfile, or its URL; `-`: standard input [default: CONTEXT/Containerfile, CONTEXT/Dockerfile]
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// `--build-context`, repeatable.
    #[arg(
        long = "build-context",
        value_name = "NAME=SOURCE",
        help = "Another source for FROM and COPY --from: a directory, a tar or its URL, a git repository, oci-layout:DIR[:TAG] or docker-image://REFERENCE; repeatable"
    )]
    build_contexts: Vec<String>,
    /// The ignore file [default: FILE.containerignore, FILE.dockerignore, CONTEXT/.containerignore, CONTEXT/.dockerignore]
    #[arg(long = "ignorefile", value_name = "FILE")]
    ignore_file: Option<PathBuf>,
}

/// Where results and reports go.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Results")]
struct ResultArgs {
    /// `--output`, repeatable.
    #[arg(
        short,
        long = "output",
        value_name = "OUTPUT",
        help = "type=oci|docker|local|tar|store|registry|cacheonly[,dest=PATH][,...], or a directory for the files, or `-` for a tar of them; repeatable [default: type=store]"
    )]
    outputs: Vec<OutputArg>,
    /// Push the image under each of its names, as type=registry does
    #[arg(long)]
    push: bool,
    /// Put the image into the store, as type=store does
    #[arg(long)]
    load: bool,
    /// Write the image's id to this file
    #[arg(long, value_name = "FILE")]
    iidfile: Option<PathBuf>,
    /// Write the image's digests and names to this file, as JSON
    #[arg(long, value_name = "FILE")]
    metadata_file: Option<PathBuf>,
    /// Show what happens in this file instead
    #[arg(long, value_name = "FILE", conflicts_with = "quiet")]
    logfile: Option<PathBuf>,
    /// Print nothing but the image's id and errors
    #[arg(short, long, conflicts_with = "progress")]
    quiet: bool,
    /// Say for each step whether the cache had it, and if not which input changed; with --dry-run, what a build would find
    #[arg(long, conflicts_with = "quiet")]
    explain_cache: bool,
    /// How to show what happens, on standard error
    #[arg(long, value_enum, value_name = "HOW", default_value = "auto")]
    progress: ProgressArg,
}

/// What RUN steps may do.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "RUN steps")]
struct IsolationArgs {
    /// The network of RUN [default: pasta where it is installed, else none]
    #[arg(
        long,
        value_enum,
        value_name = "MODE",
        default_value = "default",
        hide_default_value = true
    )]
    network: NetworkArg,
    /// Give RUN the proxy settings of the environment
    #[arg(long, value_name = "BOOL", default_value = "true", default_missing_value = "true", num_args = 0..=1, require_equals = true, action = clap::ArgAction::Set)]
    http_proxy: bool,
    /// Allow what a Containerfile may ask for only with permission; repeatable
    #[arg(long = "allow", value_enum, value_name = "PERMISSION")]
    allow: Vec<Permission>,
    /// Restrict RUN further; repeatable
    #[arg(long = "security-opt", value_enum, value_name = "OPTION")]
    security_opts: Vec<SecurityOption>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ProgressArg {
    /// tty on a terminal, else plain
    Auto,
    /// One line per event
    Plain,
    /// A live view
    Tty,
    /// One JSON object per line
    #[value(alias = "rawjson")]
    Json,
    /// Nothing but errors, and the image's id at the end
    #[value(alias = "none")]
    Quiet,
}

/// The network modes of the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum NetworkArg {
    /// pasta where it is installed, else none
    Default,
    /// Only the loopback interface
    None,
    /// The network of this machine
    Host,
    /// An own network, connected through pasta
    Pasta,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Permission {
    /// RUN --network=host
    #[value(name = "network.host")]
    NetworkHost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum SecurityOption {
    /// setuid programs gain nothing in RUN
    NoNewPrivileges,
}

impl BuildArgs {
    /// Validates the arguments.
    ///
    /// # Errors
    /// The first argument that makes no sense, by name.
    pub(crate) fn settings(self, here: &Surroundings) -> Result<BuildSettings, Failure> {
        self.elsewhere.check()?;
        let (image, results) = (
            self.image.settings(self.times, here)?,
            self.results.settings(here)?,
        );
        outputs::check(&image, &results)?;
        let (isolation, steps) = (self.isolation.settings(), self.steps.settings(here)?);
        userns::check(steps.run.keep_id, &isolation)?;
        let attest = self.attest.settings(&results.outputs)?;
        Ok(BuildSettings {
            sources: context::keeping_git_dir(self.sources.settings()?, &image.build_args)?,
            image,
            furnish: self.furnish.settings(!attest.sboms.is_empty()),
            attest,
            isolation,
            steps,
            limits: self.limits.settings()?,
            results,
            caches: self.caches.settings(),
            registry: self.registry.settings(here)?,
            dry_run: self.dry_run,
            check_reproducible: self.check_reproducible,
            check: self.check,
            lint: !self.no_lint,
        })
    }
}

impl SourceArgs {
    fn settings(self) -> Result<Sources, Failure> {
        let context = if is_dash(&self.context) {
            ContextSource::Stdin
        } else {
            remote("the context", &self.context)?
                .map_or_else(|| ContextSource::Path(self.context), ContextSource::Remote)
        };
        let containerfile = match self.file {
            None => ContainerfileSource::InContext,
            Some(file) if is_dash(&file) => ContainerfileSource::Stdin,
            Some(file) => match remote("-f", &file)? {
                Some(source) => ContainerfileSource::Remote(source),
                None => ContainerfileSource::File(file),
            },
        };
        // One stream cannot be both; then it is the Containerfile.
        let context = match (containerfile == ContainerfileSource::Stdin, context) {
            (true, ContextSource::Stdin) => ContextSource::Empty,
            (_, context) => context,
        };
        let mut named = BTreeMap::new();
        for text in &self.build_contexts {
            let (name, source) = named_context(text)?;
            if named.insert(name.clone(), source).is_some() {
                return Err(Failure::usage(format!(
                    "--build-context {name}= is given twice"
                )));
            }
        }
        Ok(Sources {
            containerfile,
            context,
            named,
            ignore_file: self.ignore_file,
        })
    }
}

impl IsolationArgs {
    fn settings(&self) -> Isolation {
        Isolation {
            network: self.network,
            http_proxy: self.http_proxy,
            allow_host_network: self.network == NetworkArg::Host
                || self.allow.contains(&Permission::NetworkHost),
            no_new_privileges: self
                .security_opts
                .contains(&SecurityOption::NoNewPrivileges),
        }
    }
}

impl ResultArgs {
    fn settings(self, here: &Surroundings) -> Result<Results, Failure> {
        let nowhere = self.outputs.is_empty() && !self.push;
        let mut outputs: Vec<Output> = self
            .outputs
            .into_iter()
            .flat_map(|output| output.0)
            .collect();
        if nowhere || self.load {
            add(&mut outputs, Output::Store(plain()));
        }
        if self.push {
            add(&mut outputs, Output::Registry(plain()));
        }
        match outputs.iter().filter(|output| output.is_stdout()).count() {
            0 => {}
            1 if here.stdout_is_terminal => {
                return Err(Failure::usage(
                    "standard output is a terminal; write the archive into a file or a pipe",
                ));
            }
            1 => {}
            _ => return Err(Failure::usage("only one output can go to standard output")),
        }
        let progress = match self.progress {
            _ if self.quiet => Progress::Quiet,
            ProgressArg::Quiet => Progress::Quiet,
            ProgressArg::Plain => Progress::Plain,
            ProgressArg::Json => Progress::Json,
            ProgressArg::Auto if self.logfile.is_some() => Progress::Plain,
            ProgressArg::Auto | ProgressArg::Tty if here.live_terminal => Progress::Tty,
            ProgressArg::Tty => {
                return Err(Failure::usage(
                    "--progress tty: standard error is no terminal",
                ));
            }
            ProgressArg::Auto => Progress::Plain,
        };
        if self.explain_cache && progress == Progress::Quiet {
            return Err(Failure::usage(
                "--explain-cache: --progress quiet shows nothing",
            ));
        }
        Ok(Results {
            explain_cache: self.explain_cache,
            outputs,
            iidfile: self.iidfile,
            metadata_file: self.metadata_file,
            logfile: self.logfile,
            progress,
        })
    }
}

/// Adds an output that is not asked for yet.
fn add(outputs: &mut Vec<Output>, output: Output) {
    if !outputs.contains(&output) {
        outputs.push(output);
    }
}

/// The URL that a path is. `github.com/…` may be a directory, as docker has it.
fn remote(what: &str, path: &Path) -> Result<Option<RemoteSource>, Failure> {
    let Some(text) = path.to_str().filter(|_| !path.exists()) else {
        return Ok(None);
    };
    RemoteSource::parse(text)
        .map_err(|error| Failure::usage(format!("{what} {text}: cannot {error}")))
}

fn is_dash(path: &Path) -> bool {
    path.as_os_str() == "-"
}

#[cfg(test)]
mod tests;
