//! From a cut statement to a typed instruction; one file per family.
//!
//! Invariant: an instruction comes out only if nothing about it was an error.

mod command;
mod copy;
mod health;
mod onbuild;
mod pairs;
mod run;
mod simple;
mod stage;

use crate::ast::{
    EscapeChar, Heredoc, Instruction, InstructionKind, Rare, Span, Spanned, Text, Word,
};
use crate::diagnostics::{Diagnostic, Severity};
use crate::flags::{Flags, Known};
use crate::heredoc::Opening;
use crate::lines::Fragment;
use crate::statement::{Complete, Keyword, Statement};
use crate::words::{self, Json};

pub(crate) use pairs::arg;
pub(crate) use stage::from;

/// What an instruction parser sees.
pub(crate) struct Context<'c, 'l> {
    keyword: Keyword,
    statement: &'c Statement<'l>,
    openings: &'c [Opening],
    heredocs: &'c [Heredoc],
    span: Span,
    escape: EscapeChar,
    diagnostics: &'c mut Vec<Diagnostic>,
}

impl<'c, 'l> Context<'c, 'l> {
    /// What is needed to parse a complete statement.
    pub(crate) fn new(
        keyword: Keyword,
        complete: &'c Complete<'l>,
        escape: EscapeChar,
        diagnostics: &'c mut Vec<Diagnostic>,
    ) -> Self {
        Self {
            keyword,
            statement: &complete.statement,
            openings: &complete.openings,
            heredocs: &complete.heredocs,
            span: complete.span,
            escape,
            diagnostics,
        }
    }

    fn name(&self) -> &'static str {
        self.keyword.name()
    }

    fn args(&self) -> Fragment<'l> {
        self.statement.args
    }

    fn error(&mut self, span: Span, message: impl Into<String>) {
        self.diagnostics.push(Diagnostic::error(span, message));
    }

    /// Where to point when something is missing: the arguments, or the keyword when there are none.
    fn place(&self) -> Span {
        if self.args().is_empty() {
            self.statement.keyword.span()
        } else {
            self.args().span()
        }
    }

    fn flags(&mut self, known: Known) -> Flags<'c> {
        let statement: &'c Statement<'l> = self.statement;
        Flags::check(
            &statement.flags,
            self.keyword.name(),
            known,
            self.diagnostics,
        )
    }

    /// The strings of a JSON array; `None` for any other text. What looks like an array and is none is reported.
    fn json(&mut self, fragment: Fragment<'l>) -> Option<Vec<Spanned<Text>>> {
        match words::json(fragment) {
            Json::No => None,
            Json::Strings(strings) => Some(strings),
            Json::NotStrings => {
                let message = "an array in JSON form may hold strings only";
                let help = "quote every element with double quotes";
                self.diagnostics
                    .push(Diagnostic::error(fragment.span(), message).with_help(help));
                None
            }
            Json::Malformed if self.keyword == Keyword::Run && is_test(fragment.text()) => None,
            Json::Malformed => {
                let message = "this looks like an array in JSON form but is not well-formed, so it is read as plain text";
                let help =
                    "JSON needs double quotes, commas between elements and a closing bracket";
                self.diagnostics.push(
                    Diagnostic::warning("MalformedJSONArgs", fragment.span(), message)
                        .with_help(help),
                );
                None
            }
        }
    }

    /// The words of a JSON array, or else those between blanks.
    fn list(&mut self) -> Vec<Word> {
        match self.json(self.args()) {
            Some(strings) => strings
                .into_iter()
                .map(|string| Word::new(string.value, string.span))
                .collect(),
            None => words::blank_separated(self.args())
                .into_iter()
                .map(words::word)
                .collect(),
        }
    }
}

/// The flags that an instruction takes.
pub(crate) fn known_flags(keyword: Keyword) -> Known {
    match keyword {
        Keyword::Add => copy::ADD,
        Keyword::Copy => copy::COPY,
        Keyword::From => stage::KNOWN,
        Keyword::Healthcheck => health::KNOWN,
        Keyword::Run => run::KNOWN,
        _ => &[],
    }
}

/// Whether it is the shell's `[ -f x ]` rather than an array that went wrong.
fn is_test(text: &str) -> bool {
    (text.starts_with("[ ") || text.starts_with("[[ "))
        && !text.contains("\",")
        && !text.contains("',")
}

/// Parses any instruction but `FROM`.
pub(crate) fn instruction(mut context: Context<'_, '_>) -> Option<Instruction> {
    let before = context.diagnostics.len();
    let kind = kind(&mut context);
    let failed = context.diagnostics[before..]
        .iter()
        .any(|found| found.severity == Severity::Error);
    let kind = kind.filter(|_| !failed)?;
    Some(Instruction {
        span: context.span,
        keyword: context.statement.keyword.span(),
        flags: context.statement.flags.iter().cloned().collect(),
        kind,
        extensions: Rare::default(),
        text: context.statement.line.shared(),
    })
}

fn kind(context: &mut Context<'_, '_>) -> Option<InstructionKind> {
    Some(match context.keyword {
        Keyword::Add => InstructionKind::Add(Box::new(copy::add(context)?)),
        Keyword::Arg => InstructionKind::Arg(arg(context)?),
        Keyword::Cmd => InstructionKind::Cmd(command::instruction(context)),
        Keyword::Copy => InstructionKind::Copy(Box::new(copy::copy(context)?)),
        Keyword::Entrypoint => InstructionKind::Entrypoint(command::instruction(context)),
        Keyword::Env => InstructionKind::Env(pairs::pairs(context)?),
        Keyword::Expose => InstructionKind::Expose(simple::expose(context)?),
        Keyword::From => {
            let place = context.statement.keyword.span();
            context.error(place, "FROM is not possible here");
            return None;
        }
        Keyword::Healthcheck => InstructionKind::Healthcheck(health::healthcheck(context)?),
        Keyword::Label => InstructionKind::Label(pairs::pairs(context)?),
        Keyword::Maintainer => InstructionKind::Maintainer(simple::maintainer(context)?),
        Keyword::Onbuild => InstructionKind::Onbuild(onbuild::onbuild(context)?),
        Keyword::Run => InstructionKind::Run(Box::new(run::run(context))),
        Keyword::Shell => InstructionKind::Shell(command::shell(context)?),
        Keyword::Stopsignal => InstructionKind::Stopsignal(simple::one_word(context)?),
        Keyword::User => InstructionKind::User(simple::one_word(context)?),
        Keyword::Volume => InstructionKind::Volume(simple::volume(context)?),
        Keyword::Workdir => InstructionKind::Workdir(simple::one_word(context)?),
    })
}
