//! The programs that a RUN starts, each word with its place. Invariant: only what is surely a program's name stands first; what a
//! variable decides is marked, and nothing is executed or expanded.

mod held;
mod lexer;

pub(super) use held::Held;
use lexer::Place;

use crate::ast::{
    Command, EscapeChar, Heredoc, Instruction, InstructionKind, Run, RunCommand, Span, Spanned,
    Text,
};
use crate::lines::Lines;
use crate::source::Source;
use crate::statement::{Keyword, Statement};

/// What a piece of a script is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A program and its arguments.
    Command,
    /// Of a `case`: the word that is compared, then the patterns of one branch.
    Branch,
}

/// A program of a script, without assignments and wrappers such as `exec`, `env` and `xargs` in front of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Program {
    pub(super) kind: Kind,
    /// At least one.
    pub(super) words: Box<[ShellWord]>,
    /// Whether it reads what the program before it writes.
    pub(super) piped: bool,
    /// Whether its output goes into a file.
    pub(super) redirected: bool,
    /// Whether nobody waits for it: `&`.
    pub(super) background: bool,
}

/// A word, quotes removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ShellWord {
    pub(super) text: Text,
    pub(super) span: Span,
    /// Whether a variable or a command decides about a part of it.
    pub(super) dynamic: bool,
}

impl Program {
    /// The program's name without its directory; blank for what is none.
    pub(super) fn name(&self) -> &str {
        match (&self.kind, self.words.first()) {
            (Kind::Command, Some(word)) if !word.dynamic => {
                word.text.rsplit('/').next().unwrap_or_default()
            }
            _ => "",
        }
    }

    /// The words after the name.
    pub(super) fn arguments(&self) -> &[ShellWord] {
        self.words.get(1..).unwrap_or_default()
    }

    /// Whether an argument is exactly this.
    pub(super) fn has(&self, argument: &str) -> bool {
        self.arguments().iter().any(|word| word.text == argument)
    }

    /// The first argument that is no option.
    pub(super) fn verb(&self) -> &str {
        let mut plain = self
            .arguments()
            .iter()
            .filter(|word| !word.text.starts_with('-'));
        plain.next().map_or("", |word| word.text.as_str())
    }

    /// Where it is.
    pub(super) fn span(&self) -> Span {
        match (self.words.first(), self.words.last()) {
            (Some(first), Some(last)) => first.span.to(last.span),
            _ => Span::default(),
        }
    }
}

/// Whether a program reads scripts of the Bourne shell's kind.
pub(super) fn is_shell(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    matches!(name, "sh" | "bash" | "dash" | "ash" | "ksh" | "zsh")
}

/// The programs of an instruction, or of the one behind its ONBUILD; none where another kind of shell is in effect.
pub(super) fn programs(
    source: &Source,
    escape: EscapeChar,
    instruction: &Instruction,
    shell: Option<&[Spanned<Text>]>,
) -> Vec<Program> {
    let run = match &instruction.kind {
        InstructionKind::Run(run) => run,
        InstructionKind::Onbuild(onbuild) => match &onbuild.inner.kind {
            InstructionKind::Run(run) => run,
            _ => return Vec::new(),
        },
        _ => return Vec::new(),
    };
    let known = shell.is_none_or(|words| words.first().is_some_and(|word| is_shell(&word.value)));
    match &run.command {
        RunCommand::Exec(words) => exec(words),
        _ if !known => Vec::new(),
        RunCommand::Script(heredoc) => script(source, heredoc),
        RunCommand::Shell { .. } => line(source, escape, instruction, run),
    }
}

/// The programs of an exec form.
pub(super) fn exec(words: &[Spanned<Text>]) -> Vec<Program> {
    let plain = |word: &Spanned<Text>| ShellWord {
        text: word.value.clone(),
        span: word.span,
        dynamic: false,
    };
    lexer::of_words(words.iter().map(plain).collect())
}

/// The programs of CMD, ENTRYPOINT or HEALTHCHECK; those of a shell form are where the whole command is.
pub(super) fn command(command: &Command) -> Vec<Program> {
    match command {
        Command::Exec(words) => exec(words),
        Command::Shell(text) => {
            let place = Place {
                source: None,
                span: &|_, _| text.span,
            };
            lexer::of_text(&text.value, place)
        }
    }
}

/// The programs of a file that a heredoc makes.
pub(super) fn file(source: &Source, heredoc: &Heredoc) -> Vec<Program> {
    script(source, heredoc)
}

/// A script in a heredoc; one for another interpreter has no programs that could be told.
fn script(source: &Source, heredoc: &Heredoc) -> Vec<Program> {
    let text = source.slice(heredoc.body);
    let interpreter = text.trim_start_matches('\t').strip_prefix("#!");
    let shell = interpreter.is_none_or(|line| {
        let line = line.lines().next().unwrap_or_default();
        line.split_whitespace().any(is_shell)
    });
    let start = heredoc.body.start();
    if shell {
        let place = Place {
            source: Some(source),
            span: &|from, to| Span::new(start + from, start + to),
        };
        lexer::of_text(text, place)
    } else {
        Vec::new()
    }
}

/// A logical line, cut again from the source so that every word has its place.
fn line(source: &Source, escape: EscapeChar, instruction: &Instruction, run: &Run) -> Vec<Program> {
    let mut lines = Lines::starting_at(source, instruction.span.start());
    let Some(line) = lines.logical(escape, &mut Vec::new()) else {
        return Vec::new();
    };
    let mut statement = Statement::split(line.fragment());
    if statement.name() == Some(Keyword::Onbuild) {
        statement = statement.inner();
    }
    let args = statement.args;
    let place = Place {
        source: Some(source),
        span: &|from, to| args.slice(from, to).span(),
    };
    let mut found = lexer::of_text(args.text(), place);
    if let RunCommand::Shell { heredocs, .. } = &run.command
        && let ([heredoc], Some(first)) = (&heredocs[..], found.first())
        && is_shell(first.name())
    {
        found.extend(script(source, heredoc));
    }
    found
}
