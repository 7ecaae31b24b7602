//! Commands about containers that `rbuild run -d` started. The invariant: names, flags and defaults are Podman's.

use runner::StopSignal;

use super::run::variable;
use crate::failure::Failure;
use crate::surroundings::Surroundings;

const PS: &str = "\
Examples:
  rbuild ps                    what runs
  rbuild ps --format json      for programs

A container whose supervisor was killed is gone with it: `ps` says so once.";

/// Arguments of `rbuild ps`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = PS)]
pub(crate) struct PsArgs {
    /// Those too that are being made, or ended
    #[arg(short, long)]
    pub all: bool,
    /// Print ids only
    #[arg(short, long, conflicts_with = "format")]
    pub quiet: bool,
    /// How to write them
    #[arg(long, value_enum, default_value = "table")]
    pub format: PsFormat,
}

/// How `ps` writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum PsFormat {
    /// A table.
    Table,
    /// A list of objects.
    Json,
}

const LOGS: &str = "\
Examples:
  rbuild logs web                  what it wrote; its standard error goes to standard error
  rbuild logs -f --tail 10 web     the last ten lines, and what follows until it ends";

/// Arguments of `rbuild logs`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = LOGS)]
pub(crate) struct LogsArgs {
    /// A name, or the beginning of an id
    #[arg(value_name = "CONTAINER")]
    pub container: String,
    /// Go on until it ends
    #[arg(short, long)]
    pub follow: bool,
    /// Only so many lines of what is there, from its end
    #[arg(long, value_name = "LINES")]
    pub tail: Option<usize>,
    /// Put its time before each line
    #[arg(short, long)]
    pub timestamps: bool,
}

const STOP: &str = "\
Examples:
  rbuild stop web           its stop signal, and SIGKILL after 10 seconds or its own --stop-timeout
  rbuild stop -t 1 web api";

/// Arguments of `rbuild stop`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = STOP)]
pub(crate) struct StopArgs {
    /// Names, or beginnings of ids
    #[arg(value_name = "CONTAINER", required_unless_present = "all")]
    pub containers: Vec<String>,
    /// All of them
    #[arg(short, long, conflicts_with = "containers")]
    pub all: bool,
    /// Kill it after so many seconds
    #[arg(short, long, value_name = "SECONDS")]
    pub time: Option<u32>,
}

const KILL: &str = "\
Examples:
  rbuild kill web            SIGKILL; it is not started again
  rbuild kill -s HUP web     another signal, after which its restart policy holds";

/// Arguments of `rbuild kill`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = KILL)]
pub(crate) struct KillArgs {
    /// Names, or beginnings of ids
    #[arg(value_name = "CONTAINER", required_unless_present = "all")]
    pub containers: Vec<String>,
    /// All of them
    #[arg(short, long, conflicts_with = "containers")]
    pub all: bool,
    /// The signal
    #[arg(short, long, value_name = "SIGNAL", default_value = "KILL")]
    pub signal: StopSignal,
}

const WAIT: &str = "\
Examples:
  rbuild wait web     its exit code, on standard output, when it has ended";

/// Arguments of `rbuild wait`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = WAIT)]
pub(crate) struct WaitArgs {
    /// Names, or beginnings of ids
    #[arg(value_name = "CONTAINER", required = true)]
    pub containers: Vec<String>,
}

const ATTACH: &str = "\
Examples:
  rbuild attach web                          its output from now on, and its standard input
  rbuild attach --detach-keys ctrl-x web     leave it with Ctrl-X instead of Ctrl-P Ctrl-Q

Exit code: the container's own, or 0 after the detach keys.";

/// Arguments of `rbuild attach`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = ATTACH)]
pub(crate) struct AttachArgs {
    /// A name, or the beginning of an id
    #[arg(value_name = "CONTAINER")]
    pub container: String,
    /// Keys of a terminal that leave the container running: letters, and ctrl-LETTER, between commas; empty: none do
    #[arg(long, value_name = "KEYS", default_value = "ctrl-p,ctrl-q")]
    pub detach_keys: String,
    /// Give it no standard input
    #[arg(long)]
    pub no_stdin: bool,
    /// Pass signals on
    #[arg(
        long,
        value_name = "BOOL",
        default_value_t = true,
        action = clap::ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub sig_proxy: bool,
}

const EXEC: &str = "\
Examples:
  rbuild exec web nginx -s reload       a program of the image, confined as the container's own
  rbuild exec -it web sh                with a terminal
  rbuild exec -i web tar -xf - <a.tar   with standard input

Exit code: the program's own, 128 + n after signal n, or 125 (not started), 126 (not executable), 127 (not found).
It ends when this command does.";

/// Arguments of `rbuild exec`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXEC, override_usage = "rbuild exec [OPTIONS] CONTAINER PROGRAM [ARGUMENT]...")]
pub(crate) struct ExecArgs {
    /// A name, or the beginning of an id; then a program and its arguments
    // One list: options after the container are the program's.
    #[arg(
        value_name = "CONTAINER PROGRAM [ARGUMENT]",
        required = true,
        num_args = 2..,
        trailing_var_arg = true
    )]
    words: Vec<String>,
    /// Give it standard input
    #[arg(short, long)]
    interactive: bool,
    /// Give it a terminal
    #[arg(short, long)]
    tty: bool,
    /// Set a variable; NAME alone takes it from the environment; repeatable
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Start in this directory [default: the container's]
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// Run as this user of the image [default: the container's]
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
}

impl ExecArgs {
    /// The container, and what is to run in it.
    ///
    /// # Errors
    /// The first argument that makes no sense.
    pub(crate) fn settings(
        self,
        here: &Surroundings,
    ) -> Result<(String, runner::ExecRequest), Failure> {
        let mut words = self.words.into_iter();
        let container = words.next().unwrap_or_default();
        let variables = self.env.iter().map(|text| variable(text, here));
        let variables: Result<Vec<_>, _> = variables.collect();
        if let Some(workdir) = self.workdir.as_ref().filter(|path| !path.starts_with('/')) {
            return Err(Failure::usage(format!(
                "-w {workdir}: the directory must be absolute"
            )));
        }
        let request = runner::ExecRequest {
            argv: words.collect(),
            env: variables?.into_iter().flatten().collect(),
            workdir: self.workdir,
            user: self.user,
            stdin: self.interactive,
            terminal: self.tty,
        };
        Ok((container, request))
    }
}
