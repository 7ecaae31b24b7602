//! The text of one Containerfile, and byte spans into it.
//!
//! Invariant: every [`Span`] that the parser hands out satisfies `start <= end <= text.len()` and lies on character boundaries of
//! the text exactly as it was read (byte order mark and carriage returns included).

use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use serde::Serialize;

/// A range of bytes in the text of one [`Source`]; its end is exclusive. What is behind the first 4 GiB has no place: trees of large
/// files are mostly spans, so these are short.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// The span from `start` up to, not including, `end`.
    #[must_use]
    pub const fn new(start: usize, end: usize) -> Self {
        Self {
            start: short(start),
            end: short(end),
        }
    }

    /// First byte.
    #[must_use]
    pub const fn start(self) -> usize {
        self.start as usize
    }

    /// One past the last byte.
    #[must_use]
    pub const fn end(self) -> usize {
        self.end as usize
    }

    /// The bytes, to cut them out of the text.
    #[must_use]
    pub const fn range(self) -> Range<usize> {
        self.start()..self.end()
    }

    /// The same, up to another end.
    #[must_use]
    pub const fn up_to(self, end: usize) -> Self {
        Self::new(self.start(), end)
    }

    /// The smallest span that covers both.
    #[must_use]
    pub fn to(self, other: Self) -> Self {
        Self {
            start: self.start.min(other.start),
            end: self.end.max(other.end),
        }
    }

    /// Whether the span covers no byte.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.start >= self.end
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "what does not fit is cut before"
)]
const fn short(offset: usize) -> u32 {
    if offset > u32::MAX as usize {
        u32::MAX
    } else {
        offset as u32
    }
}

/// A value, and where it was written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Spanned<T> {
    /// What was written.
    pub value: T,
    /// Where it was written.
    pub span: Span,
}

impl<T> Spanned<T> {
    /// Attaches a place to a value.
    pub const fn new(value: T, span: Span) -> Self {
        Self { value, span }
    }

    /// Converts the value and keeps the place.
    pub fn map<U>(self, convert: impl FnOnce(T) -> U) -> Spanned<U> {
        Spanned::new(convert(self.value), self.span)
    }
}

/// A line and column, both counted from 1; the column counts characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LineCol {
    /// Line, from 1.
    pub line: usize,
    /// Character within the line, from 1.
    pub column: usize,
}

/// The name and text of a Containerfile, with an index of its lines. A clone is the same one.
#[derive(Clone, Debug)]
pub struct Source(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    name: String,
    text: String,
    line_starts: Vec<u32>,
}

impl Source {
    /// Takes a text; `name` is what messages call it.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        let text = text.into();
        let ends = text.bytes().enumerate().filter(|&(_, byte)| byte == b'\n');
        let line_starts = std::iter::once(0)
            .chain(ends.map(|(at, _)| short(at + 1)))
            .collect();
        Self(Arc::new(Parts {
            name: name.into(),
            text,
            line_starts,
        }))
    }

    /// What messages call this file.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The whole text, as it was read.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// The text that a span covers; empty for a span that is not of this source.
    #[must_use]
    pub fn slice(&self, span: Span) -> &str {
        self.0.text.get(span.range()).unwrap_or_default()
    }

    /// The line (from 1) that holds the byte at `offset`.
    #[must_use]
    pub fn line(&self, offset: usize) -> usize {
        self.0
            .line_starts
            .partition_point(|&start| start as usize <= offset)
    }

    /// The line and column of the byte at `offset`; offsets beyond the end count as the end.
    #[must_use]
    pub fn line_col(&self, offset: usize) -> LineCol {
        let offset = offset.min(self.0.text.len());
        let line = self.line(offset);
        let before = &self.0.text.as_bytes()[self.0.line_starts[line - 1] as usize..offset];
        // A byte that is not 10xxxxxx starts a character, so this needs no boundary at `offset`.
        let column = before.iter().filter(|&&byte| byte & 0xC0 != 0x80).count() + 1;
        LineCol { line, column }
    }

    /// The lines (from 1) that a span touches. A trailing line end does not count as a line of its own.
    #[must_use]
    pub fn line_range(&self, span: Span) -> RangeInclusive<usize> {
        let first = self.line(span.start());
        let last = self.line(span.end().saturating_sub(1).max(span.start()));
        first..=last
    }

    /// The span of line `line` (from 1) without its line end; empty at the end of the text when there is no such line.
    #[must_use]
    pub fn line_span(&self, line: usize) -> Span {
        let Some(&start) = line
            .checked_sub(1)
            .and_then(|index| self.0.line_starts.get(index))
        else {
            return Span::new(self.0.text.len(), self.0.text.len());
        };
        let end = self
            .0
            .line_starts
            .get(line)
            .map_or(self.0.text.len(), |&next| next as usize - 1);
        Span::new(start as usize, end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_lines_start_at_one() {
        let source = Source::new("Containerfile", "ab\nß☃x\n");
        assert_eq!(source.line_col(0), LineCol { line: 1, column: 1 });
        assert_eq!(source.line_col(8), LineCol { line: 2, column: 3 });
        assert_eq!(source.line_col(999), LineCol { line: 3, column: 1 });
    }

    #[test]
    fn line_range_leaves_out_the_line_after_a_trailing_newline() {
        let source = Source::new("Containerfile", "one\ntwo\nthree");
        assert_eq!(source.line_range(Span::new(0, 8)), 1..=2);
        assert_eq!(source.line_range(Span::new(4, 4)), 2..=2);
        assert_eq!(source.slice(source.line_span(2)), "two");
        assert_eq!(source.slice(source.line_span(9)), "");
    }
}
