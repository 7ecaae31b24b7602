//! `rbuild lint`. The invariant: nothing but the named files, and what stands beside them, is read; only `--fix` writes.

mod baseline;
mod config;
mod diff;
mod files;
mod formats;
mod neighbours;

use std::collections::BTreeSet;
use std::path::Path;

use containerfile::ignore::IgnoreFile;
use containerfile::lint::{self, Options, Report};
use containerfile::{Check, Diagnostic, Severity, Source};

use super::containerfile::ignore_beside;
use crate::args::lint::{FailOn, LintArgs, LintFormat};
use crate::failure::{Failure, Kind};
use crate::show;
use crate::stdout::{print, table};
use crate::surroundings::Surroundings;
use baseline::Baseline;
use config::{Config, Configs};
use files::{Input, Text};
use neighbours::Neighbours;

/// One file, and what is found in it.
struct Examined {
    source: Source,
    report: Report,
}

/// Examines Containerfiles, or says what rules there are.
pub(super) fn lint(args: &LintArgs, here: &Surroundings) -> Result<(), Failure> {
    if let Some(name) = &args.explain {
        return explain(name);
    }
    if args.list {
        return list();
    }
    let inputs = files::find(&args.paths, args.stdin)?;
    if args.fix && inputs.contains(&Input::Stdin) {
        return Err(
            Failure::usage("--fix changes files, and standard input is none")
                .hint("rbuild lint --diff - prints what it would change"),
        );
    }
    let mut configs = Configs::new(args.config.as_deref())?;
    let baseline = args.baseline.as_deref().map(Baseline::read).transpose()?;
    let mut neighbours = Neighbours::default();
    let mut examined = Vec::with_capacity(inputs.len());
    for input in &inputs {
        let config = configs.of(input)?;
        let mut one = examine(input, &config, &mut neighbours)?;
        if args.fix && mend(input, &one)? {
            one = examine(input, &config, &mut neighbours)?;
        }
        examined.push(one);
    }
    if let Some(path) = &args.write_baseline {
        Baseline::write(path, &examined)?;
        show::note(&format!(
            "{}: {}",
            path.display(),
            summary(&examined).trim_end()
        ));
        return Ok(());
    }
    if let Some(baseline) = baseline {
        baseline.apply(&mut examined);
    }
    let text = match args.diff {
        true => examined
            .iter()
            .map(|one| diff::unified(&one.source, &one.report.findings))
            .collect(),
        false => formats::render(
            args.format,
            &examined,
            here.stdout_is_terminal && here.colour(),
        ),
    };
    print(&text)?;
    if args.format == LintFormat::Tty && !args.diff {
        show::eprint(&summary(&examined));
    }
    match examined.iter().any(|one| fails(one, args.fail_on)) {
        true => Err(Failure::silent(Kind::Failed.code())),
        false => Ok(()),
    }
}

fn explain(name: &str) -> Result<(), Failure> {
    let Some(rule) = lint::rule(name) else {
        return Err(Failure::usage(format!("find a rule called {name:?}"))
            .hint("`rbuild lint --list` lists them"));
    };
    print(&lint::page(rule))
}

fn list() -> Result<(), Failure> {
    let head = ["RULE", "SEVERITY", "ALSO", "REPORTS"]
        .map(str::to_owned)
        .to_vec();
    let rows = lint::rules().iter().map(|rule| {
        vec![
            rule.id.to_owned(),
            formats::word(rule.severity).to_owned(),
            rule.aliases.join(","),
            rule.title.to_owned(),
        ]
    });
    print(&table(
        &std::iter::once(head).chain(rows).collect::<Vec<_>>(),
    ))
}

fn examine(
    input: &Input,
    config: &Config,
    neighbours: &mut Neighbours,
) -> Result<Examined, Failure> {
    let text = input.read()?;
    let name = input.name();
    let (text, problem) = match text {
        Text::Good(text) => (text, None),
        Text::Bad(text, problem) => (text, Some(*problem)),
    };
    let source = Source::new(name, text);
    if let Some(problem) = problem {
        let findings = vec![problem];
        let report = Report {
            findings,
            warnings_fail: false,
        };
        return Ok(Examined { source, report });
    }
    let ignore = match input {
        Input::File(path) => ignore_beside(path)?,
        Input::Stdin => None,
    };
    let ignore = ignore.and_then(|(_, text)| IgnoreFile::parse(&text).ok());
    let options = Options {
        neighbours: neighbours.of(input, source.text()),
        ..options(config, ignore)
    };
    let report = lint::lint(&source, &options);
    Ok(Examined { source, report })
}

/// What the linter finds in the Containerfile of a build; `check` replaces the file's own directive.
pub(super) fn of_build(
    source: &Source,
    ignore: Option<&str>,
    contexts: BTreeSet<String>,
    check: Option<Check>,
) -> Result<Report, Failure> {
    let path = Path::new(source.name());
    let config = Configs::new(None)?.of(&Input::File(path.to_owned()))?;
    let ignore = ignore.and_then(|text| IgnoreFile::parse(text).ok());
    let options = Options {
        contexts,
        check,
        ..options(&config, ignore)
    };
    Ok(lint::lint_containerfile(source, &options))
}

fn options(config: &Config, ignore: Option<IgnoreFile>) -> Options {
    Options {
        // A malformed one is what the build says something about.
        ignore,
        severities: config.severities.clone(),
        trusted_registries: config.trusted_registries.clone(),
        labels: config.labels.clone(),
        strict_labels: config.strict_labels,
        limits: config.limits,
        ..Options::default()
    }
}

/// Makes the fixes; whether there were any.
fn mend(input: &Input, before: &Examined) -> Result<bool, Failure> {
    let text = before.source.text();
    let fixes = lint::fixes(text, &before.report.findings);
    let Input::File(path) = input else {
        return Ok(false);
    };
    if fixes.is_empty() {
        return Ok(false);
    }
    files::replace(path, &lint::fixed(text, &fixes))?;
    show::note(&format!(
        "{}: {}",
        input.name(),
        count(fixes.len(), "fix", "fixes")
    ));
    Ok(true)
}

/// `# check=error=true` is as good as `--fail-on warning`, where that is less strict.
fn fails(one: &Examined, fail_on: FailOn) -> bool {
    let own = |found: &Diagnostic| one.report.warnings_fail && found.severity >= Severity::Warning;
    let fails = |found: &Diagnostic| {
        fail_on.fails(found.severity) || (own(found) && fail_on != FailOn::None)
    };
    one.report.findings.iter().any(fails)
}

fn summary(examined: &[Examined]) -> String {
    let found = counted(examined.iter().flat_map(|one| &one.report.findings));
    format!("{found} in {}\n", count(examined.len(), "file", "files"))
}

/// How many findings of each severity there are.
pub(super) fn counted<'f>(found: impl IntoIterator<Item = &'f Diagnostic>) -> String {
    let severities: Vec<Severity> = found.into_iter().map(|found| found.severity).collect();
    let of = |severity| severities.iter().filter(|one| **one == severity).count();
    let parts = [
        (of(Severity::Error), "error", "errors"),
        (of(Severity::Warning), "warning", "warnings"),
        (of(Severity::Info), "note", "notes"),
    ];
    let parts: Vec<String> = parts
        .into_iter()
        .filter(|(number, ..)| *number > 0)
        .map(|(number, one, many)| count(number, one, many))
        .collect();
    match parts.is_empty() {
        true => "no findings".to_owned(),
        false => parts.join(", "),
    }
}

fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}
