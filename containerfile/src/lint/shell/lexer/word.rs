//! One word of a script: quotes, escapes, substitutions. Invariant: reading a word moves on, whatever stands there.

use super::super::ShellWord;
use super::{Lexer, MAX_DEPTH};

impl Lexer<'_> {
    /// One word, up to a blank or an operator.
    pub(super) fn word(&mut self) -> ShellWord {
        let start = self.at;
        let mut text = String::new();
        let mut dynamic = false;
        while let Some(next) = self.peek() {
            match next {
                _ if is_meta(next) => break,
                '\\' => {
                    self.at += 1;
                    if let Some(escaped) = self.peek() {
                        self.at += escaped.len_utf8();
                        if escaped != '\n' {
                            text.push(escaped);
                        }
                    }
                }
                '\'' => {
                    self.at += 1;
                    let rest = self.rest();
                    let length = rest.find('\'').unwrap_or(rest.len());
                    text.push_str(&rest[..length]);
                    self.at = (self.at + length + 1).min(self.end);
                }
                '"' => dynamic |= self.double_quoted(&mut text),
                '$' | '`' => dynamic |= self.substitution(&mut text),
                _ => {
                    text.push(next);
                    self.at += next.len_utf8();
                }
            }
        }
        if self.at == start {
            // Whatever it is, it must not stop the scan.
            self.at += self.peek().map_or(1, char::len_utf8);
        }
        self.place
            .word(start, self.at.min(self.end), &text, dynamic)
    }

    fn double_quoted(&mut self, text: &mut String) -> bool {
        self.at += 1;
        let mut dynamic = false;
        while let Some(next) = self.peek() {
            match next {
                '"' => {
                    self.at += 1;
                    break;
                }
                '\\' => {
                    self.at += 1;
                    if let Some(escaped) = self.peek() {
                        self.at += escaped.len_utf8();
                        if !matches!(escaped, '"' | '$' | '`' | '\\' | '\n') {
                            text.push('\\');
                        }
                        if escaped != '\n' {
                            text.push(escaped);
                        }
                    }
                }
                '$' | '`' => dynamic |= self.substitution(text),
                _ => {
                    text.push(next);
                    self.at += next.len_utf8();
                }
            }
        }
        dynamic
    }

    /// `$x`, `${x}`, `$(…)`, `` `…` ``: kept as written; the programs in it are programs too.
    fn substitution(&mut self, text: &mut String) -> bool {
        let start = self.at;
        let (inner_start, close) = match self.rest() {
            rest if rest.starts_with("$((") => (3, "))"),
            rest if rest.starts_with("$(") => (2, ")"),
            rest if rest.starts_with("${") => (2, "}"),
            rest if rest.starts_with('`') => (1, "`"),
            _ => {
                self.at += 1;
                let rest = self.rest();
                let special = rest.starts_with(['@', '*', '#', '?', '-', '$', '!']);
                let name = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
                let length = if special {
                    1
                } else {
                    name.unwrap_or(rest.len())
                };
                self.at += length;
                text.push_str(&self.text[start..self.at]);
                return length > 0;
            }
        };
        let from = start + inner_start;
        let to = closing(&self.text[from..self.end], close).map_or(self.end, |at| from + at);
        if matches!(close, ")" | "`") && self.depth < MAX_DEPTH {
            let mut inner = Lexer::new(self.text, from, to, self.place, self.depth + 1);
            inner.run();
            self.programs.append(&mut inner.programs);
        }
        self.at = (to + close.len()).min(self.end);
        text.push_str(&self.text[start..self.at]);
        true
    }
}

/// Where a substitution ends: its closing mark outside of quotes and of inner ones.
fn closing(text: &str, close: &str) -> Option<usize> {
    let last = close.chars().next_back()?;
    let open = match last {
        ')' => Some('('),
        '}' => Some('{'),
        _ => None,
    };
    let (mut depth, mut quote) = (0_usize, None);
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        match (quote, c) {
            (_, '\\') => drop(characters.next()),
            (Some(open), _) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') if last != '}' => quote = Some(c),
            (None, _) if Some(c) == open => depth += 1,
            (None, _) if c == last && depth == 0 => {
                return text[at..].starts_with(close).then_some(at);
            }
            (None, _) if c == last => depth -= 1,
            _ => {}
        }
    }
    None
}

/// Whether an unquoted character ends a word.
pub(super) fn is_meta(c: char) -> bool {
    matches!(
        c,
        ' ' | '\t' | '\r' | '\n' | ';' | '&' | '|' | '(' | ')' | '<' | '>'
    )
}
