//! `rbuild lint`. The invariant: nothing but the named files, what stands beside them and, where images are asked for, the store is
//! read; only `--fix` writes.

mod baseline;
mod config;
pub(super) mod diff;
mod files;
pub(super) mod formats;
mod images;
mod neighbours;
mod shellcheck;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

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
pub(super) use shellcheck::ShellCheck;

/// One file, and what is found in it.
struct Examined {
    source: Source,
    report: Report,
}

/// Examines Containerfiles or images, or says what rules there are. The store is asked for only where images are.
pub(super) fn lint(
    args: &LintArgs,
    place: &dyn Fn() -> Result<PathBuf, Failure>,
    here: &Surroundings,
) -> Result<(), Failure> {
    if let Some(name) = &args.explain {
        return explain(name);
    }
    if args.list {
        return list();
    }
    let mut configs = Configs::new(args.config.as_deref())?;
    let mut examined = match args.image.as_slice() {
        [] => in_files(args, &mut configs, place, here)?,
        names => images::examine(names, args, &configs.of(&Input::Stdin)?, place)?,
    };
    let baseline = args.baseline.as_deref().map(Baseline::read).transpose()?;
    if let Some(path) = &args.write_baseline {
        Baseline::write(path, &examined)?;
        show::note(&format!(
            "{}: {}",
            path.display(),
            summary(&examined, args.image.is_empty()).trim_end()
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
        show::eprint(&summary(&examined, args.image.is_empty()));
    }
    match examined.iter().any(|one| fails(one, args.fail_on)) {
        true => Err(Failure::silent(Kind::Failed.code())),
        false => Ok(()),
    }
}

/// What is found in the files that the arguments name, after the fixes where these are wanted.
fn in_files(
    args: &LintArgs,
    configs: &mut Configs,
    place: &dyn Fn() -> Result<PathBuf, Failure>,
    here: &Surroundings,
) -> Result<Vec<Examined>, Failure> {
    let inputs = files::find(&args.paths, args.stdin)?;
    if args.fix && inputs.contains(&Input::Stdin) {
        return Err(
            Failure::usage("--fix changes files, and standard input is none")
                .hint("rbuild lint --diff - prints what it would change"),
        );
    }
    let mut examiner = Examiner {
        neighbours: Neighbours::default(),
        bases: match args.with_images {
            true => Some(images::Bases::new(&place()?, args)?),
            false => None,
        },
        shellcheck: (!args.no_shellcheck)
            .then(|| ShellCheck::find(here))
            .flatten(),
    };
    let mut read = Vec::with_capacity(inputs.len());
    for input in inputs {
        let config = configs.of(&input)?;
        read.push(Read::new(input, config)?);
    }
    let mut examined = examiner.examine(&read)?;
    if args.fix {
        for (one, read) in examined.iter_mut().zip(read) {
            *one = mend(read, one, &mut examiner)?;
        }
    }
    if let Some(bases) = examiner.bases {
        bases.tell_absent();
    }
    Ok(examined)
}

fn explain(name: &str) -> Result<(), Failure> {
    if let (None, Some(link)) = (lint::rule(name), lint::id(name).and_then(lint::link)) {
        return print(&format!("{link}\n"));
    }
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

/// A file that was read, and what counts for it.
struct Read {
    input: Input,
    config: Config,
    source: Source,
    /// Why it is no text.
    problem: Option<Diagnostic>,
}

impl Read {
    fn new(input: Input, config: Config) -> Result<Self, Failure> {
        let (text, problem) = match input.read()? {
            Text::Good(text) => (text, None),
            Text::Bad(text, problem) => (text, Some(*problem)),
        };
        let source = Source::new(input.name(), text);
        Ok(Self {
            input,
            config,
            source,
            problem,
        })
    }

    /// Whether its scripts are wanted to be examined, too.
    fn has_scripts(&self) -> bool {
        self.problem.is_none() && self.config.shellcheck != Some(false)
    }
}

/// What helps to examine texts.
struct Examiner {
    neighbours: Neighbours,
    bases: Option<images::Bases>,
    shellcheck: Option<ShellCheck>,
}

impl Examiner {
    /// All at once, so that ShellCheck is started a few times only.
    fn examine(&mut self, read: &[Read]) -> Result<Vec<Examined>, Failure> {
        let sources: Vec<&Source> = read
            .iter()
            .filter(|one| one.has_scripts())
            .map(|one| &one.source)
            .collect();
        let found = self
            .shellcheck
            .as_ref()
            .map(|shellcheck| shellcheck.ask(&sources));
        let mut found = found.into_iter().flatten();
        let mut examined = Vec::with_capacity(read.len());
        for one in read {
            let shell = one.has_scripts().then(|| found.next().flatten()).flatten();
            let report = match &one.problem {
                Some(problem) => Report {
                    findings: vec![problem.clone()],
                    warnings_fail: false,
                },
                None => self.report(&one.source, &one.input, &one.config, shell)?,
            };
            let source = one.source.clone();
            examined.push(Examined { source, report });
        }
        Ok(examined)
    }

    /// What is found in a text; `shell` is what ShellCheck says of it.
    fn report(
        &mut self,
        source: &Source,
        input: &Input,
        config: &Config,
        shell: Option<Vec<Diagnostic>>,
    ) -> Result<Report, Failure> {
        let ignore = match input {
            Input::File(path) => ignore_beside(path)?,
            Input::Stdin => None,
        };
        let ignore = ignore.and_then(|(_, text)| IgnoreFile::parse(&text).ok());
        let options = Options {
            neighbours: self.neighbours.of(input, source.text()),
            images: match &mut self.bases {
                Some(bases) => bases.of(source)?,
                None => BTreeMap::new(),
            },
            shell,
            ..options(config, ignore)
        };
        Ok(lint::lint(source, &options))
    }
}

/// What is found in a text that an editor holds; `path` is the file that it belongs to, if there is one. What is wrong with the
/// configuration, for which the usual one counts, is the second part.
pub(super) fn in_editor(
    source: &Source,
    path: Option<PathBuf>,
    config: Option<&Path>,
    shellcheck: Option<&ShellCheck>,
) -> (Report, Option<Failure>) {
    let input = path.map_or(Input::Stdin, Input::File);
    let mut examiner = Examiner {
        neighbours: Neighbours::default(),
        bases: None,
        shellcheck: None,
    };
    let found = Configs::new(config)
        .and_then(|mut configs| configs.of(&input))
        .and_then(|config| {
            let wanted = shellcheck.filter(|_| config.shellcheck != Some(false));
            let shell = wanted.and_then(|shellcheck| shellcheck.ask(&[source]).pop().flatten());
            examiner.report(source, &input, &config, shell)
        });
    match found {
        Ok(report) => (report, None),
        Err(failure) => (lint::lint(source, &Options::default()), Some(failure)),
    }
}

/// Makes the fixes and looks again.
fn mend(read: Read, before: &Examined, examiner: &mut Examiner) -> Result<Examined, Failure> {
    let text = before.source.text();
    let fixes = lint::fixes(text, &before.report.findings);
    let unchanged = || Examined {
        source: before.source.clone(),
        report: before.report.clone(),
    };
    let Input::File(path) = &read.input else {
        return Ok(unchanged());
    };
    if fixes.is_empty() {
        return Ok(unchanged());
    }
    files::replace(path, &lint::fixed(text, &fixes))?;
    show::note(&format!(
        "{}: {}",
        read.input.name(),
        count(fixes.len(), "fix", "fixes")
    ));
    let again = Read::new(read.input, read.config)?;
    examiner
        .examine(&[again])?
        .pop()
        .map_or_else(|| Ok(unchanged()), Ok)
}

/// `# check=error=true` is as good as `--fail-on warning`, where that is less strict.
fn fails(one: &Examined, fail_on: FailOn) -> bool {
    let own = |found: &Diagnostic| one.report.warnings_fail && found.severity >= Severity::Warning;
    let fails = |found: &Diagnostic| {
        fail_on.fails(found.severity) || (own(found) && fail_on != FailOn::None)
    };
    one.report.findings.iter().any(fails)
}

fn summary(examined: &[Examined], files: bool) -> String {
    let found = counted(examined.iter().flat_map(|one| &one.report.findings));
    let (one, many) = if files {
        ("file", "files")
    } else {
        ("image", "images")
    };
    format!("{found} in {}\n", count(examined.len(), one, many))
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
