//! The `# key=value` lines at the very top of a file.
//!
//! Invariant: a directive changes how the rest of this text is read and nothing else; `syntax` is noted, never fetched or run.

use std::str::FromStr;

use thiserror::Error;

use crate::ast::{Check, Directives, EscapeChar, Span, Spanned};
use crate::diagnostics::Diagnostic;
use crate::lines::{Lines, PhysicalLine};
use crate::source::Source;

/// Reads the directives; the first line that is none ends them.
pub(crate) fn read(source: &Source, diagnostics: &mut Vec<Diagnostic>) -> Directives {
    let mut directives = Directives::default();
    let mut seen = Vec::new();
    let mut lines = Lines::new(source);
    let mut below_shebang = false;
    while let Some(line) = lines.physical() {
        if line.text.starts_with("#!") && !below_shebang && line.start <= '\u{feff}'.len_utf8() {
            below_shebang = true;
            continue;
        }
        let Some(Directive { key, value }) = directive(line) else {
            break;
        };
        let name = key.value.to_ascii_lowercase();
        if seen.contains(&name) {
            diagnostics.push(Diagnostic::error(
                key.span,
                format!("only one {name} parser directive can be used"),
            ));
            continue;
        }
        match name.as_str() {
            "syntax" => directives.syntax = Some(value),
            "check" => directives.check = Some(check(&value, diagnostics)),
            // BuildKit looks below a `#!` line for `syntax` and `check` only.
            "escape" if below_shebang => break,
            "escape" => match value.value.as_str() {
                "\\" => directives.escape = EscapeChar::Backslash,
                "`" => directives.escape = EscapeChar::Backtick,
                other => {
                    let message = format!("the escape character must be ` or \\, not {other:?}");
                    diagnostics.push(Diagnostic::error(value.span, message));
                }
            },
            _ => break,
        }
        seen.push(name);
    }
    directives
}

struct Directive {
    key: Spanned<String>,
    value: Spanned<String>,
}

/// `# key = value`, with blanks nearly everywhere.
fn directive(line: PhysicalLine<'_>) -> Option<Directive> {
    let hash = line
        .text
        .find(|c: char| !c.is_whitespace())
        .filter(|&at| line.text[at..].starts_with('#'))?;
    let equals = line.text.find('=').filter(|&at| at > hash)?;
    let (key, value) = (
        trimmed(line, hash + 1, equals),
        trimmed(line, equals + 1, line.text.len()),
    );
    let is_key = key
        .value
        .starts_with(|first: char| first.is_ascii_alphabetic())
        && key.value.bytes().all(|byte| byte.is_ascii_alphanumeric());
    (is_key && !value.value.is_empty()).then_some(Directive { key, value })
}

/// A part of a line without the blanks at its ends.
fn trimmed(line: PhysicalLine<'_>, from: usize, to: usize) -> Spanned<String> {
    let part = &line.text[from..to];
    let start = line.start + from + (part.len() - part.trim_start().len());
    Spanned::new(
        part.trim().to_owned(),
        Span::new(start, start + part.trim().len()),
    )
}

/// The value of `check`; what cannot be understood is an error and says nothing.
fn check(value: &Spanned<String>, diagnostics: &mut Vec<Diagnostic>) -> Spanned<Check> {
    let check = value.value.parse().unwrap_or_else(|error: CheckError| {
        diagnostics.push(
            Diagnostic::error(value.span, format!("cannot {error}")).with_help(CheckError::HELP),
        );
        Check::default()
    });
    Spanned::new(check, value.span)
}

/// An option of `check` that there is none of.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("understand the check option {0:?}")]
pub struct CheckError(String);

impl CheckError {
    /// What can be written instead.
    pub const HELP: &'static str =
        "options are skip=RULE,…, experimental=RULE,… and error=true|false, separated by `;`";
}

/// `skip=Rule,Rule;error=true`.
impl FromStr for Check {
    type Err = CheckError;

    fn from_str(text: &str) -> Result<Self, CheckError> {
        let mut check = Self::default();
        let names = |list: &str| list.split(',').map(|name| name.trim().to_owned()).collect();
        for option in text.split(';') {
            match option
                .split_once('=')
                .map(|(key, value)| (key.trim(), value.trim()))
            {
                Some(("skip", list)) => check.skip = names(list),
                Some(("experimental", list)) => check.experimental = names(list),
                Some(("error", "true" | "True" | "TRUE" | "t" | "T" | "1")) => check.error = true,
                Some(("error", "false" | "False" | "FALSE" | "f" | "F" | "0")) => {
                    check.error = false
                }
                _ => return Err(CheckError(option.trim().to_owned())),
            }
        }
        Ok(check)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> (Directives, Vec<Diagnostic>) {
        let mut diagnostics = Vec::new();
        (
            read(&Source::new("Containerfile", text), &mut diagnostics),
            diagnostics,
        )
    }

    #[test]
    fn s31_syntax_is_noted_and_nothing_more() {
        let (directives, diagnostics) =
            read_text("# syntax = docker/dockerfile:1\n# ESCAPE=`\nFROM a\n");
        assert_eq!(
            directives.syntax.expect("noted").value,
            "docker/dockerfile:1"
        );
        assert_eq!(directives.escape, EscapeChar::Backtick);
        assert!(diagnostics.is_empty());
    }

    #[test]
    fn syntax_is_found_below_a_shebang_but_escape_is_not() {
        let (directives, _) = read_text("#!/usr/bin/env rbuild\n# syntax=x\n# escape=`\nFROM a\n");
        assert_eq!(directives.syntax.expect("noted").value, "x");
        assert_eq!(directives.escape, EscapeChar::Backslash);
    }

    #[test]
    fn a_comment_a_blank_line_or_an_unknown_key_ends_the_zone() {
        for first in ["# hello", "", "# unknown=1", "FROM a"] {
            assert_eq!(
                read_text(&format!("{first}\n# escape=`\n")).0,
                Directives::default(),
                "{first:?}"
            );
        }
    }

    #[test]
    fn a_repeated_directive_is_an_error_with_its_place() {
        let (_, diagnostics) = read_text("# escape=`\n# Escape=\\\n");
        assert_eq!(diagnostics.len(), 1);
        assert_eq!(diagnostics[0].span, Span::new(13, 19));
    }

    #[test]
    fn check_lists_rules_and_refuses_what_it_does_not_know() {
        let (directives, diagnostics) = read_text("# check=skip=A, B;error=true\n");
        let check = directives.check.expect("given").value;
        assert_eq!(
            (check.skip, check.error),
            (vec!["A".to_owned(), "B".to_owned()], true)
        );
        assert!(diagnostics.is_empty());
        assert_eq!(read_text("# check=sikp=A\n").1.len(), 1);
    }
}
