//! The scripts of RUN for ShellCheck, and the way back from its findings to the bytes of the file.
//!
//! Invariant: a script is what the shell gets, below lines that name its dialect and the variables that the file sets; a finding about
//! those lines is none.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use crate::ast::{Arg, EscapeChar, Heredoc, Instruction, InstructionKind, RunCommand};
use crate::diagnostics::{Diagnostic, Severity};
use crate::lines::Lines;
use crate::parse::parse;
use crate::source::{Source, Span};
use crate::statement::{Keyword, Statement};

use super::Options;
use super::view::{Step, View};

/// What every build has without being told.
const PROXIES: [&str; 5] = [
    "http_proxy",
    "https_proxy",
    "ftp_proxy",
    "no_proxy",
    "all_proxy",
];

/// A script of one RUN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// What ShellCheck gets.
    pub text: String,
    /// Where in it the script begins.
    body: usize,
    /// (offset in the text, offset in the source) of pieces that are as written, ascending in both.
    pieces: Vec<(usize, usize)>,
    /// Whether the base image may set variables that the file does not.
    open: bool,
}

/// A variable that nothing sets, as far as ShellCheck sees.
const UNASSIGNED: u32 = 2154;

/// A finding as ShellCheck tells it; lines and columns count from 1, columns characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShellFinding {
    /// The number behind `SC`.
    pub code: u32,
    /// `error`, `warning`, `info` or `style`.
    pub level: String,
    /// What is wrong.
    pub message: String,
    /// Where it begins: line and column.
    pub from: (usize, usize),
    /// One past its last character.
    pub to: (usize, usize),
}

/// The scripts of a file, in its order. Those of shells that ShellCheck does not know are left out.
#[must_use]
pub fn scripts(source: &Source) -> Vec<Script> {
    let may_have = source.text().to_ascii_uppercase().contains("RUN");
    if !may_have || super::unit_kind(source).is_some() {
        return Vec::new();
    }
    let parsed = parse(source);
    let options = Options::default();
    let view = View::of(source, &parsed.file, &options);
    let escape = parsed.file.directives.escape;
    let mut scripts = Vec::new();
    let mut names: BTreeMap<usize, BTreeSet<&str>> = BTreeMap::new();
    for index in 0..view.stages.len() {
        // A stage sees what those below it set.
        let below = view.chain(index).get(1).and_then(|below| names.get(below));
        let mut known = below.cloned().unwrap_or_default();
        for step in view.stages[index].steps.iter() {
            match step.inner() {
                InstructionKind::Arg(arg) => known.extend(declared(arg)),
                InstructionKind::Env(pairs) => {
                    known.extend(pairs.pairs.iter().map(|pair| pair.name.raw.as_str()));
                }
                InstructionKind::Run(run) if step.fired_by.is_none() => {
                    let script = script(source, escape, step, &run.command, &known);
                    let open = !view.is_from_scratch(index);
                    scripts.extend(script.map(|script| Script { open, ..script }));
                }
                _ => {}
            }
        }
        names.insert(index, known);
    }
    scripts
}

fn declared(arg: &Arg) -> impl Iterator<Item = &str> {
    arg.entries.iter().map(|entry| entry.name.raw.as_str())
}

fn script(
    source: &Source,
    escape: EscapeChar,
    step: &Step<'_>,
    command: &RunCommand,
    known: &BTreeSet<&str>,
) -> Option<Script> {
    let shell = step.at.shell.and_then(|words| words.first());
    let shell = shell.map_or("/bin/sh", |word| word.value.as_str());
    let mut body = Body::default();
    let dialect = match command {
        RunCommand::Exec(_) => return None,
        RunCommand::Script(heredoc) => of_heredoc(source, heredoc, shell, &mut body)?,
        RunCommand::Shell { heredocs, .. } => {
            line(source, escape, step.instruction, &mut body)?;
            for heredoc in heredocs {
                body.text.push('\n');
                body.push(source.slice(heredoc.body), heredoc.body.start());
                body.push(&heredoc.name, heredoc.body.end());
            }
            dialect(shell)?
        }
    };
    let words = body
        .text
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let used: BTreeSet<&str> = words
        .filter(|word| known.contains(word) || PROXIES.contains(word))
        .collect();
    let mut text = format!("# shellcheck shell={dialect}\n");
    for name in used {
        text.push_str(&format!("export {name}=1\n"));
    }
    let start = text.len();
    text.push_str(&body.text);
    text.push('\n');
    let pieces = body
        .pieces
        .into_iter()
        .map(|(at, source)| (start + at, source))
        .collect();
    Some(Script {
        text,
        body: start,
        pieces,
        open: true,
    })
}

/// A text on its way, with the places of its pieces.
#[derive(Default)]
struct Body {
    text: String,
    pieces: Vec<(usize, usize)>,
}

impl Body {
    fn push(&mut self, text: &str, source: usize) {
        self.pieces.push((self.text.len(), source));
        self.text.push_str(text);
    }
}

/// A here-document that is the whole script: its first line may name its shell.
fn of_heredoc<'s>(
    source: &Source,
    heredoc: &Heredoc,
    shell: &'s str,
    body: &mut Body,
) -> Option<&'s str> {
    let text = source.slice(heredoc.body);
    let Some(line) = text.trim_start_matches('\t').strip_prefix("#!") else {
        body.push(text, heredoc.body.start());
        return dialect(shell);
    };
    let line = line.lines().next().unwrap_or_default();
    // The line itself would not be the first one.
    let rest = text.split_once('\n').map_or("", |(_, rest)| rest);
    body.push(rest, heredoc.body.end() - rest.len());
    line.split_whitespace().find_map(dialect_of)
}

fn dialect(shell: &str) -> Option<&'static str> {
    dialect_of(shell)
}

/// ShellCheck's word for a shell.
fn dialect_of(path: &str) -> Option<&'static str> {
    match path.rsplit('/').next().unwrap_or_default() {
        "sh" | "ash" => Some("sh"),
        "bash" => Some("bash"),
        "dash" => Some("dash"),
        "ksh" => Some("ksh"),
        _ => None,
    }
}

/// A logical line, cut again from the source so that every byte has its place.
fn line(
    source: &Source,
    escape: EscapeChar,
    instruction: &Instruction,
    body: &mut Body,
) -> Option<()> {
    let mut lines = Lines::starting_at(source, instruction.span.start());
    let line = lines.logical(escape, &mut Vec::new())?;
    let mut statement = Statement::split(line.fragment());
    if statement.name() == Some(Keyword::Onbuild) {
        statement = statement.inner();
    }
    for (at, place) in statement.args.pieces() {
        body.pieces.push((at, place));
    }
    body.text.push_str(statement.args.text());
    Some(())
}

impl Script {
    /// A finding about the script, where it is written.
    #[must_use]
    pub fn place(&self, found: &ShellFinding) -> Option<Diagnostic> {
        let (from, to) = (self.offset(found.from)?, self.offset(found.to)?);
        if from < self.body {
            return None;
        }
        let last = self.origin(to.saturating_sub(1).max(from));
        let start = self.origin(from);
        let span = Span::new(start, if to > from { last + 1 } else { start });
        let mut finding = Diagnostic::error(span, found.message.trim_end_matches('.'));
        finding.severity = match found.level.as_str() {
            "error" => Severity::Error,
            "warning" if self.open && found.code == UNASSIGNED => Severity::Info,
            "warning" => Severity::Warning,
            _ => Severity::Info,
        };
        finding.rule = Some(code(found.code));
        Some(finding)
    }

    fn offset(&self, (line, column): (usize, usize)) -> Option<usize> {
        let mut start = 0;
        for _ in 1..line {
            start += self.text[start..].find('\n')? + 1;
        }
        let rest = self.text[start..].split('\n').next()?;
        let mut ends = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
        Some(start + ends.nth(column.checked_sub(1)?)?)
    }

    fn origin(&self, offset: usize) -> usize {
        let piece = self.pieces.partition_point(|&(start, _)| start <= offset);
        let (start, source) = self
            .pieces
            .get(piece.saturating_sub(1))
            .copied()
            .unwrap_or_default();
        source + offset.saturating_sub(start)
    }
}

/// `SC2086`. ShellCheck has some hundred of them, and each is made once.
fn code(number: u32) -> &'static str {
    static KNOWN: Mutex<BTreeMap<u32, &'static str>> = Mutex::new(BTreeMap::new());
    let number = number.min(9999);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    known
        .entry(number)
        .or_insert_with(|| Box::leak(format!("SC{number:04}").into_boxed_str()))
}

/// The code that a text names, if it is one of ShellCheck's.
pub(super) fn named(name: &str) -> Option<&'static str> {
    let prefix = name
        .get(..2)
        .filter(|prefix| prefix.eq_ignore_ascii_case("SC"))?;
    let digits = &name[prefix.len()..];
    let number = digits.parse().ok().filter(|_| digits.len() == 4)?;
    Some(code(number))
}
