//! `RUN`.
//!
//! Invariant: mount options are checked as far as they can be without variables; what cannot wait for a value is an error here.

use std::error::Error as _;

use super::{Context, command};
use crate::ast::{
    Command, Device, Flag, Mount, NetworkMode, Run, RunCommand, SecurityMode, Spanned, Word,
};
use crate::diagnostics::Diagnostic;
use crate::flags::{Flags, Known, Takes};
use crate::mount;
use crate::suggest::suggestion;

pub(super) const KNOWN: Known = &[
    ("mount", Takes::Values),
    ("network", Takes::Value),
    ("security", Takes::Value),
    ("device", Takes::Values),
];

/// `RUN`.
pub(super) fn run(context: &mut Context<'_, '_>) -> Run {
    let flags = context.flags(KNOWN);
    let mounts = flags
        .named("mount")
        .filter_map(|flag| mount(context, flag))
        .collect();
    let devices = flags
        .named("device")
        .filter_map(|flag| device(context, flag))
        .collect();
    let network = choice(
        context,
        &flags,
        "network",
        &[
            ("default", NetworkMode::Default),
            ("none", NetworkMode::None),
            ("host", NetworkMode::Host),
        ],
    );
    let security = choice(
        context,
        &flags,
        "security",
        &[
            ("sandbox", SecurityMode::Sandbox),
            ("insecure", SecurityMode::Insecure),
        ],
    );
    command::warn_if_empty(context);
    Run {
        mounts,
        network,
        security,
        devices,
        command: run_command(context),
    }
}

fn run_command(context: &mut Context<'_, '_>) -> RunCommand {
    match (command::command(context, context.args()), context.openings) {
        (Command::Exec(words), _) => RunCommand::Exec(words),
        // The opening is the whole command, so the content is.
        (Command::Shell(text), [only]) if only.start == 0 && only.end == text.value.len() => {
            RunCommand::Script(Box::new(context.heredocs[0].clone()))
        }
        (Command::Shell(text), _) => RunCommand::Shell {
            text,
            heredocs: context.heredocs.iter().cloned().collect(),
        },
    }
}

fn choice<T: Copy>(
    context: &mut Context<'_, '_>,
    flags: &Flags<'_>,
    name: &str,
    known: &[(&str, T)],
) -> Option<Spanned<T>> {
    let word = flags.value(name)?;
    if let Some(&(_, value)) = known.iter().find(|(known, _)| *known == word.raw) {
        return Some(Spanned::new(value, word.span));
    }
    let names: Vec<&str> = known.iter().map(|&(name, _)| name).collect();
    let mut diagnostic = Diagnostic::error(
        word.span,
        format!(
            "--{name} is one of {}, not {:?}",
            names.join(", "),
            word.raw
        ),
    );
    if let Some(nearest) = suggestion(&word.raw, names) {
        diagnostic = diagnostic
            .with_help(format!("did you mean {nearest}?"))
            .with_fix(word.span, nearest);
    }
    context.diagnostics.push(diagnostic);
    None
}

fn mount(context: &mut Context<'_, '_>, flag: &Flag) -> Option<Mount> {
    let value = flag.value.as_ref()?;
    match mount::read(value, flag.span, context.escape) {
        Ok(mount) => Some(mount),
        Err(error) => {
            let cause = error
                .source()
                .map_or_else(String::new, |cause| format!(": {cause}"));
            context.error(value.span, format!("--mount: {error}{cause}"));
            None
        }
    }
}

/// `NAME[,required]`.
fn device(context: &mut Context<'_, '_>, flag: &Flag) -> Option<Device> {
    let Word { raw, span } = flag.value.as_ref()?;
    let (mut name, mut required) = (None, false);
    for option in raw.split(',') {
        match option.split_once('=') {
            None if option == "required" => required = true,
            Some(("required", "true" | "1")) => required = true,
            Some(("required", "false" | "0")) => required = false,
            Some(("name", value)) if name.is_none() => name = Some(value.to_owned()),
            // A CDI name may hold `=`: vendor.com/class=device.
            _ if name.is_none() && !option.is_empty() => name = Some(option.to_owned()),
            _ => {
                context.error(*span, format!("--device: unexpected option {option:?}"));
                return None;
            }
        }
    }
    let Some(name) = name else {
        context.error(flag.span, "--device needs the name of a device");
        return None;
    };
    Some(Device {
        name: Spanned::new(name, *span),
        required,
        span: flag.span,
    })
}
