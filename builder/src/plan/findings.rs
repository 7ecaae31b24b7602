//! What the planner has to say. Invariant: a finding always points into the Containerfile, also when its cause stands in a base
//! image's trigger.

use std::collections::BTreeMap;

use containerfile::expand::{self, ExpandError, Expansion, Mode, WordsExpansion};
use containerfile::{Diagnostic, EscapeChar, Instruction, Severity, Span, Word};

use super::scope::Scope;
use crate::step::Label;

/// The result of reading one instruction; boxed because a diagnostic is large and rare.
pub(super) type Checked<T> = Result<T, Box<Diagnostic>>;

/// Everything found so far, by place; what is found twice is said once.
#[derive(Clone, Debug, Default)]
pub(super) struct Findings(BTreeMap<Span, Vec<Diagnostic>>);

impl Findings {
    pub(super) fn push(&mut self, diagnostic: Diagnostic) {
        let here = self.0.entry(diagnostic.span).or_default();
        if !here.contains(&diagnostic) {
            here.push(diagnostic);
        }
    }

    /// The value, or else the finding is kept.
    pub(super) fn keep<T>(&mut self, checked: Checked<T>) -> Option<T> {
        checked.map_err(|diagnostic| self.push(*diagnostic)).ok()
    }

    /// The warnings, when nothing is wrong; else everything, in the order of the text.
    pub(super) fn into_warnings(self) -> Result<Vec<Diagnostic>, Vec<Diagnostic>> {
        let all: Vec<Diagnostic> = self.0.into_values().flatten().collect();
        if all.iter().any(|found| found.severity == Severity::Error) {
            Err(all)
        } else {
            Ok(all)
        }
    }
}

/// An instruction, and where it takes effect.
#[derive(Clone, Copy, Debug)]
pub(super) struct Site<'i> {
    pub(super) instruction: &'i Instruction,
    escape: EscapeChar,
    /// For a trigger of a base image: the `FROM` that fires it, since the trigger's own spans are of another text.
    fired_by: Option<Span>,
}

impl<'i> Site<'i> {
    /// An instruction of this file.
    pub(super) fn in_file(instruction: &'i Instruction, escape: EscapeChar) -> Self {
        Self {
            instruction,
            escape,
            fired_by: None,
        }
    }

    /// A trigger of a base image. BuildKit reads triggers with the default escape character too.
    pub(super) fn fired(instruction: &'i Instruction, from: Span) -> Self {
        Self {
            instruction,
            escape: EscapeChar::default(),
            fired_by: Some(from),
        }
    }

    /// How a step made here is shown.
    pub(super) fn label(&self) -> Label {
        let span = self.instruction.span;
        Label {
            text: self.instruction.text.to_string(),
            span: self
                .fired_by
                .is_none()
                .then_some((span.start(), span.end())),
        }
    }

    /// An error at a span of the instruction's own text.
    pub(super) fn error(&self, span: Span, message: impl Into<String>) -> Box<Diagnostic> {
        Box::new(self.placed(Diagnostic::error(span, message)))
    }

    /// A warning at a span of the instruction's own text.
    pub(super) fn warning(
        &self,
        rule: &'static str,
        span: Span,
        message: impl Into<String>,
    ) -> Diagnostic {
        self.placed(Diagnostic::warning(rule, span, message))
    }

    /// Where a span of the instruction's own text is in the Containerfile.
    pub(super) fn place(&self, span: Span) -> Span {
        self.fired_by.unwrap_or(span)
    }

    /// The finding at its place, with the trigger that it is about.
    pub(super) fn placed(&self, mut diagnostic: Diagnostic) -> Diagnostic {
        diagnostic.span = self.place(diagnostic.span);
        if self.fired_by.is_some() {
            diagnostic.message = format!(
                "{} (in the base image's trigger: ONBUILD {})",
                diagnostic.message, self.instruction.text
            );
        }
        diagnostic
    }

    /// The value of a word.
    pub(super) fn expand(&self, word: &Word, scope: &Scope) -> Checked<String> {
        self.expansion(word, scope).map(|expansion| expansion.text)
    }

    /// The value of a word, for a caller that says itself what is wrong.
    pub(super) fn expand_option(&self, word: &Word, scope: &Scope) -> Result<String, ExpandError> {
        expand::expand(
            &word.raw,
            &|name| scope.lookup(name),
            self.escape,
            Mode::Word,
        )
        .map(|expansion| expansion.text)
    }

    /// The value of a word that must not be blank.
    pub(super) fn expand_name(&self, word: &Word, scope: &Scope, what: &str) -> Checked<String> {
        let expansion = self.expansion(word, scope)?;
        if expansion.text.is_empty() {
            let mut error = self.error(word.span, format!("{what} is blank after expansion"));
            error.help = unset_help(&expansion);
            return Err(error);
        }
        Ok(expansion.text)
    }

    /// The name of a variable: not blank, and without the sign that ends it.
    pub(super) fn expand_variable(
        &self,
        word: &Word,
        scope: &Scope,
        what: &str,
    ) -> Checked<String> {
        let name = self.expand_name(word, scope, what)?;
        if name.contains('=') {
            return Err(self.error(word.span, format!("{what} holds an equals sign: {name:?}")));
        }
        Ok(name)
    }

    /// The values of a word, split at blanks.
    pub(super) fn expand_words(&self, word: &Word, scope: &Scope) -> Checked<Vec<String>> {
        let WordsExpansion { words, .. } =
            expand::expand_words(&word.raw, &|name| scope.lookup(name), self.escape)
                .map_err(|error| self.error(word.span, explain(&error)))?;
        Ok(words)
    }

    /// The content of a heredoc, quotes kept.
    pub(super) fn expand_heredoc(
        &self,
        content: &str,
        place: Span,
        scope: &Scope,
    ) -> Checked<String> {
        expand::expand(
            content,
            &|name| scope.lookup(name),
            self.escape,
            Mode::Heredoc,
        )
        .map(|expansion| expansion.text)
        .map_err(|error| self.error(place, explain(&error)))
    }

    fn expansion(&self, word: &Word, scope: &Scope) -> Checked<Expansion> {
        value_of(word, &|name| scope.lookup(name), self.escape)
            .map_err(|error| Box::new(self.placed(*error)))
    }
}

/// The value of a word. None may hold what neither a path nor an environment can.
pub(super) fn value_of(
    word: &Word,
    lookup: &dyn Fn(&str) -> Option<String>,
    escape: EscapeChar,
) -> Checked<Expansion> {
    let expansion = expand::expand(&word.raw, lookup, escape, Mode::Word)
        .map_err(|error| Diagnostic::error(word.span, explain(&error)))?;
    if expansion.text.contains('\0') {
        let message = "the value holds a NUL character";
        return Err(Box::new(Diagnostic::error(word.span, message)));
    }
    Ok(expansion)
}

/// The error with its cause: its own text fits after "cannot".
fn explain(error: &ExpandError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("cannot {error}: {source}"),
        None => format!("cannot {error}"),
    }
}

/// Names the variables that a blank value was made of.
pub(super) fn unset_help(expansion: &Expansion) -> Option<String> {
    let names: Vec<String> = expansion
        .unset
        .iter()
        .map(|name| format!("${name}"))
        .collect();
    (!names.is_empty()).then(|| format!("not set here: {}", names.join(", ")))
}
