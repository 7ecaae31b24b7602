//! Where a line opens heredocs: `<<EOF`, `<<-EOF`, `<<"EOF"`, `3<<EOF`.
//!
//! Invariant: an opening is found only outside quotes and `${…}`, at the start of a word; its lexing always uses `\`, whatever the
//! escape directive says (as BuildKit's does).

use crate::ast::{Heredoc, Span, Text};
use crate::diagnostics::Diagnostic;
use crate::lines::{Fragment, Lines};

/// A heredoc as it was opened; the content comes later.
#[derive(Clone)]
pub(crate) struct Opening {
    /// Offsets in the text that was searched.
    pub(crate) start: usize,
    pub(crate) end: usize,
    name: String,
    fd: u32,
    quoted: bool,
    strip_tabs: bool,
}

/// The heredocs that a text opens, in order. None when a quote or brace never closes.
pub(crate) fn openings(text: &str) -> Vec<Opening> {
    if !text.contains("<<") {
        return Vec::new();
    }
    shell_words(text)
        .unwrap_or_default()
        .into_iter()
        .filter_map(|(start, end)| opening(text, start, end))
        .collect()
}

/// Reads the bodies below a logical line. An unterminated heredoc is an error that takes the rest of the file.
pub(crate) fn bodies(
    openings: &[Opening],
    args: Fragment<'_>,
    lines: &mut Lines<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Vec<Heredoc>> {
    let mut heredocs = Vec::new();
    for opening in openings {
        let span = args.slice(opening.start, opening.end).span();
        let Some(body) = lines.heredoc_body(&opening.name, opening.strip_tabs, diagnostics) else {
            let message = format!("unterminated heredoc: no line is {:?}", opening.name);
            diagnostics.push(Diagnostic::error(span, message));
            lines.skip_all();
            return None;
        };
        heredocs.push(Heredoc {
            name: opening.name.clone(),
            fd: opening.fd,
            quoted: opening.quoted,
            strip_tabs: opening.strip_tabs,
            raw: Text::at(lines.source(), body, lines.source().slice(body)),
            span,
            body,
        });
    }
    Some(heredocs)
}

/// What encloses a character.
#[derive(PartialEq)]
enum Enclosure {
    DoubleQuote,
    Brace,
}

/// The extents of shell words. Blanks after `<<` belong to the word. A stack instead of recursion: nesting is the text's choice.
fn shell_words(text: &str) -> Option<Vec<(usize, usize)>> {
    let mut words = Vec::new();
    let mut start = None;
    let mut inside: Vec<Enclosure> = Vec::new();
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        if inside.is_empty() && character.is_whitespace() {
            words.extend(start.take().map(|begin| (begin, at)));
            continue;
        }
        start.get_or_insert(at);
        match character {
            '\\' => drop(characters.next()),
            '\'' if inside.last() != Some(&Enclosure::DoubleQuote) => {
                characters.find(|&(_, next)| next == '\'')?;
            }
            '"' if inside.last() == Some(&Enclosure::DoubleQuote) => drop(inside.pop()),
            '"' => inside.push(Enclosure::DoubleQuote),
            '}' if inside.last() == Some(&Enclosure::Brace) => drop(inside.pop()),
            '$' => match characters.peek() {
                Some((_, '{')) => {
                    characters.next();
                    inside.push(Enclosure::Brace);
                }
                // `$$`, `$#` and the like are whole: `$${` opens nothing.
                Some((_, '@' | '*' | '#' | '?' | '-' | '$' | '!' | '0')) => drop(characters.next()),
                _ => {}
            },
            '<' if inside.is_empty() && characters.next_if(|&(_, next)| next == '<').is_some() => {
                characters.next_if(|&(_, next)| next == '-' && text[at..].starts_with("<<- "));
                while characters
                    .next_if(|(_, next)| next.is_whitespace())
                    .is_some()
                {}
            }
            _ => {}
        }
    }
    words.extend(start.map(|begin| (begin, text.len())));
    inside.is_empty().then_some(words)
}

/// `^(\d*)<<(-?)\s*([^<]*)$`, where the last part is one word.
fn opening(text: &str, start: usize, end: usize) -> Option<Opening> {
    let word = &text[start..end];
    let (descriptor, rest) = word.split_once("<<")?;
    if !descriptor.bytes().all(|byte| byte.is_ascii_digit()) || rest.contains('<') {
        return None;
    }
    let (strip_tabs, delimiter) = match rest.strip_prefix('-') {
        Some(delimiter) => (true, delimiter),
        None => (false, rest),
    };
    let (name, quoted) = without_quotes(delimiter.trim_start());
    // An absurd descriptor is the shell's to refuse; it only has to survive the dump.
    let fd = if descriptor.is_empty() {
        0
    } else {
        descriptor.parse().unwrap_or(u32::MAX)
    };
    (!name.is_empty()).then_some(Opening {
        start,
        end,
        name,
        fd,
        quoted,
        strip_tabs,
    })
}

fn without_quotes(delimiter: &str) -> (String, bool) {
    let mut name = String::new();
    let (mut quote, mut quoted) = (None, false);
    let mut characters = delimiter.chars().peekable();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (None, '\'' | '"') => (quote, quoted) = (Some(character), true),
            (Some(open), _) if open == character => quote = None,
            (None, '\\') => name.extend(characters.next()),
            (Some('"'), '\\') => name.push(
                characters
                    .next_if(|next| matches!(next, '"' | '$' | '\\'))
                    .unwrap_or('\\'),
            ),
            _ => name.push(character),
        }
    }
    (name, quoted)
}

impl Opening {
    /// Whether the opening shares bytes with another extent of the same text.
    pub(crate) fn overlaps(&self, extent: Span) -> bool {
        self.start < extent.end() && extent.start() < self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(String, u32, bool, bool)> {
        openings(text)
            .into_iter()
            .map(|one| (one.name, one.fd, one.quoted, one.strip_tabs))
            .collect()
    }

    #[test]
    fn heredocs_are_found_anywhere_in_a_line() {
        for (text, name, fd, quoted, strip_tabs) in [
            ("<<EOF", "EOF", 0, false, false),
            ("cat <<EOF > /x", "EOF", 0, false, false),
            ("3<<EOF", "EOF", 3, false, false),
            ("<<-'EOF'", "EOF", 0, true, true),
            ("<<eo'f'", "eof", 0, true, false),
            (r"<<eo\'f", "eo'f", 0, false, false),
            (r"<<'e'o\'f", "eo'f", 0, true, false),
            ("<<'one two'", "one two", 0, true, false),
            ("<<$EOF", "$EOF", 0, false, false),
            ("<<  EOF  > foo", "EOF", 0, false, false),
            ("<<- EOF", "EOF", 0, false, true),
            ("<< -EOF", "-EOF", 0, false, false),
            ("<<file.txt /dest", "file.txt", 0, false, false),
        ] {
            assert_eq!(
                found(text),
                [(name.to_owned(), fd, quoted, strip_tabs)],
                "{text}"
            );
        }
        assert_eq!(found("<<A x <<B").len(), 2);
    }

    #[test]
    fn what_only_looks_like_a_heredoc_is_left_alone() {
        for text in [
            "<<<EOF",
            "'<<EOF'",
            "\"<<EOF\"",
            "x<<EOF",
            "<<",
            "<<-",
            "<EOF",
            "<<''",
            "echo it's <<EOF",
            "${x:-<<EOF}",
            r"\<<EOF",
        ] {
            assert_eq!(found(text), [], "{text}");
        }
    }
}
