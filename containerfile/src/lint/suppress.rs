//! Comments that excuse findings: `# rbuild ignore=RB103 reason`, hadolint's `# hadolint ignore=DL3006` and `# hadolint global ignore=`,
//! Trivy's `# trivy:ignore:DS002`, ShellCheck's `# shellcheck disable=SC2086` outside of scripts.
//!
//! Invariant: a comment counts for the instruction that it stands in or that comes next, never for what cannot be read at all; rbuild's
//! own ones need a reason, and say when they are of no use.

use crate::ast::{
    Containerfile, CopySource, Heredoc, Instruction, InstructionKind, RunCommand, Span,
};
use crate::diagnostics::Diagnostic;
use crate::source::Source;

use super::Options;
use super::quadlet::Unit;
use super::rules::{UNREADABLE, UNREASONED, UNUSED};
use super::trivy;

/// What stands in the place of a reason that somebody has yet to write.
pub(crate) const NO_REASON: &str = "<why>";

/// A comment that excuses something.
#[derive(Debug)]
struct Ignore {
    rules: Vec<&'static str>,
    /// The instruction that it is for; `None` for the whole file.
    target: Option<Span>,
    place: Span,
    /// Whether it is rbuild's own, which must be of use.
    own: bool,
    used: bool,
}

/// What the comments of a file excuse.
#[derive(Debug, Default)]
pub(super) struct Excuses {
    ignores: Vec<Ignore>,
    /// What is wrong with the comments.
    about: Vec<Diagnostic>,
}

impl Excuses {
    /// Reads the comments.
    pub(super) fn read(source: &Source, targets: &dyn Fn() -> Vec<Target>) -> Self {
        let mut excuses = Self::default();
        let text = source.text();
        if text.contains("ignore") || text.contains("disable=") {
            excuses.ignores = read(source, &targets(), &mut excuses.about);
        }
        excuses
    }

    /// Whether a comment takes this finding away.
    pub(super) fn excuse(&mut self, found: &Diagnostic) -> bool {
        found.rule != Some(UNREADABLE) && excused(found, &mut self.ignores)
    }

    /// What there is to say about the comments when everything else was found; of a broken file not everything was.
    pub(super) fn about_them(self, broken: bool, options: &Options) -> Vec<Diagnostic> {
        let mut about = self.about;
        // What ShellCheck was not asked about it cannot have found.
        let asked = |ignore: &&Ignore| {
            options.shell.is_some() || !ignore.rules.iter().all(|id| id.starts_with("SC"))
        };
        let unused = self
            .ignores
            .iter()
            .filter(|ignore| !broken && ignore.own && !ignore.used)
            .filter(asked);
        about.extend(unused.map(|ignore| {
            let message = "nothing is found here that this comment ignores";
            Diagnostic::warning(UNUSED, ignore.place, message).with_help("remove it")
        }));
        about.retain_mut(|found| {
            match found.rule.and_then(|rule| options.severities.get(rule)) {
                Some(None) => return false,
                Some(Some(severity)) => found.severity = *severity,
                None => {}
            }
            true
        });
        about
    }
}

fn excused(found: &Diagnostic, ignores: &mut [Ignore]) -> bool {
    // Comments come in the order of what they are for, those for the whole file first.
    let at = found.span.start();
    let globals = ignores.partition_point(|ignore| ignore.target.is_none());
    let end = ignores.partition_point(|ignore| ignore.target.is_none_or(|span| span.start() <= at));
    let mut any = false;
    let (global, own) = ignores[..end].split_at_mut(globals);
    let nearest = own.last().and_then(|ignore| ignore.target);
    let here = own
        .iter_mut()
        .rev()
        .take_while(|ignore| ignore.target == nearest);
    let here = here.filter(|ignore| ignore.target.is_some_and(|span| at <= span.end()));
    for ignore in here.chain(global) {
        if found.rule.is_some_and(|id| ignore.rules.contains(&id)) {
            ignore.used = true;
            any = true;
        }
    }
    any
}

/// Goes through the comment lines, beside the instructions that they are for.
fn read(source: &Source, targets: &[Target], about: &mut Vec<Diagnostic>) -> Vec<Ignore> {
    let mut ignores = Vec::new();
    let mut next = 0;
    for line in 1..=source.line(source.text().len()) {
        let span = source.line_span(line);
        let text = source.slice(span).trim();
        let Some(comment) = text.strip_prefix('#') else {
            continue;
        };
        while targets
            .get(next)
            .is_some_and(|target| target.span.end() < span.start())
        {
            next += 1;
        }
        let target = targets.get(next);
        let data = |body: &Span| body.start() <= span.start() && span.start() < body.end();
        if target.is_some_and(|target| target.bodies.iter().any(data)) {
            continue;
        }
        let place = Span::new(
            span.start() + source.slice(span).find('#').unwrap_or(0),
            span.end(),
        );
        ignores.extend(comment_of(
            comment.trim(),
            target.map(|target| target.span),
            place,
            about,
        ));
    }
    ignores.sort_by_key(|ignore| ignore.target);
    ignores
}

fn comment_of(
    comment: &str,
    target: Option<Span>,
    place: Span,
    about: &mut Vec<Diagnostic>,
) -> Option<Ignore> {
    let ignore = |rules, own, target| Ignore {
        rules,
        target,
        place,
        own,
        used: false,
    };
    if let Some(rest) = comment.strip_prefix("hadolint ") {
        let rest = rest.trim_start();
        let (list, global) = match rest.strip_prefix("global ") {
            Some(rest) => (value(rest)?, true),
            None => (value(rest)?, false),
        };
        let rules = list
            .split(',')
            .filter_map(|name| super::id(name.split_whitespace().next()?))
            .collect();
        return (global || target.is_some())
            .then(|| ignore(rules, false, target.filter(|_| !global)));
    }
    if comment.starts_with("trivy:ignore:") {
        let names = comment
            .split_whitespace()
            .map_while(|word| word.strip_prefix("trivy:ignore:"));
        let rules = names.flat_map(trivy::equal).map(|rule| rule.id).collect();
        return target.map(|_| ignore(rules, false, target));
    }
    if let Some(rest) = comment.strip_prefix("shellcheck ") {
        let names = rest
            .split_whitespace()
            .find_map(|word| word.strip_prefix("disable="))?;
        let rules = names.split(',').filter_map(super::id).collect();
        return target.is_some().then(|| ignore(rules, false, target));
    }
    let rest = value(comment.strip_prefix("rbuild ")?)?;
    let (list, reason) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let mut rules = Vec::new();
    for name in list.split(',') {
        match super::id(name) {
            Some(rule) => rules.push(rule),
            None => {
                let message = format!("there is no rule {name:?} to ignore");
                about.push(
                    Diagnostic::warning(UNREASONED, place, message)
                        .with_help("`rbuild lint --list` lists the rules"),
                );
                return None;
            }
        }
    }
    let problem = if ["", NO_REASON].contains(&reason.trim()) {
        Some((
            "this comment gives no reason, so it ignores nothing",
            "write: # rbuild ignore=RULE why that is right here",
        ))
    } else if target.is_none() {
        Some((
            "no instruction follows this comment, so it ignores nothing",
            "write it right above the instruction",
        ))
    } else {
        None
    };
    if let Some((message, help)) = problem {
        about.push(Diagnostic::warning(UNREASONED, place, message).with_help(help));
        return None;
    }
    Some(ignore(rules, true, target))
}

/// What stands behind `ignore=`.
fn value(text: &str) -> Option<&str> {
    let rest = text.trim_start().strip_prefix("ignore")?.trim_start();
    Some(rest.strip_prefix('=')?.trim_start())
}

/// An instruction, and the bodies of its heredocs, in which nothing is a comment.
pub(super) struct Target {
    span: Span,
    bodies: Vec<Span>,
}

/// What comments of a Containerfile can be for.
pub(super) fn targets(file: &Containerfile) -> Vec<Target> {
    let globals = file.global_args.iter().map(|arg| plain(arg.span));
    let stages = file.stages.iter().flat_map(|stage| {
        let instructions = stage.instructions.iter().map(|instruction| Target {
            span: instruction.span,
            bodies: bodies(instruction),
        });
        std::iter::once(plain(stage.from.span)).chain(instructions)
    });
    globals.chain(stages).collect()
}

/// What comments of a unit can be for: sections, by their headers, and keys.
pub(super) fn targets_of_unit(unit: &Unit<'_>) -> Vec<Target> {
    let sections = unit.sections.iter().flat_map(|section| {
        let entries = section.entries.iter().map(|entry| plain(entry.span()));
        std::iter::once(plain(section.header.span)).chain(entries)
    });
    sections.collect()
}

fn plain(span: Span) -> Target {
    Target {
        span,
        bodies: Vec::new(),
    }
}

fn bodies(instruction: &Instruction) -> Vec<Span> {
    let copied = |sources: &[CopySource]| {
        let heredocs = sources.iter().filter_map(|source| match source {
            CopySource::Heredoc(heredoc) => Some(heredoc.body),
            CopySource::Path(_) => None,
        });
        heredocs.collect()
    };
    match &instruction.kind {
        InstructionKind::Run(run) => match &run.command {
            RunCommand::Script(heredoc) => vec![heredoc.body],
            RunCommand::Shell { heredocs, .. } => {
                heredocs.iter().map(|one: &Heredoc| one.body).collect()
            }
            RunCommand::Exec(_) => Vec::new(),
        },
        InstructionKind::Copy(copy) => copied(&copy.transfer.sources),
        InstructionKind::Add(add) => copied(&add.transfer.sources),
        InstructionKind::Onbuild(onbuild) => bodies(&onbuild.inner),
        _ => Vec::new(),
    }
}
