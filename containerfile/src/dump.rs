//! Two texts of a file: the tree as JSON, and the S-expression form that BuildKit's parser tests use.
//!
//! Invariant: the S-expressions show how lines are cut, before any instruction has a meaning; so they also exist for a file whose
//! instructions make no sense.

use crate::ast::{EscapeChar, Flag};
use crate::diagnostics::Diagnostic;
use crate::directives;
use crate::lines::{Fragment, Lines};
use crate::parse::Parsed;
use crate::source::Source;
use crate::statement::{self, Keyword, Statement};
use crate::words::{self, Json};

/// The tree and the diagnostics as indented JSON, with a line end.
#[must_use]
pub fn json(parsed: &Parsed) -> String {
    // Strings, numbers, lists and structures with fixed fields only: nothing that serde_json refuses.
    let mut text = serde_json::to_string_pretty(parsed)
        .unwrap_or_else(|error| format!("{{\"error\": {:?}}}", error.to_string()));
    text.push('\n');
    text
}

/// One line per instruction: `(name ["--flag=value" …] "argument" …)`.
#[must_use]
pub fn s_expressions(source: &Source) -> String {
    let mut diagnostics: Vec<Diagnostic> = Vec::new();
    let escape = directives::read(source, &mut diagnostics).escape;
    let mut text = String::new();
    statement::each(
        Lines::new(source),
        escape,
        &mut diagnostics,
        |complete, _| {
            write_statement(&mut text, &complete.statement, escape);
            text.push('\n');
        },
    );
    text
}

/// A loop, not a recursion: how deep `ONBUILD ONBUILD …` goes is the text's choice.
fn write_statement(out: &mut String, statement: &Statement<'_>, escape: EscapeChar) {
    let mut statement = statement.clone();
    let mut open = 1;
    loop {
        out.push('(');
        out.push_str(&statement.keyword.text().to_lowercase());
        let flags: Vec<String> = statement.flags.iter().map(flag).collect();
        if !flags.is_empty() {
            out.push_str(&format!(" [{}]", flags.join(" ")));
        }
        if statement.name() != Some(Keyword::Onbuild) || statement.args.is_empty() {
            break;
        }
        out.push(' ');
        statement = statement.inner();
        open += 1;
    }
    for argument in arguments(&statement, escape) {
        out.push(' ');
        out.push_str(&quote(&argument));
    }
    out.push_str(&")".repeat(open));
}

fn flag(flag: &Flag) -> String {
    quote(&match &flag.value {
        Some(value) => format!("--{}={}", flag.name.value, value.raw),
        None => format!("--{}", flag.name.value),
    })
}

fn arguments(statement: &Statement<'_>, escape: EscapeChar) -> Vec<String> {
    let args = statement.args;
    let whole = |args: Fragment<'_>| {
        if args.is_empty() {
            Vec::new()
        } else {
            vec![args.text().to_owned()]
        }
    };
    let blank_separated = || {
        words::blank_separated(args)
            .into_iter()
            .map(|word| word.text().to_owned())
            .collect()
    };
    match statement.name() {
        None => Vec::new(),
        Some(Keyword::Add | Keyword::Copy | Keyword::Volume) => {
            strings(args).unwrap_or_else(blank_separated)
        }
        Some(Keyword::From | Keyword::Expose) => blank_separated(),
        Some(Keyword::Cmd | Keyword::Entrypoint | Keyword::Run | Keyword::Shell) => {
            strings(args).unwrap_or_else(|| whole(args))
        }
        Some(Keyword::Arg) => words::quoted(args, escape)
            .into_iter()
            .map(|word| word.text().to_owned())
            .collect(),
        Some(Keyword::Env | Keyword::Label) => pairs(args, escape),
        Some(Keyword::Healthcheck) => {
            let (kind, command) = words::split_first(args);
            let mut all = whole(kind);
            all.extend(strings(command).unwrap_or_else(|| whole(command)));
            all
        }
        Some(
            Keyword::Maintainer
            | Keyword::Onbuild
            | Keyword::Stopsignal
            | Keyword::User
            | Keyword::Workdir,
        ) => whole(args),
    }
}

fn strings(args: Fragment<'_>) -> Option<Vec<String>> {
    match words::json(args) {
        Json::Strings(strings) => Some(strings.into_iter().map(|one| one.value.into()).collect()),
        Json::No | Json::Malformed | Json::NotStrings => None,
    }
}

/// Name, value and separator of each pair.
fn pairs(args: Fragment<'_>, escape: EscapeChar) -> Vec<String> {
    let words = words::quoted(args, escape);
    if words.first().is_some_and(|word| !word.text().contains('=')) {
        let (name, value) = words::split_first(args);
        return vec![
            name.text().to_owned(),
            value.text().to_owned(),
            String::new(),
        ];
    }
    words
        .iter()
        .filter_map(|word| word.text().split_once('='))
        .flat_map(|(name, value)| [name.to_owned(), value.to_owned(), "=".to_owned()])
        .collect()
}

/// Quotes as Go's `strconv.Quote`.
fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        quoted.push_str(&match character {
            '"' => "\\\"".to_owned(),
            '\\' => "\\\\".to_owned(),
            '\u{7}' => "\\a".to_owned(),
            '\u{8}' => "\\b".to_owned(),
            '\u{b}' => "\\v".to_owned(),
            '\u{c}' => "\\f".to_owned(),
            '\n' => "\\n".to_owned(),
            '\r' => "\\r".to_owned(),
            '\t' => "\\t".to_owned(),
            '\0'..='\u{1f}' | '\u{7f}' => format!("\\x{:02x}", u32::from(character)),
            '\u{80}'..='\u{a0}' | '\u{ad}' | '\u{feff}' => {
                format!("\\u{:04x}", u32::from(character))
            }
            printable => printable.to_string(),
        });
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_onbuild_holds_its_instruction_in_brackets() {
        let source = Source::new(
            "Containerfile",
            "FROM a\nONBUILD COPY --chown=1:1 x \"y\nHEALTHCHECK\n",
        );
        let dumped =
            "(from \"a\")\n(onbuild (copy [\"--chown=1:1\"] \"x\" \"\\\"y\"))\n(healthcheck)\n";
        assert_eq!(s_expressions(&source), dumped);
    }
}
