//! The patterns of `#`, `%` and `/`: `*`, `?` and backslashes, no brackets.
//!
//! Invariant: matching takes time proportional to text times pattern at worst for one start; nothing backtracks.

use thiserror::Error;

/// Why a text is no pattern.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PatternError {
    /// Only `* ? \ } /` may be escaped.
    #[error("a backslash escapes nothing but * ? \\ }} and /, not {0:?}")]
    Escape(char),
    /// A backslash at the end.
    #[error("a backslash ends it")]
    TrailingEscape,
}

#[derive(Clone, Copy, PartialEq)]
enum Token {
    Literal(char),
    Any,
    Many,
}

pub(super) struct Pattern {
    tokens: Vec<Token>,
}

impl Pattern {
    pub(super) fn parse(text: &str) -> Result<Self, PatternError> {
        let mut tokens = Vec::new();
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            tokens.push(match character {
                '*' if tokens.last() == Some(&Token::Many) => continue,
                '*' => Token::Many,
                '?' => Token::Any,
                '\\' => match characters.next() {
                    Some(escaped @ ('*' | '?' | '\\' | '}' | '/')) => Token::Literal(escaped),
                    Some(other) => return Err(PatternError::Escape(other)),
                    None => return Err(PatternError::TrailingEscape),
                },
                literal => Token::Literal(literal),
            });
        }
        Ok(Self { tokens })
    }

    /// The value without the shortest or longest start that matches.
    pub(super) fn without_prefix<'v>(&self, value: &'v str, longest: bool) -> &'v str {
        let forward = value
            .char_indices()
            .map(|(at, character)| (at + character.len_utf8(), character));
        let cut = matched(&self.tokens, 0, forward, longest);
        &value[cut.unwrap_or(0)..]
    }

    /// The value without the shortest or longest end that matches: the same, read backwards.
    pub(super) fn without_suffix<'v>(&self, value: &'v str, longest: bool) -> &'v str {
        let tokens: Vec<Token> = self.tokens.iter().rev().copied().collect();
        let cut = matched(&tokens, value.len(), value.char_indices().rev(), longest);
        &value[..cut.unwrap_or(value.len())]
    }

    /// The value with its first match, or all of them, replaced; each is the longest at the leftmost place, as in a shell. `None`
    /// when the result would be longer than `limit`.
    pub(super) fn replace(
        &self,
        value: &str,
        replacement: &str,
        all: bool,
        limit: usize,
    ) -> Option<String> {
        let mut result = String::new();
        let mut at = 0;
        // An empty match right behind a match is none, as in Go's ReplaceAllString.
        let mut behind_match = false;
        while at <= value.len() {
            let forward = value[at..]
                .char_indices()
                .map(|(offset, character)| (at + offset + character.len_utf8(), character));
            let end =
                matched(&self.tokens, at, forward, true).filter(|&end| end > at || !behind_match);
            if let Some(end) = end {
                result.push_str(replacement);
                behind_match = end > at;
                if !all || end > at {
                    at = end;
                    if !all {
                        break;
                    }
                    continue;
                }
            }
            behind_match = false;
            let Some(character) = value[at..].chars().next() else {
                break;
            };
            result.push(character);
            at += character.len_utf8();
            if result.len() > limit {
                return None;
            }
        }
        result.push_str(&value[at..]);
        (result.len() <= limit).then_some(result)
    }
}

/// Runs all readings of the pattern at once over characters, each with the place behind it. The place where the shortest or longest
/// match ends.
fn matched(
    tokens: &[Token],
    start: usize,
    characters: impl Iterator<Item = (usize, char)>,
    longest: bool,
) -> Option<usize> {
    let mut live = vec![false; tokens.len() + 1];
    live[0] = true;
    skip_many(tokens, &mut live);
    let mut found = live[tokens.len()].then_some(start);
    for (place, character) in characters {
        if found.is_some() && !longest {
            break;
        }
        let mut next = vec![false; tokens.len() + 1];
        for (at, token) in tokens.iter().enumerate().filter(|&(at, _)| live[at]) {
            match token {
                Token::Many => next[at] = true,
                Token::Any => next[at + 1] = true,
                Token::Literal(wanted) if *wanted == character => next[at + 1] = true,
                Token::Literal(_) => {}
            }
        }
        skip_many(tokens, &mut next);
        if !next.contains(&true) {
            break;
        }
        live = next;
        if live[tokens.len()] {
            found = Some(place);
        }
    }
    found
}

/// A `*` may match nothing.
fn skip_many(tokens: &[Token], live: &mut [bool]) {
    for at in 0..tokens.len() {
        if live[at] && tokens[at] == Token::Many {
            live[at + 1] = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).expect(text)
    }

    #[test]
    fn shortest_and_longest_ends_are_cut() {
        for (text, prefix, longest_prefix, suffix, longest_suffix) in [
            ("*/", "b/c.t", "c.t", "a/b/c.t", "a/b/c.t"),
            (".*", "a/b/c.t", "a/b/c.t", "a/b/c", "a/b/c"),
            ("*", "a/b/c.t", "", "a/b/c.t", ""),
            ("/*", "a/b/c.t", "a/b/c.t", "a/b", "a"),
            ("?", "/b/c.t", "/b/c.t", "a/b/c.", "a/b/c."),
            ("", "a/b/c.t", "a/b/c.t", "a/b/c.t", "a/b/c.t"),
        ] {
            let value = "a/b/c.t";
            assert_eq!(
                pattern(text).without_prefix(value, false),
                prefix,
                "#{text}"
            );
            assert_eq!(
                pattern(text).without_prefix(value, true),
                longest_prefix,
                "##{text}"
            );
            assert_eq!(
                pattern(text).without_suffix(value, false),
                suffix,
                "%{text}"
            );
            assert_eq!(
                pattern(text).without_suffix(value, true),
                longest_suffix,
                "%%{text}"
            );
        }
        assert_eq!(pattern("?").without_suffix("x한", true), "x");
    }

    #[test]
    fn replacement_takes_the_longest_match_at_the_leftmost_place() {
        for (text, value, replacement, all, result) in [
            ("b*b", "abxbyb c", "-", false, "a- c"),
            ("a", "banana", "o", false, "bonana"),
            ("a", "banana", "o", true, "bonono"),
            ("*", "abc", "x", true, "x"),
            ("", "ab", "-", true, "-a-b-"),
            ("x", "abc", "-", true, "abc"),
            ("?", "한국", "-", true, "--"),
        ] {
            assert_eq!(
                pattern(text)
                    .replace(value, replacement, all, 99)
                    .as_deref(),
                Some(result),
                "{value}/{text}"
            );
        }
        assert_eq!(pattern("a").replace("aaaa", "xxxxx", true, 10), None);
    }

    #[test]
    fn only_pattern_characters_may_be_escaped() {
        assert_eq!(pattern(r"\*x").without_prefix("*xy", false), "y");
        assert_eq!(Pattern::parse(r"\a").err(), Some(PatternError::Escape('a')));
        assert_eq!(
            Pattern::parse(r"a\").err(),
            Some(PatternError::TrailingEscape)
        );
    }
}
