//! The whole file: statements gathered into stages.
//!
//! Invariant: parsing never fails and never panics. It returns what it understood and everything that it has to say; after an error
//! it goes on with the next instruction.

use std::collections::HashSet;

use serde::Serialize;

use crate::ast::{Containerfile, EscapeChar, Instruction, Span, Spanned, Stage};
use crate::diagnostics::{Bounded, Diagnostic, MAX_FINDINGS, Severity};
use crate::directives;
use crate::extensions::{self, Extension};
use crate::instructions::{self, Context};
use crate::lines::Lines;
use crate::source::Source;
use crate::statement::{self, Complete, Keyword};

/// What a text holds, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Parsed {
    /// The instructions that were understood.
    pub file: Containerfile,
    /// All findings, in the order of their places.
    pub diagnostics: Vec<Diagnostic>,
}

impl Parsed {
    /// Whether the file cannot be built.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        any_error(&self.diagnostics)
    }
}

/// Parses a Containerfile.
#[must_use]
pub fn parse(source: &Source) -> Parsed {
    let mut diagnostics = Vec::new();
    let mut bounded = Bounded::default();
    let directives = directives::read(source, &mut diagnostics);
    let escape = directives.escape;
    let mut gathering = Gathering {
        file: Containerfile {
            directives,
            ..Containerfile::default()
        },
        ..Gathering::default()
    };
    let behind = statement::each(
        Lines::new(source),
        escape,
        &mut diagnostics,
        |complete, diagnostics| {
            gathering.add(complete, escape, diagnostics);
            if diagnostics.len() > MAX_FINDINGS {
                bounded.take(diagnostics);
            }
        },
    );
    gathering.extend(behind, &mut diagnostics);
    gathering.finish(source, &mut diagnostics);
    bounded.take(&mut diagnostics);
    Parsed {
        file: gathering.file,
        diagnostics: bounded.in_order(),
    }
}

fn any_error(diagnostics: &[Diagnostic]) -> bool {
    diagnostics
        .iter()
        .any(|found| found.severity == Severity::Error)
}

/// Parses a trigger from the `OnBuild` list of an image's configuration. Spans refer to the text itself.
///
/// # Errors
///
/// When the text is not exactly one instruction that may be a trigger; the diagnostics hold at least one error.
pub fn parse_onbuild_trigger(text: &str) -> Result<Instruction, Vec<Diagnostic>> {
    let source = Source::new("ONBUILD", text);
    let mut diagnostics = Vec::new();
    let mut found = Vec::new();
    statement::each(
        Lines::new(&source),
        EscapeChar::default(),
        &mut diagnostics,
        |complete, diagnostics| {
            let Some(keyword) = complete.statement.known(diagnostics) else {
                return;
            };
            let span = complete.statement.keyword.span();
            match keyword {
                Keyword::Onbuild | Keyword::From | Keyword::Maintainer => {
                    diagnostics.push(Diagnostic::error(
                        span,
                        format!("{} cannot be a trigger of ONBUILD", keyword.name()),
                    ));
                }
                _ if !found.is_empty() => {
                    diagnostics.push(Diagnostic::error(span, "a trigger is one instruction"))
                }
                _ => {
                    let context =
                        Context::new(keyword, complete, EscapeChar::default(), diagnostics);
                    found.extend(instructions::instruction(context));
                }
            }
        },
    );
    let failed = any_error(&diagnostics);
    match found.pop() {
        Some(instruction) if !failed => Ok(instruction),
        None if !failed => {
            diagnostics.push(Diagnostic::error(
                Span::new(0, text.len()),
                "a trigger is one instruction, and this holds none",
            ));
            Err(diagnostics)
        }
        _ => Err(diagnostics),
    }
}

/// The file as it grows.
#[derive(Default)]
struct Gathering {
    file: Containerfile,
    /// Whether any `FROM` was seen, good or not: what follows a bad one is not reported as being outside a stage.
    saw_from: bool,
    /// Whether the latest `FROM` could not be read: its instructions are checked and then dropped.
    skipping: bool,
    saw_statement: bool,
    /// The names of stages so far.
    names: HashSet<String>,
    /// What comments ask for the first stage, before its `FROM`.
    early: Vec<Extension>,
}

impl Gathering {
    fn add(
        &mut self,
        complete: &Complete<'_>,
        escape: EscapeChar,
        diagnostics: &mut Vec<Diagnostic>,
    ) {
        self.saw_statement = true;
        let Some(keyword) = complete.statement.known(diagnostics) else {
            return;
        };
        let (own, of_stage) = (complete.extensions.iter().cloned())
            .partition(|one: &Extension| one.name.value.is_of_instruction());
        match keyword {
            Keyword::From => self.from(complete, escape, diagnostics),
            Keyword::Arg if !self.saw_from => self.global_arg(complete, escape, diagnostics),
            _ => {
                self.instruction(keyword, complete, escape, own, diagnostics);
                return self.extend(of_stage, diagnostics);
            }
        }
        // Nothing of a stage is below these comments: they are reported.
        extensions::add(&mut Vec::new(), own, None, diagnostics);
        self.extend(of_stage, diagnostics);
    }

    fn global_arg(
        &mut self,
        complete: &Complete<'_>,
        escape: EscapeChar,
        diagnostics: &mut Vec<Diagnostic>,
    ) {
        let before = diagnostics.len();
        let mut context = Context::new(Keyword::Arg, complete, escape, diagnostics);
        let arg = instructions::arg(&mut context);
        let failed = any_error(&diagnostics[before..]);
        self.file.global_args.extend(
            arg.filter(|_| !failed)
                .map(|arg| Spanned::new(arg, complete.span)),
        );
    }

    fn instruction(
        &mut self,
        keyword: Keyword,
        complete: &Complete<'_>,
        escape: EscapeChar,
        own: Vec<Extension>,
        diagnostics: &mut Vec<Diagnostic>,
    ) {
        if !self.saw_from {
            let message = format!("{} before the first FROM", keyword.name());
            let place = complete.statement.keyword.span();
            diagnostics
                .push(Diagnostic::error(place, message).with_help("only ARG is possible there"));
        }
        let mut instruction =
            instructions::instruction(Context::new(keyword, complete, escape, diagnostics));
        if let Some(instruction) = &mut instruction {
            let mut extensions = Vec::new();
            extensions::add(&mut extensions, own, Some(&instruction.kind), diagnostics);
            instruction.extensions = extensions.into();
        }
        if let Some(stage) = self.file.stages.last_mut().filter(|_| !self.skipping) {
            stage.span = stage.span.up_to(complete.span.end());
            stage.instructions.extend(instruction);
        }
    }

    /// Takes what comments ask for the stage that is being read, or for the one that comes first.
    fn extend(&mut self, extensions: Vec<Extension>, diagnostics: &mut Vec<Diagnostic>) {
        match self.file.stages.last_mut() {
            Some(stage) => {
                let own = &mut stage.extensions;
                extensions::add(own, extensions, None, diagnostics);
            }
            None => self.early.extend(extensions),
        }
    }

    fn from(
        &mut self,
        complete: &Complete<'_>,
        escape: EscapeChar,
        diagnostics: &mut Vec<Diagnostic>,
    ) {
        self.saw_from = true;
        let from = instructions::from(&mut Context::new(
            Keyword::From,
            complete,
            escape,
            diagnostics,
        ));
        self.skipping = from.is_none();
        let Some(from) = from else { return };
        if let Some(name) = &from.name
            && !self.names.insert(name.value.clone())
        {
            let message = format!(
                "duplicate stage name {:?}: the name will mean the last of them",
                name.value
            );
            diagnostics.push(Diagnostic::warning(
                "DuplicateStageName",
                name.span,
                message,
            ));
        }
        self.file.stages.push(Stage {
            span: complete.span,
            from,
            instructions: Vec::new(),
            extensions: Vec::new(),
        });
        if let Some(complete) = self.file.stages.iter_mut().nth_back(1) {
            complete.instructions.shrink_to_fit();
        }
        let early = std::mem::take(&mut self.early);
        self.extend(early, diagnostics);
    }

    fn finish(&self, source: &Source, diagnostics: &mut Vec<Diagnostic>) {
        let end = Span::new(source.text().len(), source.text().len());
        if !self.saw_statement && !any_error(diagnostics) {
            diagnostics.push(Diagnostic::error(end, "the file has no instructions"));
        } else if self.saw_statement && !self.saw_from {
            diagnostics.push(Diagnostic::error(
                end,
                "the file has no FROM, so there is no stage to build",
            ));
        }
    }
}
