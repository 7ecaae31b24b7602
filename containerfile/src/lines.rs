//! Physical lines joined into logical lines: continuations, comments and blank lines inside them, heredoc bodies.
//!
//! Invariant: every byte of a [`LogicalLine`]'s text is a byte of the source, and [`Fragment::span`] finds it again.

use crate::ast::EscapeChar;
use crate::diagnostics::Diagnostic;
use crate::extensions::{self, Extension};
use crate::source::{Source, Span};
use crate::text::Text;

/// The longest physical line that BuildKit's scanner accepts (`bufio.MaxScanTokenSize` less one).
const MAX_LINE: usize = 64 * 1024 - 1;

const BYTE_ORDER_MARK: &str = "\u{feff}";

/// A physical line without its line end.
#[derive(Clone, Copy)]
pub(crate) struct PhysicalLine<'s> {
    pub(crate) text: &'s str,
    pub(crate) start: usize,
    /// One past the line end.
    pub(crate) next: usize,
}

impl PhysicalLine<'_> {
    pub(crate) fn is_comment(&self) -> bool {
        self.text.trim_start().starts_with('#')
    }

    fn is_blank(&self) -> bool {
        self.text.trim_start().is_empty()
    }
}

/// A cursor over the physical lines of a source.
#[derive(Clone)]
pub(crate) struct Lines<'s> {
    source: &'s Source,
    at: usize,
    extensions: Vec<Extension>,
}

impl<'s> Lines<'s> {
    pub(crate) fn new(source: &'s Source) -> Self {
        let at = if source.text().starts_with(BYTE_ORDER_MARK) {
            BYTE_ORDER_MARK.len()
        } else {
            0
        };
        Self::starting_at(source, at)
    }

    /// The lines from an offset on, which is the start of one of them or of what stands on it.
    pub(crate) fn starting_at(source: &'s Source, at: usize) -> Self {
        Self {
            source,
            at,
            extensions: Vec::new(),
        }
    }

    pub(crate) fn physical(&mut self) -> Option<PhysicalLine<'s>> {
        let rest = &self.source.text()[self.at..];
        if rest.is_empty() {
            return None;
        }
        let length = rest.find('\n').map_or(rest.len(), |end| end + 1);
        let line = PhysicalLine {
            text: rest[..length].trim_end_matches(['\r', '\n']),
            start: self.at,
            next: self.at + length,
        };
        self.at = line.next;
        Some(line)
    }

    /// The next line that is neither blank nor a comment, with its continuations.
    pub(crate) fn logical(
        &mut self,
        escape: EscapeChar,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Option<LogicalLine> {
        let (first, content) = loop {
            let line = self.checked(diagnostics)?;
            let content = line.text.trim_start();
            if content.starts_with('#') {
                self.comment(line, diagnostics);
            } else if !content.is_empty() {
                break (line, content);
            }
        };
        let start = first.start + (first.text.len() - content.len());
        let mut joined = LogicalLine {
            source: self.source.clone(),
            text: String::new(),
            pieces: Vec::new(),
            span: Span::default(),
        };
        let (kept, mut continues) = without_continuation(content, escape);
        joined.push(kept, start);
        let mut last_end = first.start + first.text.len();
        let mut blank = None;
        while continues {
            let Some(line) = self.checked(diagnostics) else {
                break;
            };
            if line.is_comment() {
                self.comment(line, diagnostics);
                continue;
            }
            if line.is_blank() {
                blank.get_or_insert(Span::new(line.start, line.next));
                continue;
            }
            let (kept, more) = without_continuation(line.text, escape);
            joined.push(kept, line.start);
            last_end = line.start + line.text.len();
            continues = more;
        }
        if let Some(span) = blank {
            diagnostics.push(
                Diagnostic::warning(
                    "NoEmptyContinuation",
                    span,
                    "empty line inside a continuation",
                )
                .with_help("remove the line, or put a `#` on it")
                .with_fix(span, ""),
            );
        }
        joined.span = Span::new(start, last_end);
        Some(joined)
    }

    fn comment(&mut self, line: PhysicalLine<'_>, diagnostics: &mut Vec<Diagnostic>) {
        self.extensions
            .extend(extensions::read(line.text, line.start, diagnostics));
    }

    /// What comments asked for since this was last called.
    pub(crate) fn take_extensions(&mut self) -> Vec<Extension> {
        std::mem::take(&mut self.extensions)
    }

    /// The lines up to the one that is `name`, which is skipped; `None` (and nothing skipped) when there is none.
    pub(crate) fn heredoc_body(
        &mut self,
        name: &str,
        strip_tabs: bool,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Option<Span> {
        let start = self.at;
        let mut ahead = self.clone();
        let mut too_long = Vec::new();
        while let Some(line) = ahead.checked(&mut too_long) {
            let candidate = if strip_tabs {
                line.text.trim_start_matches('\t')
            } else {
                line.text
            };
            if candidate == name {
                *self = ahead;
                diagnostics.append(&mut too_long);
                return Some(Span::new(start, line.start));
            }
        }
        None
    }

    /// One past the last byte that was read, without its line end.
    pub(crate) fn end_of_last_line(&self) -> usize {
        self.source.text()[..self.at]
            .trim_end_matches(['\r', '\n'])
            .len()
    }

    /// Reads on to the end of the text.
    pub(crate) fn skip_all(&mut self) {
        self.at = self.source.text().len();
    }

    pub(crate) fn source(&self) -> &'s Source {
        self.source
    }

    fn checked(&mut self, diagnostics: &mut Vec<Diagnostic>) -> Option<PhysicalLine<'s>> {
        let line = self.physical()?;
        if line.text.len() > MAX_LINE {
            let span = Span::new(line.start, line.start + line.text.len());
            diagnostics.push(Diagnostic::error(
                span,
                format!("line is longer than {MAX_LINE} bytes"),
            ));
        }
        Some(line)
    }
}

/// Cuts a continuation off: the escape character, then only blanks, and no second escape character in front.
fn without_continuation(line: &str, escape: EscapeChar) -> (&str, bool) {
    match line
        .trim_end_matches([' ', '\t'])
        .strip_suffix(escape.as_char())
    {
        Some(kept) if !kept.ends_with(escape.as_char()) => (kept, true),
        _ => (line, false),
    }
}

/// One instruction's text, with the way back to the source.
#[derive(Debug)]
pub(crate) struct LogicalLine {
    source: Source,
    text: String,
    /// (offset in `text`, offset in the source) of each physical line's share, ascending in both.
    pieces: Vec<(usize, usize)>,
    span: Span,
}

impl LogicalLine {
    fn push(&mut self, text: &str, start: usize) {
        self.pieces.push((self.text.len(), start));
        self.text.push_str(text);
    }

    pub(crate) fn span(&self) -> Span {
        self.span
    }

    /// The whole line, without blanks at its ends.
    pub(crate) fn fragment(&self) -> Fragment<'_> {
        Fragment {
            line: self,
            start: 0,
            end: self.text.len(),
        }
        .trim()
    }

    /// Where the byte at `offset` of the text is in the source.
    fn origin(&self, offset: usize) -> usize {
        let piece = self
            .pieces
            .partition_point(|&(start, _)| start <= offset)
            .saturating_sub(1);
        self.pieces
            .get(piece)
            .map_or(self.span.start(), |&(start, source)| {
                source + (offset - start)
            })
    }
}

/// A part of a logical line.
#[derive(Clone, Copy)]
pub(crate) struct Fragment<'l> {
    line: &'l LogicalLine,
    start: usize,
    end: usize,
}

impl<'l> Fragment<'l> {
    pub(crate) fn text(self) -> &'l str {
        &self.line.text[self.start..self.end]
    }

    /// The text for a tree.
    pub(crate) fn shared(self) -> Text {
        self.shared_or(self.span(), self.text())
    }

    /// A text that probably stands at a place of the same source.
    pub(crate) fn shared_or(self, span: Span, text: &str) -> Text {
        Text::at(&self.line.source, span, text)
    }

    pub(crate) fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// The part between two offsets of this fragment's text.
    pub(crate) fn slice(self, start: usize, end: usize) -> Self {
        Self {
            line: self.line,
            start: self.start + start,
            end: self.start + end,
        }
    }

    /// (offset in the text, offset in the source) of the pieces that are as written.
    pub(crate) fn pieces(self) -> impl Iterator<Item = (usize, usize)> + 'l {
        let line = self.line;
        let first = std::iter::once((0, line.origin(self.start)));
        let rest = line
            .pieces
            .iter()
            .filter(move |(at, _)| self.start < *at && *at < self.end);
        first.chain(rest.map(move |(at, source)| (at - self.start, *source)))
    }

    pub(crate) fn from(self, start: usize) -> Self {
        self.slice(start, self.end - self.start)
    }

    pub(crate) fn trim(self) -> Self {
        let text = self.text();
        let start = text.len() - text.trim_start().len();
        self.slice(start, start + text.trim().len())
    }

    /// The offsets of this fragment in the text of another one of the same line.
    pub(crate) fn extent_in(self, whole: Self) -> Span {
        Span::new(self.start - whole.start, self.end - whole.start)
    }

    /// Where it was written: from its first byte to its last, continuations in between included.
    pub(crate) fn span(self) -> Span {
        if self.is_empty() {
            let at = if self.start == 0 {
                self.line.origin(0)
            } else {
                self.line.origin(self.start - 1) + 1
            };
            return Span::new(at, at);
        }
        Span::new(
            self.line.origin(self.start),
            self.line.origin(self.end - 1) + 1,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(text: &str) -> Vec<String> {
        let source = Source::new("Containerfile", text);
        let mut lines = Lines::new(&source);
        let mut diagnostics = Vec::new();
        let next = || {
            lines
                .logical(EscapeChar::Backslash, &mut diagnostics)
                .map(|line| line.fragment().text().to_owned())
        };
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn comments_and_blank_lines_inside_a_continuation_vanish() {
        assert_eq!(
            joined("RUN a \\\n  # note\n\n  && b\nRUN c"),
            ["RUN a   && b", "RUN c"]
        );
    }

    #[test]
    fn an_escaped_escape_character_does_not_continue() {
        assert_eq!(joined("RUN a \\\\\nRUN b"), ["RUN a \\\\", "RUN b"]);
    }

    #[test]
    fn a_continuation_may_be_followed_by_blanks_and_a_carriage_return() {
        assert_eq!(joined("RUN a \\ \t\r\n b\r\n"), ["RUN a  b"]);
    }

    #[test]
    fn a_fragment_finds_its_bytes_behind_a_byte_order_mark_and_a_continuation() {
        let source = Source::new("Containerfile", "\u{feff}RUN a\\\nß c\n");
        let line = Lines::new(&source)
            .logical(EscapeChar::Backslash, &mut Vec::new())
            .expect("one line");
        let fragment = line.fragment();
        let at = fragment.text().find('ß').expect("in the text");
        assert_eq!(source.slice(fragment.slice(at, at + 2).span()), "ß");
        assert_eq!(source.slice(fragment.slice(4, at + 2).span()), "a\\\nß");
        assert_eq!(source.slice(line.span()), "RUN a\\\nß c");
    }

    #[test]
    fn a_line_of_64_kib_is_refused_and_the_next_one_still_read() {
        let text = format!("RUN {}\nRUN b", "x".repeat(MAX_LINE));
        let source = Source::new("Containerfile", text);
        let mut lines = Lines::new(&source);
        let mut diagnostics = Vec::new();
        lines
            .logical(EscapeChar::Backslash, &mut diagnostics)
            .expect("the long line");
        assert_eq!(diagnostics.len(), 1);
        assert_eq!(
            lines
                .logical(EscapeChar::Backslash, &mut diagnostics)
                .expect("the next")
                .fragment()
                .text(),
            "RUN b"
        );
    }
}
