//! Which warnings are wanted, and whether they fail the build: `# check=skip=RULE,…;error=true`, and the build argument
//! BUILDKIT_DOCKERFILE_CHECK, which comes before it. Invariant: what is wrong stays wrong; checks decide about warnings only.

use containerfile::{Check, CheckError, Diagnostic, Parsed, Span};

use super::findings::Findings;
use super::{PlanError, PlanOptions};

/// BuildKit's build argument with the value of a `check` directive.
const ARGUMENT: &str = "BUILDKIT_DOCKERFILE_CHECK";

/// The checks of one file.
#[derive(Clone, Debug)]
pub(super) struct Checks<'a> {
    check: Check,
    /// Where it was asked for.
    place: Span,
    /// What the parser has to say.
    parser: &'a [Diagnostic],
}

impl<'a> Checks<'a> {
    pub(super) fn of(
        parsed: &'a Parsed,
        options: &PlanOptions<'_>,
        findings: &mut Findings,
    ) -> Self {
        let directive = parsed.file.directives.check.clone().unwrap_or_default();
        let mut checks = Self {
            check: directive.value,
            place: directive.span,
            parser: &parsed.diagnostics,
        };
        if let Some(value) = options.build_args.get(ARGUMENT) {
            match value.parse() {
                Ok(check) => checks.check = check,
                Err(error) => findings.push(unreadable(&error)),
            }
        }
        checks
    }

    /// The warnings that are wanted, in the order of the text.
    pub(super) fn apply(&self, planner: Vec<Diagnostic>) -> Result<Vec<Diagnostic>, PlanError> {
        let mut warnings: Vec<Diagnostic> = self.parser.iter().cloned().chain(planner).collect();
        warnings.retain(|found| !found.rule.is_some_and(|rule| self.check.skips(rule)));
        warnings.sort_by_key(|found| found.span);
        let mut rules: Vec<&str> = warnings.iter().filter_map(|found| found.rule).collect();
        rules.sort_unstable();
        rules.dedup();
        if !self.check.error || rules.is_empty() {
            return Ok(warnings);
        }
        let message = format!(
            "checks found {}, and error=true was asked for",
            rules.join(", ")
        );
        let help = format!(
            "mend the places above, or leave rules out: # check=skip={};error=true",
            rules.join(",")
        );
        warnings.push(Diagnostic::error(self.place, message).with_help(help));
        Err(PlanError::Invalid(warnings))
    }
}

fn unreadable(error: &CheckError) -> Diagnostic {
    let message = format!("cannot read --build-arg {ARGUMENT}: cannot {error}");
    Diagnostic::error(Span::default(), message).with_help(CheckError::HELP)
}
