//! The ways in which instructions split their arguments into words.
//!
//! Invariant: splitting never expands and, except for JSON strings, never removes a quote.

use serde_json::Value;

use crate::ast::{EscapeChar, Span, Spanned, Text, Word};
use crate::lines::Fragment;

/// What separates words of a logical line: ASCII blanks, as BuildKit's parser has it (`[\t\v\f\r ]+`).
fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\r' | '\u{b}' | '\u{c}')
}

/// Splits at the first run of blanks; the second part is empty when there is none.
pub(crate) fn split_first(fragment: Fragment<'_>) -> (Fragment<'_>, Fragment<'_>) {
    let text = fragment.text();
    let end = text.find(is_blank).unwrap_or(text.len());
    let rest = text[end..]
        .find(|character| !is_blank(character))
        .map_or(text.len(), |skip| end + skip);
    (fragment.slice(0, end), fragment.from(rest))
}

/// Words between blanks; quotes mean nothing.
pub(crate) fn blank_separated(fragment: Fragment<'_>) -> Vec<Fragment<'_>> {
    let mut words = Vec::new();
    let mut rest = fragment;
    while !rest.is_empty() {
        let (word, after) = split_first(rest);
        if !word.is_empty() {
            words.push(word);
        }
        rest = after;
    }
    words
}

/// A word that is a fragment as it stands.
pub(crate) fn word(fragment: Fragment<'_>) -> Word {
    Word::new(fragment.shared(), fragment.span())
}

/// Words between white space that is neither quoted nor escaped; quotes and escapes stay. An escape character at the very end is
/// dropped.
pub(crate) fn quoted(fragment: Fragment<'_>, escape: EscapeChar) -> Vec<Fragment<'_>> {
    let text = fragment.text();
    let mut words = Vec::new();
    let mut start = None;
    let mut quote = None;
    let mut characters = text.char_indices();
    let mut end = text.len();
    while let Some((at, character)) = characters.next() {
        match quote {
            None if character.is_whitespace() => {
                if let Some(begin) = start.take() {
                    words.push(fragment.slice(begin, at));
                }
                continue;
            }
            None if matches!(character, '\'' | '"') => quote = Some(character),
            Some(open) if character == open => quote = None,
            _ => {}
        }
        start.get_or_insert(at);
        if character == escape.as_char() && quote != Some('\'') && characters.next().is_none() {
            end = at;
        }
    }
    if let Some(begin) = start.filter(|&begin| begin < end) {
        words.push(fragment.slice(begin, end));
    }
    words
}

/// What a text that may be a JSON array turned out to be.
pub(crate) enum Json {
    /// It does not start with `[`.
    No,
    /// It starts with `[`, and is not well-formed JSON.
    Malformed,
    /// Well-formed, and holds something else than strings.
    NotStrings,
    /// An array of strings, decoded; spans include the quotes.
    Strings(Vec<Spanned<Text>>),
}

/// Reads an array of strings.
pub(crate) fn json(fragment: Fragment<'_>) -> Json {
    let text = fragment.text();
    if !text.starts_with('[') {
        return Json::No;
    }
    match JsonStrings::read(text) {
        Some(strings) => Json::Strings(
            strings
                .into_iter()
                .map(|(value, span)| {
                    let inner = fragment.slice(span.start() + 1, span.end() - 1).span();
                    let value = fragment.shared_or(inner, &value);
                    Spanned::new(value, fragment.slice(span.start(), span.end()).span())
                })
                .collect(),
        ),
        None if serde_json::from_str::<Value>(text).is_ok() => Json::NotStrings,
        None => Json::Malformed,
    }
}

/// A reader of `["a", "b"]` that keeps the places of the strings.
struct JsonStrings<'t> {
    text: &'t str,
    at: usize,
}

impl JsonStrings<'_> {
    fn read(text: &str) -> Option<Vec<(String, Span)>> {
        let mut reader = JsonStrings { text, at: 1 };
        let mut strings = Vec::new();
        if !reader.accept(']') {
            loop {
                reader.skip_blanks();
                let start = reader.at;
                let value = reader.string()?;
                strings.push((value, Span::new(start, reader.at)));
                if reader.accept(']') {
                    break;
                }
                if !reader.accept(',') {
                    return None;
                }
            }
        }
        reader.skip_blanks();
        (reader.at == text.len()).then_some(strings)
    }

    fn skip_blanks(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
    }

    fn next(&mut self) -> Option<char> {
        let character = self.text[self.at..].chars().next()?;
        self.at += character.len_utf8();
        Some(character)
    }

    fn accept(&mut self, wanted: char) -> bool {
        self.skip_blanks();
        let found = self.text[self.at..].starts_with(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn string(&mut self) -> Option<String> {
        if self.next()? != '"' {
            return None;
        }
        let mut value = String::new();
        loop {
            match self.next()? {
                '"' => return Some(value),
                '\\' => value.push(self.escaped()?),
                '\0'..='\u{1f}' => return None,
                character => value.push(character),
            }
        }
    }

    fn escaped(&mut self) -> Option<char> {
        Some(match self.next()? {
            character @ ('"' | '\\' | '/') => character,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let unit = self.code_unit()?;
                match char::from_u32(unit) {
                    Some(character) => character,
                    None => self
                        .low_surrogate(unit)
                        .unwrap_or(char::REPLACEMENT_CHARACTER),
                }
            }
            _ => return None,
        })
    }

    fn code_unit(&mut self) -> Option<u32> {
        let digits = self.text.get(self.at..self.at + 4)?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        self.at += 4;
        u32::from_str_radix(digits, 16).ok()
    }

    /// The character of a surrogate pair. A lone surrogate decodes to U+FFFD, as encoding/json has it, and nothing is skipped.
    fn low_surrogate(&mut self, high: u32) -> Option<char> {
        let before = self.at;
        let pair = self.text[self.at..].starts_with("\\u").then(|| {
            self.at += 2;
            self.code_unit()
        });
        let low = pair
            .flatten()
            .filter(|low| high < 0xDC00 && (0xDC00..0xE000).contains(low));
        if low.is_none() {
            self.at = before;
        }
        char::from_u32(0x1_0000 + ((high - 0xD800) << 10) + (low? - 0xDC00))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lines::Lines;
    use crate::source::Source;

    fn with_args<T>(args: &str, then: impl FnOnce(Fragment<'_>) -> T) -> T {
        let source = Source::new("Containerfile", args);
        let line = Lines::new(&source)
            .logical(EscapeChar::Backslash, &mut Vec::new())
            .expect("one line");
        then(line.fragment())
    }

    fn quoted_words(args: &str) -> Vec<String> {
        with_args(args, |fragment| {
            quoted(fragment, EscapeChar::Backslash)
                .into_iter()
                .map(|word| word.text().to_owned())
                .collect()
        })
    }

    #[test]
    fn quoted_words_keep_quotes_and_escapes() {
        assert_eq!(
            quoted_words(r#"a="b c" d=e\ f 'g "h'"#),
            [r#"a="b c""#, r"d=e\ f", r#"'g "h'"#]
        );
        assert_eq!(quoted_words(r"a='\' b"), [r"a='\'", "b"]);
    }

    fn strings(args: &str) -> Option<Vec<String>> {
        with_args(args, |fragment| match json(fragment) {
            Json::Strings(strings) => {
                Some(strings.into_iter().map(|one| one.value.into()).collect())
            }
            _ => None,
        })
    }

    #[test]
    fn json_strings_are_decoded() {
        assert_eq!(
            strings(r#"[ "a b" , "\"\u0041\ud83d\ude00" ]"#),
            Some(vec!["a b".to_owned(), "\"A😀".to_owned()])
        );
        assert_eq!(
            strings(r#"["\ud83dx"]"#),
            Some(vec!["\u{fffd}x".to_owned()])
        );
        assert_eq!(strings("[]"), Some(Vec::new()));
    }

    #[test]
    fn well_formed_json_of_other_values_is_told_from_malformed_json() {
        for (text, not_strings) in [
            (r#"["a", 1]"#, true),
            (r#"["a", ["b"]]"#, true),
            ("[null]", true),
            ("['a']", false),
            (r#"["a"] b"#, false),
            (r#"["a",]"#, false),
        ] {
            let found = with_args(text, json_kind);
            assert_eq!(
                found,
                if not_strings {
                    "not strings"
                } else {
                    "malformed"
                },
                "{text}"
            );
        }
    }

    fn json_kind(fragment: Fragment<'_>) -> &'static str {
        match json(fragment) {
            Json::No => "no",
            Json::Malformed => "malformed",
            Json::NotStrings => "not strings",
            Json::Strings(_) => "strings",
        }
    }
}
