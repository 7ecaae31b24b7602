//! What the parser has to say about a text.
//!
//! Invariant: a diagnostic owns its words and refers to the text only through spans, so it outlives the parse. Their number and
//! the length of each are bounded, whatever the text.

use std::cmp::Reverse;

use serde::Serialize;

use crate::source::Span;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; nothing is wrong.
    Info,
    /// Probably not what was meant; the build goes on.
    Warning,
    /// Cannot be built.
    Error,
}

/// A replacement of text that mends a finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fix {
    /// The text to replace.
    pub span: Span,
    /// What to put there.
    pub replacement: String,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// The name of the rule, where the finding has one (BuildKit's name when the meaning is equal).
    pub rule: Option<&'static str>,
    /// How bad it is.
    pub severity: Severity,
    /// Where it is.
    pub span: Span,
    /// What is wrong, in lower case and without a full stop.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// The text change that does it.
    pub fix: Option<Fix>,
}

/// A message repeats what was written, which may be a line of any length; nobody reads more of it than this.
const MAX_TEXT: usize = 1024;

/// More findings say no more about a file.
pub(crate) const MAX_FINDINGS: usize = 1000;

/// Findings that come one after the other: no more of them are held than somebody may want to read. Errors outlive warnings.
#[derive(Debug, Default)]
pub(crate) struct Bounded {
    kept: Vec<Diagnostic>,
    left_out: usize,
}

impl Bounded {
    /// Takes all that there are.
    pub(crate) fn take(&mut self, findings: &mut Vec<Diagnostic>) {
        self.kept.append(findings);
        if self.kept.len() > 2 * MAX_FINDINGS {
            self.prune();
        }
    }

    fn prune(&mut self) {
        let found = self.kept.len();
        if found <= MAX_FINDINGS {
            return;
        }
        self.kept
            .sort_by_key(|found| (Reverse(found.severity), found.span.start()));
        self.kept.truncate(MAX_FINDINGS);
        self.left_out += found - self.kept.len();
    }

    /// The findings in the order of their places; the last one counts what was left out.
    pub(crate) fn in_order(mut self) -> Vec<Diagnostic> {
        self.prune();
        let mut findings = self.kept;
        findings.sort_by_key(|found| found.span.start());
        if let Some(last) = findings.last().filter(|_| self.left_out > 0) {
            let message = format!("{} more findings are not shown", self.left_out);
            let note = Diagnostic::error(last.span, message);
            findings.push(Diagnostic {
                severity: Severity::Info,
                ..note
            });
        }
        findings
    }
}

fn cut(mut text: String) -> String {
    if text.len() > MAX_TEXT {
        text.truncate(text.floor_char_boundary(MAX_TEXT));
        text.push('…');
    }
    text
}

impl Diagnostic {
    /// An error without a rule name.
    pub fn error(span: Span, message: impl Into<String>) -> Self {
        Self {
            rule: None,
            severity: Severity::Error,
            span,
            message: cut(message.into()),
            help: None,
            fix: None,
        }
    }

    /// A warning of a named rule.
    pub fn warning(rule: &'static str, span: Span, message: impl Into<String>) -> Self {
        Self {
            rule: Some(rule),
            severity: Severity::Warning,
            ..Self::error(span, message)
        }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(cut(help.into()));
        self
    }

    /// Adds the text change that mends it.
    #[must_use]
    pub fn with_fix(mut self, span: Span, replacement: impl Into<String>) -> Self {
        self.fix = Some(Fix {
            span,
            replacement: replacement.into(),
        });
        self
    }
}
