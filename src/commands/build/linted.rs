//! The linter before a build, and in the place of one. The invariant: what the builder says by itself (its checks, and the user policy)
//! is not said twice; but for `check=error=true` and `--check`, no finding keeps anything from being built.

use containerfile::lint::Report;
use containerfile::{Check, CheckError, Diagnostic, Severity, Source};

use super::Build;
use crate::commands::containerfile::Inputs;
use crate::commands::lint;
use crate::failure::{Failure, Kind};
use crate::show::{self, Finding, Progress};
use crate::stdout::print;

/// BuildKit's build argument with the value of a `check` directive, which it replaces.
const ARGUMENT: &str = "BUILDKIT_DOCKERFILE_CHECK";

/// What the user policy decides about.
const POLICY: [&str; 5] = ["RB101", "RB102", "RB103", "RB104", "RB105"];

impl Build<'_> {
    /// Tells in one line that the linter has something to say; to programs it says all of it.
    pub(super) fn lint(&self, inputs: &Inputs) -> Result<(), Failure> {
        if !self.settings.lint {
            return Ok(());
        }
        let source = &inputs.containerfile;
        // A value that cannot be read is the builder's to tell.
        let report = self.linted(inputs, self.asked().unwrap_or(None))?;
        let found: Vec<Diagnostic> = report.findings.into_iter().filter(is_news).collect();
        if found.is_empty() {
            return Ok(());
        }
        let said = lint::counted(&found);
        match self.progress() {
            Progress::Json => self.tell(source, &found),
            Progress::Plain | Progress::Tty if report.warnings_fail => {
                show::eprint(&show::diagnostics(source, &found, self.here.colour()));
            }
            Progress::Plain | Progress::Tty => self.notice(format!(
                "the linter has {said}; `rbuild build --check` shows them"
            )),
            Progress::Quiet => {}
        }
        match report.warnings_fail {
            true => Err(Failure::failed(format!(
                "pass the linter: it has {said}, and error=true was asked for"
            ))),
            false => Ok(()),
        }
    }

    /// Shows all that the linter finds, and builds nothing.
    pub(super) fn check(&self, inputs: &Inputs) -> Result<(), Failure> {
        let source = &inputs.containerfile;
        let asked = self.asked().map_err(|error| {
            let message = format!("read --build-arg {ARGUMENT}: cannot {error}");
            Failure::usage(message).hint(CheckError::HELP)
        })?;
        let report = self.linted(inputs, asked)?;
        let found = &report.findings;
        match self.progress() {
            Progress::Json => self.tell(source, found),
            Progress::Quiet => {}
            Progress::Plain | Progress::Tty => {
                print(&show::diagnostics(source, found, self.here.colour()))?;
                show::eprint(&format!("{}\n", lint::counted(found)));
            }
        }
        match found
            .iter()
            .any(|found| found.severity >= Severity::Warning)
        {
            true => Err(Failure::silent(Kind::Failed.code())),
            false => Ok(()),
        }
    }

    fn linted(&self, inputs: &Inputs, asked: Option<Check>) -> Result<Report, Failure> {
        let ignore = inputs.ignore.as_ref().map(|(_, text)| text.as_str());
        let contexts = self.settings.sources.named.keys().cloned().collect();
        lint::of_build(&inputs.containerfile, ignore, contexts, asked)
    }

    /// What the build argument asks for.
    fn asked(&self) -> Result<Option<Check>, CheckError> {
        let value = self.settings.image.build_args.get(ARGUMENT);
        value.map(|value| value.parse()).transpose()
    }

    fn tell(&self, source: &Source, found: &[Diagnostic]) {
        for one in found {
            self.display.find(&Finding::of(source, one));
        }
    }
}

/// What a build does not say by itself, and more than a note. BuildKit's checks are the builder's.
fn is_news(found: &Diagnostic) -> bool {
    let own = found.rule.is_some_and(|rule| {
        (rule.starts_with("RB") || rule.starts_with("DL"))
            && !POLICY.contains(&rule)
            && rule != "RB000"
    });
    own && found.severity >= Severity::Warning
}
