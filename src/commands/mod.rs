//! One command, one file: take the settings, call one library function, print. The invariant: a command returns its failure and
//! prints none; what it prints on standard output is data.

mod attach;
mod build;
mod closure;
mod completions;
mod containerfile;
mod debug;
mod diff;
mod distroless;
mod doctor;
mod drill;
mod exec;
mod images;
mod init;
mod inspect;
mod inspect_remote;
mod keys;
mod lint;
mod login;
mod logs;
mod lsp;
mod man;
mod manifest;
mod metadata;
mod named_registry;
mod opened;
mod outline;
mod prune;
mod ps;
mod pull;
mod quadlet;
mod ready;
mod referrers;
mod rmi;
mod run;
mod sbom;
mod secrets;
mod service;
mod size;
mod stop;
mod system;
pub(crate) mod templates;
mod test;
mod transfer;
mod unshare;
mod verify;
mod volume;
mod why;

use std::process::ExitCode;

use clap::error::ErrorKind;

use crate::args::{self, Cli, Command, CommandLine};
use crate::failure::Failure;
use crate::surroundings::Surroundings;
use crate::{show, stdout};

/// What can be done inside the session: the main process re-executes itself for each.
pub(crate) const SESSION_ENTRIES: &[sandbox::Entry] = &[
    (builder::ENTRY, builder::session_entry),
    (builder::PRUNE_ENTRY, builder::prune_entry),
    (builder::UNPACK_ENTRY, builder::unpack_entry),
    (builder::check::CHECK_ENTRY, builder::check::check_entry),
    (runner::ENTRY, runner::session_entry),
    (runner::SWEEP_ENTRY, runner::sweep_entry),
    (runner::volume::VOLUME_ENTRY, runner::volume::volume_entry),
    unshare::ENTRY,
    doctor::ENTRY,
    (sandbox::drill::ENTRY, sandbox::drill::session_entry),
];

/// The whole program.
pub(crate) fn main() -> ExitCode {
    let line = CommandLine::of(std::env::args_os().collect());
    let mut here = Surroundings::look();
    let cli = match args::parse(line) {
        Ok(cli) => cli,
        Err(error) => return explain(&error),
    };
    trace(cli.global.verbose);
    here.userns_mode = cli.global.userns_mode;
    match perform(cli, &here) {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

/// A question (`--help`) is answered on standard output, a mistake on standard error.
fn explain(error: &clap::Error) -> ExitCode {
    let text = error.render();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            match stdout::print(&text.to_string()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(failure) => failure.report(),
            }
        }
        _ => {
            show::eprint(&text.to_string());
            ExitCode::from(crate::failure::Kind::Usage.code())
        }
    }
}

fn trace(verbose: u8) {
    let level = match verbose {
        0 => return,
        1 => tracing::Level::DEBUG,
        _ => tracing::Level::TRACE,
    };
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .without_time()
        .finish();
    // It fails only when there is one already, and this is the first.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

fn perform(cli: Cli, here: &Surroundings) -> Result<ExitCode, Failure> {
    let place = || here.store_path(cli.global.root.as_deref());
    match cli.command {
        Command::Build(args) => build::build(args.settings(here)?, &place()?, here)?,
        Command::Init(args) => init::init(args.settings(&here.directory)?)?,
        Command::Distroless(args) => {
            distroless::distroless(&args, &cli.global, &place()?, here)?;
        }
        Command::Outline(args) => outline::outline(&args)?,
        Command::Lint(args) => lint::lint(&args, &place, here)?,
        Command::Lsp(args) => return lsp::lsp(&args, here),
        Command::Run(args) => {
            let settings = args.settings(here)?;
            return match settings.drill {
                Some(format) => drill::drill(format, &place()?, here),
                None => run::run(settings, &place()?, here),
            };
        }
        Command::Test(args) => return test::test(&args, &place()?, here),
        Command::Ps(args) => ps::ps(&args, here)?,
        Command::Logs(args) => logs::logs(&args, here)?,
        Command::Exec(args) => return exec::exec(args, here),
        Command::Attach(args) => return attach::attach(&args, here),
        Command::Stop(args) => stop::stop(&args, here)?,
        Command::Kill(args) => stop::kill(&args, here)?,
        Command::Wait(args) => stop::wait(&args, here)?,
        Command::Volume(args) => volume::volume(&args, &place()?, here)?,
        Command::Quadlet(args) => quadlet::quadlet(*args, &place, here)?,
        Command::Images(args) => images::images(&args, &place()?)?,
        Command::Inspect(args) => match args.remote(here)? {
            Some(remote) if args.referrers => referrers::of_registry(&args, &remote)?,
            Some(remote) => inspect_remote::inspect(&args, &remote)?,
            None if args.referrers => referrers::of_store(&args, &place()?)?,
            None => inspect::inspect(&args, &place()?)?,
        },
        Command::Closure(args) => {
            let root = cli.global.root.as_deref();
            return closure::closure(&args.source(root, here)?, &args);
        }
        Command::Size(args) => size::size(&args, &place()?)?,
        Command::Why(args) => why::why(&args, &place()?)?,
        Command::Diff(args) => return diff::diff(&args, &place()?),
        Command::Sbom(args) => sbom::sbom(&args, &place()?)?,
        Command::Rmi(args) => rmi::rmi(&args, &place()?)?,
        Command::Prune(args) => prune::prune(&args, &place()?, here)?,
        Command::System(args) => return system::system(&args, &place()?, here),
        Command::Pull(args) => pull::pull(&args.settings(here)?, &place()?, here)?,
        Command::Push(args) => transfer::copy(&args.settings(here)?, &place()?, here)?,
        Command::Copy(args) => transfer::copy(&args.settings(here)?, &place()?, here)?,
        Command::Verify(args) => verify::verify(&args.settings(here)?)?,
        Command::Tags(args) => transfer::tags(&args.settings(here)?)?,
        Command::Manifest(args) => manifest::manifest(*args.settings(here)?, &place()?, here)?,
        Command::Login(args) => login::log_in(&args.settings(here)?)?,
        Command::Logout(args) => login::log_out(&args.settings(here)?)?,
        Command::Doctor(args) => return doctor::doctor(&args, &place()?, here),
        Command::Unshare(args) => return unshare::unshare(args, &place()?, here),
        Command::Completions(args) => completions::completions(&args)?,
        Command::Man(args) => man::man(&args)?,
        Command::Debug(args) => debug::debug(args)?,
    }
    Ok(ExitCode::SUCCESS)
}
