//! The command line: raw arguments, as typed by the user, and their conversion to validated settings.
//!
//! Each command has one file with two types: `…Args`, which clap fills in, and the settings that the command works with; one
//! conversion leads from the first to the second. The invariant: commands see settings only. A new flag is a field in the first
//! type, one in the second, a line in the conversion and a test below it.

mod annotation;
pub(crate) mod build;
mod capability;
pub(crate) mod closure;
pub(crate) mod containers;
mod csv;
pub(crate) mod debug;
mod default_command;
pub(crate) mod distroless;
pub(crate) mod host;
pub(crate) mod init;
pub(crate) mod limits;
pub(crate) mod lint;
pub(crate) mod login;
pub(crate) mod look;
pub(crate) mod lsp;
pub(crate) mod manifest;
pub(crate) mod outline;
pub(crate) mod output;
pub(crate) mod quadlet;
pub(crate) mod registry;
pub(crate) mod run;
pub(crate) mod secret;
mod size;
pub(crate) mod store;
pub(crate) mod test;
pub(crate) mod transfer;
mod ulimit;
pub(crate) mod volume;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use capability::capabilities;
pub(crate) use default_command::CommandLine;

/// Rootless container image builds with a distroless and static focus.
#[derive(Debug, Parser)]
#[command(
    name = "rbuild",
    version,
    max_term_width = 100,
    disable_help_subcommand = true,
    subcommand_required = true,
    arg_required_else_help = true,
    override_usage = "rbuild [OPTIONS] [CONTEXT]\n       rbuild COMMAND [ARGUMENTS]",
    after_help = TOP_HELP
)]
pub(crate) struct Cli {
    /// What comes before or after the command
    #[command(flatten)]
    pub global: Global,
    /// The command
    #[command(subcommand)]
    pub command: Command,
}

/// Understands the arguments.
///
/// # Errors
/// What is wrong with them, or what `--help` and `--version` answer.
pub(crate) fn parse(line: CommandLine) -> Result<Cli, clap::Error> {
    // The options of `build` take longer to list than a container to get its namespaces. What is no proper `run` is
    // answered by the whole definition.
    if line.is_run
        && let Ok(cli) = RunCli::try_parse_from(&line.words)
    {
        let RunCommand::Run(run) = cli.command;
        return Ok(Cli {
            global: cli.global,
            command: Command::Run(run),
        });
    }
    Cli::try_parse_from(line.words)
}

/// [`Cli`], as far as `run` needs it.
#[derive(Debug, Parser)]
struct RunCli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: RunCommand,
}

#[derive(Debug, Subcommand)]
enum RunCommand {
    Run(Box<run::RunArgs>),
}

const TOP_HELP: &str = "\
Without a command, `rbuild` builds: `rbuild -f Containerfile .` is `rbuild build -f Containerfile .`

Examples:
  rbuild -f Containerfile -t hello .     build an image from the current directory
  rbuild run hello                       run it, its user being you outside
  rbuild doctor                          say what this machine lacks, and the commands that mend it

Exit codes: 0 done, 1 a step failed or something was found, 2 usage, 3 host not ready, 4 registry;
`run` passes on the container's code, or 125 (not started), 126 (not executable), 127 (not found).";

/// Which ids a session has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum UsernsMode {
    /// Subordinate ids where they are, else the caller's own.
    #[default]
    Auto,
    /// Subordinate ids.
    Subids,
    /// The caller's own id.
    Single,
}

/// Options of every command.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// The directory of the store [env: RBUILD_ROOT] [default: ~/.local/share/rbuild, root: /var/lib/rbuild]
    #[arg(long, global = true, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// Whose ids namespaces get: subids takes subordinate ids and says what is missing for them, single does with your own id, auto
    /// takes subordinate ids where they are
    #[arg(
        long,
        global = true,
        value_name = "MODE",
        value_enum,
        default_value_t,
        hide_possible_values = true
    )]
    pub userns_mode: UsernsMode,
    /// Say more about what is done; twice for everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Build an image from a Containerfile
    Build(Box<build::BuildArgs>),
    /// Write a Containerfile and all that belongs to it, from a template
    Init(init::InitArgs),
    /// Propose a Containerfile whose image is made from scratch, and prove that it does the same
    Distroless(distroless::DistrolessArgs),
    /// List the targets, arguments, secrets and sources of a Containerfile
    Outline(outline::OutlineArgs),
    /// Examine Containerfiles for what fails, or is unsafe, without root
    Lint(lint::LintArgs),
    /// Answer an editor, as a language server
    Lsp(lsp::LspArgs),
    /// Run a container of an image
    Run(Box<run::RunArgs>),
    /// Say whether an image runs rootless, and run structure tests
    Test(Box<test::TestArgs>),
    /// List the containers that run in the background
    Ps(containers::PsArgs),
    /// Show what a container in the background wrote
    Logs(containers::LogsArgs),
    /// Run a program in a container in the background
    Exec(containers::ExecArgs),
    /// Take part in a container in the background
    Attach(containers::AttachArgs),
    /// Have containers in the background end
    Stop(containers::StopArgs),
    /// Send containers in the background a signal
    Kill(containers::KillArgs),
    /// Wait for the end of containers in the background
    Wait(containers::WaitArgs),
    /// Make, list and remove named volumes
    Volume(volume::VolumeArgs),
    /// Write a unit of Podman's Quadlet for an image
    Quadlet(Box<quadlet::QuadletArgs>),
    /// List the images of the store
    Images(store::ImagesArgs),
    /// Show an image's configuration, layers or files
    Inspect(store::InspectArgs),
    /// Say what programs need to start: their loader, their libraries, and why
    Closure(closure::ClosureArgs),
    /// Say what the bytes of an image are for, and hold it to a budget
    Size(look::SizeArgs),
    /// Say why a file is in an image
    Why(look::WhyArgs),
    /// Say what differs between two images
    Diff(look::DiffArgs),
    /// Write what an image is made of, as SPDX or CycloneDX
    Sbom(look::SbomArgs),
    /// Remove images or their names
    Rmi(store::RmiArgs),
    /// Delete what no image uses
    Prune(store::PruneArgs),
    /// Look after the whole store
    System(store::SystemArgs),
    /// Fetch an image from a registry
    Pull(registry::PullArgs),
    /// Send an image of the store to a registry, or somewhere else
    Push(Box<transfer::PushArgs>),
    /// Copy an image between registries, layouts, archives, directories and the store
    Copy(Box<transfer::CopyArgs>),
    /// Say whether an image is signed with a key
    Verify(transfer::VerifyArgs),
    /// List the tags of a repository
    Tags(transfer::TagsArgs),
    /// Make and send indexes: one name for the images of several platforms
    Manifest(manifest::ManifestArgs),
    /// Note the password of a registry
    Login(login::LoginArgs),
    /// Forget the password of a registry
    Logout(login::LogoutArgs),
    /// Examine this machine and say what is missing, with the commands that mend it
    Doctor(host::DoctorArgs),
    /// Run a command, or a shell, with the ids of the store
    Unshare(host::UnshareArgs),
    /// Write a completion script for a shell to standard output
    Completions(debug::CompletionsArgs),
    /// Write manual pages
    #[command(hide = true)]
    Man(debug::ManArgs),
    /// Look into the parts of rbuild
    #[command(hide = true)]
    Debug(debug::DebugArgs),
}

#[cfg(test)]
pub(crate) mod tests {
    use clap::CommandFactory as _;

    use super::*;

    /// Parses what stands after `rbuild`.
    pub(crate) fn parse(line: &str) -> Result<Cli, clap::Error> {
        let args = std::iter::once("rbuild")
            .chain(line.split_whitespace())
            .map(Into::into)
            .collect();
        super::parse(CommandLine::of(args))
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_examples_in_its_help() {
        for command in Cli::command()
            .get_subcommands()
            .filter(|command| !command.is_hide_set())
        {
            let help = command.clone().render_long_help().to_string();
            assert!(
                help.contains("Examples:"),
                "{} has none",
                command.get_name()
            );
        }
    }

    #[test]
    fn every_option_is_explained() {
        for command in Cli::command().get_subcommands() {
            for arg in command.get_arguments() {
                assert!(
                    arg.get_help().is_some(),
                    "{} {} has no help",
                    command.get_name(),
                    arg.get_id()
                );
            }
        }
    }
}
