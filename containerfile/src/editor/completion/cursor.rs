//! Where the cursor stands: the text in front of it is parsed with a mark at its end, so that the last word is one.
//!
//! Invariant: spans refer to the text in front of the cursor, and end at its end.

use crate::lines::Lines;
use crate::parse::{Parsed, parse};
use crate::source::{Source, Span};
use crate::statement::{self, Keyword, Statement};

/// No blank, no digit, no letter that a file holds: it makes a word out of nothing, and changes no other.
const MARK: char = '\u{fffc}';

/// What is being written.
#[derive(Debug)]
pub(super) enum Place {
    /// The name of an instruction; an inner one is behind ONBUILD.
    Keyword { written: Span, inner: bool },
    /// The name of a flag, with its dashes.
    Flag { keyword: Keyword, written: Span },
    /// The value of a flag.
    FlagValue {
        keyword: Keyword,
        flag: String,
        value: Span,
    },
    /// Another word.
    Word {
        keyword: Keyword,
        index: usize,
        written: Span,
    },
    /// A line of a here-document.
    Heredoc,
    /// A comment, or what cannot be told.
    Nowhere,
}

/// A variable that was begun.
#[derive(Clone, Copy, Debug)]
pub(super) struct Variable {
    pub(super) name: Span,
    /// Whether it is `${`.
    pub(super) braced: bool,
}

/// The cursor, and the file in front of it.
pub(super) struct Cursor {
    pub(super) place: Place,
    /// Where the instruction begins in which it stands.
    pub(super) instruction: usize,
    pub(super) source: Source,
    pub(super) parsed: Parsed,
    /// Where it is.
    at: usize,
}

impl Cursor {
    pub(super) fn find(before: &str) -> Self {
        let source = Source::new("", format!("{before}{MARK}"));
        let parsed = parse(&source);
        let end = source.text().len();
        let escape = parsed.file.directives.escape;
        let mut found = None;
        statement::each(
            Lines::new(&source),
            escape,
            &mut Vec::new(),
            |complete, _| {
                if complete.span.end() == end {
                    found = Some((
                        place(&complete.statement, before.len(), false),
                        complete.span.start(),
                    ));
                }
            },
        );
        let (place, instruction) = found.unwrap_or_else(|| {
            let line = before.rfind('\n').map_or(0, |end| end + 1);
            match before[line..].trim_start().starts_with('#') {
                true => (Place::Nowhere, before.len()),
                false => (Place::Heredoc, before.len()),
            }
        });
        Self {
            place,
            instruction,
            at: before.len(),
            source,
            parsed,
        }
    }

    /// The variable whose name is being written. In a JSON array, and behind the escape character, there is none.
    pub(super) fn variable(&self) -> Option<Variable> {
        if matches!(self.place, Place::Keyword { .. } | Place::Flag { .. }) {
            return None;
        }
        let before = &self.source.text()[..self.at];
        let name = before.trim_end_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
        let braced = name.ends_with("${");
        let dollar = name.strip_suffix("${").or_else(|| name.strip_suffix('$'))?;
        let escape = self.parsed.file.directives.escape.as_char();
        let escapes = dollar.len() - dollar.trim_end_matches(escape).len();
        (escapes.is_multiple_of(2)).then_some(Variable {
            name: Span::new(name.len(), self.at),
            braced,
        })
    }
}

fn place(statement: &Statement<'_>, at: usize, inner: bool) -> Place {
    let written = statement.keyword.span();
    if written.end() > at {
        return Place::Keyword {
            written: Span::new(written.start().min(at), at),
            inner,
        };
    }
    let Some(keyword) = statement.name() else {
        return Place::Nowhere;
    };
    if keyword == Keyword::Onbuild && !inner {
        return place(&statement.inner(), at, true);
    }
    if let Some(flag) = statement.flags.last().filter(|flag| flag.span.end() > at) {
        return match &flag.value {
            Some(value) => Place::FlagValue {
                keyword,
                flag: flag.name.value.clone(),
                value: Span::new(value.span.start().min(at), at),
            },
            None => Place::Flag {
                keyword,
                written: Span::new(flag.span.start().min(at), at),
            },
        };
    }
    let text = statement.args.text();
    let index = text.split_whitespace().count().saturating_sub(1);
    let last = text.rfind(char::is_whitespace).map_or(0, |blank| {
        blank + text[blank..].chars().next().map_or(0, char::len_utf8)
    });
    let start = statement.args.from(last).span().start();
    Place::Word {
        keyword,
        index,
        written: Span::new(start.min(at), at),
    }
}
