//! Steps of platforms that are not this machine's. The invariant: whether the machine can execute them is known before the first
//! step is done, and is said at the line that asks for it.

use std::path::PathBuf;

use containerfile::{Diagnostic, Span};
use image::Platform;
use sandbox::{Emulator, EmulatorError};

use crate::error::BuildError;
use crate::graph::PlannedStage;
use crate::job::{Job, StepFailure};
use crate::step::{Label, StepKind};

/// The emulators that a job's RUN steps need.
pub(crate) fn emulators(job: &Job, program_dirs: &[PathBuf]) -> Result<Vec<Emulator>, BuildError> {
    let machine = Platform::host();
    let mut found: Vec<Emulator> = Vec::new();
    for stage in &job.stages {
        let platform = stage.config.platform();
        let Some(label) = first_run(stage) else {
            continue;
        };
        let known = |emulator: &Emulator| emulator.architecture == platform.architecture;
        if platform.is_native_to(&machine) || found.iter().any(known) {
            continue;
        }
        match Emulator::find(&platform.architecture, program_dirs) {
            Ok(emulator) => found.push(emulator),
            Err(error) => return Err(refuse(&error, &platform, &machine, label)),
        }
    }
    Ok(found)
}

fn first_run(stage: &PlannedStage) -> Option<&Label> {
    let mut runs = stage
        .steps
        .iter()
        .filter(|planned| matches!(planned.step.kind, StepKind::Run(_)));
    runs.next().map(|planned| &planned.label)
}

fn refuse(
    error: &EmulatorError,
    platform: &Platform,
    machine: &Platform,
    label: &Label,
) -> BuildError {
    let span = label
        .span
        .map_or(Span::default(), |(start, end)| Span::new(start, end));
    let message = format!("RUN for {platform} on this {machine} machine: cannot {error}");
    let mut diagnostic = Diagnostic::error(span, message);
    diagnostic.help = error.remedy().map(str::to_owned);
    BuildError::Emulator(Box::new(diagnostic))
}

/// What the session could not register.
pub(crate) fn unregistered(error: &EmulatorError) -> StepFailure {
    let failure = StepFailure::of_build(error);
    match error.remedy() {
        Some(remedy) => failure.hint(remedy),
        None => failure,
    }
}
