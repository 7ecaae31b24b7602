//! The text of one Containerfile, and byte spans into it.
//!
//! Invariant: every [`Span`] that the parser hands out satisfies `start <= end <= text.len()` and lies on character boundaries of
//! the text exactly as it was read (byte order mark and carriage returns included).

use std::ops::RangeInclusive;

use serde::Serialize;

/// A range of bytes in the text of one [`Source`]; `end` is exclusive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl Span {
    /// The span from `start` up to, not including, `end`.
    #[must_use]
    pub const fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// The smallest span that covers both.
    #[must_use]
    pub fn to(self, other: Self) -> Self {
        Self::new(self.start.min(other.start), self.end.max(other.end))
    }

    /// Whether the span covers no byte.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.start >= self.end
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

/// The name and text of a Containerfile, with an index of its lines.
#[derive(Clone, Debug)]
pub struct Source {
    name: String,
    text: String,
    line_starts: Vec<usize>,
}

impl Source {
    /// Takes a text; `name` is what messages call it.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        let text = text.into();
        let ends = text.bytes().enumerate().filter(|&(_, byte)| byte == b'\n');
        let line_starts = std::iter::once(0)
            .chain(ends.map(|(at, _)| at + 1))
            .collect();
        Self {
            name: name.into(),
            text,
            line_starts,
        }
    }

    /// What messages call this file.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The whole text, as it was read.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text that a span covers; empty for a span that is not of this source.
    #[must_use]
    pub fn slice(&self, span: Span) -> &str {
        self.text.get(span.start..span.end).unwrap_or_default()
    }

    /// The line (from 1) that holds the byte at `offset`.
    #[must_use]
    pub fn line(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|&start| start <= offset)
    }

    /// The line and column of the byte at `offset`; offsets beyond the end count as the end.
    #[must_use]
    pub fn line_col(&self, offset: usize) -> LineCol {
        let offset = offset.min(self.text.len());
        let line = self.line(offset);
        let before = &self.text.as_bytes()[self.line_starts[line - 1]..offset];
        // A byte that is not 10xxxxxx starts a character, so this needs no boundary at `offset`.
        let column = before.iter().filter(|&&byte| byte & 0xC0 != 0x80).count() + 1;
        LineCol { line, column }
    }

    /// The lines (from 1) that a span touches. A trailing line end does not count as a line of its own.
    #[must_use]
    pub fn line_range(&self, span: Span) -> RangeInclusive<usize> {
        let first = self.line(span.start);
        let last = self.line(span.end.saturating_sub(1).max(span.start));
        first..=last
    }

    /// The span of line `line` (from 1) without its line end; empty at the end of the text when there is no such line.
    #[must_use]
    pub fn line_span(&self, line: usize) -> Span {
        let Some(&start) = line
            .checked_sub(1)
            .and_then(|index| self.line_starts.get(index))
        else {
            return Span::new(self.text.len(), self.text.len());
        };
        let end = self
            .line_starts
            .get(line)
            .map_or(self.text.len(), |&next| next - 1);
        Span::new(start, end)
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
