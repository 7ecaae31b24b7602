//! The reader of one word: a recursive descent over quotes, escapes and substitutions.
//!
//! Invariant: it consumes every character once, and recursion is as deep as substitutions nest, which is bounded.

use std::collections::BTreeSet;

use super::pattern::Pattern;
use super::{ExpandError, MAX_DEPTH, MAX_LENGTH, Mode};
use crate::ast::EscapeChar;

/// What has been produced so far: the value as one text, and the same value as words.
#[derive(Default)]
pub(super) struct Output {
    pub(super) text: String,
    words: Vec<String>,
    word: String,
}

impl Output {
    /// Quoted or escaped: never splits.
    fn literal(&mut self, text: &str) {
        self.text.push_str(text);
        self.word.push_str(text);
    }

    /// Splits at blanks.
    fn plain(&mut self, text: &str) {
        self.text.push_str(text);
        for (index, part) in text.split(char::is_whitespace).enumerate() {
            if index > 0 && !self.word.is_empty() {
                self.words.push(std::mem::take(&mut self.word));
            }
            self.word.push_str(part);
        }
    }

    pub(super) fn into_words(mut self) -> Vec<String> {
        if !self.word.is_empty() {
            self.words.push(self.word);
        }
        self.words
    }
}

/// Reads one word.
pub(super) struct Expander<'e> {
    rest: &'e str,
    lookup: &'e dyn Fn(&str) -> Option<String>,
    escape: char,
    quotes: bool,
    depth: usize,
    pub(super) used: BTreeSet<String>,
    pub(super) unset: BTreeSet<String>,
}

impl<'e> Expander<'e> {
    pub(super) fn new(
        word: &'e str,
        lookup: &'e dyn Fn(&str) -> Option<String>,
        escape: EscapeChar,
        mode: Mode,
    ) -> Self {
        let (escape, quotes) = match mode {
            Mode::Word => (escape.as_char(), true),
            Mode::Heredoc => ('\\', false),
        };
        Self {
            rest: word,
            lookup,
            escape,
            quotes,
            depth: 0,
            used: BTreeSet::new(),
            unset: BTreeSet::new(),
        }
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let character = self.peek()?;
        self.rest = &self.rest[character.len_utf8()..];
        Some(character)
    }

    fn accept(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.next();
        }
        found
    }

    /// Expands up to `stop`, which is consumed, or to the end. In patterns escapes stay, for the pattern to read.
    pub(super) fn run(
        &mut self,
        stop: Option<char>,
        keep_escapes: bool,
    ) -> Result<Output, ExpandError> {
        let mut output = Output::default();
        while let Some(character) = self.peek() {
            if stop == Some(character) {
                self.next();
                return Ok(output);
            }
            match character {
                '$' => {
                    let value = self.dollar()?;
                    output.plain(&value);
                }
                '\'' if self.quotes => {
                    let text = self.single_quoted()?;
                    output.literal(text);
                }
                '"' if self.quotes => {
                    let text = self.double_quoted(keep_escapes)?;
                    output.literal(&text);
                }
                _ if character == self.escape => {
                    let before = self.rest;
                    self.next();
                    self.next();
                    let escaped = &before[..before.len() - self.rest.len()];
                    output.literal(if keep_escapes {
                        escaped
                    } else {
                        &escaped[character.len_utf8()..]
                    });
                }
                _ => {
                    self.next();
                    output.plain(character.encode_utf8(&mut [0; 4]));
                }
            }
            if output.text.len() > MAX_LENGTH {
                return Err(ExpandError::TooLong);
            }
        }
        match stop {
            None => Ok(output),
            Some('/') => Err(ExpandError::MissingSlash),
            Some(_) => Err(ExpandError::UnclosedBrace),
        }
    }

    fn single_quoted(&mut self) -> Result<&'e str, ExpandError> {
        let (text, rest) = self.rest[1..]
            .split_once('\'')
            .ok_or(ExpandError::UnclosedQuote('\''))?;
        self.rest = rest;
        Ok(text)
    }

    fn double_quoted(&mut self, keep_escapes: bool) -> Result<String, ExpandError> {
        let mut text = String::new();
        self.next();
        loop {
            match self.peek().ok_or(ExpandError::UnclosedQuote('"'))? {
                '"' => {
                    self.next();
                    return Ok(text);
                }
                '$' => text.push_str(&self.dollar()?),
                character if character == self.escape => {
                    self.next();
                    match self.peek() {
                        Some(next) if next == '"' || next == '$' || next == self.escape => {
                            if keep_escapes {
                                text.push(character);
                            }
                            text.push(next);
                            self.next();
                        }
                        // Not an escape here, so a pattern must not take it for one.
                        _ if keep_escapes => text.extend([character, character]),
                        _ => text.push(character),
                    }
                }
                character => {
                    text.push(character);
                    self.next();
                }
            }
            if text.len() > MAX_LENGTH {
                return Err(ExpandError::TooLong);
            }
        }
    }

    /// `$name`, `${name}` or `${name operator …}`.
    fn dollar(&mut self) -> Result<String, ExpandError> {
        self.next();
        if !self.accept('{') {
            let name = self.name();
            return Ok(if name.is_empty() {
                "$".to_owned()
            } else {
                self.value(name).unwrap_or_default()
            });
        }
        match self.peek() {
            None => return Err(ExpandError::UnclosedBrace),
            Some('{' | '}' | ':') => return Err(ExpandError::BadSubstitution),
            Some(_) => {}
        }
        if self.depth >= MAX_DEPTH {
            return Err(ExpandError::TooDeep);
        }
        self.depth += 1;
        let name = self.name();
        let value = self.substitution(name);
        self.depth -= 1;
        value
    }

    fn substitution(&mut self, name: &str) -> Result<String, ExpandError> {
        let operator = self.next().ok_or(ExpandError::UnclosedBrace)?;
        if name.is_empty() {
            return Err(ExpandError::BadSubstitution);
        }
        match operator {
            '}' => Ok(self.value(name).unwrap_or_default()),
            ':' => match self.next() {
                Some(operator @ ('-' | '+' | '?')) => self.conditional(name, operator, true),
                Some(operator) => Err(ExpandError::UnknownOperator(format!(":{operator}"))),
                None => Err(ExpandError::UnclosedBrace),
            },
            '-' | '+' | '?' => self.conditional(name, operator, false),
            '#' | '%' => self.trim(name, operator),
            '/' => self.replace(name),
            other => Err(ExpandError::UnknownOperator(other.to_string())),
        }
    }

    fn conditional(
        &mut self,
        name: &str,
        operator: char,
        empty_is_unset: bool,
    ) -> Result<String, ExpandError> {
        let word = self.run(Some('}'), false)?.text;
        let found = self.value(name);
        let was_set = found.is_some();
        let value = found.filter(|value| !(empty_is_unset && value.is_empty()));
        match (operator, value) {
            ('+', Some(_)) => Ok(word),
            ('+', None) => Ok(String::new()),
            (_, Some(value)) => Ok(value),
            ('-', None) => Ok(word),
            (_, None) => {
                let reason = if was_set {
                    "is not allowed to be empty"
                } else {
                    "is not allowed to be unset"
                };
                let message = if word.is_empty() {
                    reason.to_owned()
                } else {
                    word
                };
                Err(ExpandError::Required {
                    name: name.to_owned(),
                    message,
                })
            }
        }
    }

    /// `${v#p}`, `${v##p}`, `${v%p}`, `${v%%p}`.
    fn trim(&mut self, name: &str, operator: char) -> Result<String, ExpandError> {
        let longest = self.accept(operator);
        let pattern = self.run(Some('}'), true)?.text;
        let pattern = compile(&pattern)?;
        let value = self.value(name).unwrap_or_default();
        Ok(match operator {
            '#' => pattern.without_prefix(&value, longest).to_owned(),
            _ => pattern.without_suffix(&value, longest).to_owned(),
        })
    }

    /// `${v/p/r}`, `${v//p/r}`.
    fn replace(&mut self, name: &str) -> Result<String, ExpandError> {
        let all = self.accept('/');
        let pattern = self.run(Some('/'), true)?.text;
        let replacement = self.run(Some('}'), true)?.text;
        let pattern = compile(&pattern)?;
        let value = self.value(name).unwrap_or_default();
        pattern
            .replace(&value, &replacement, all, MAX_LENGTH)
            .ok_or(ExpandError::TooLong)
    }

    /// A name, the digits of a positional parameter, or one special parameter; empty when there is none of them.
    fn name(&mut self) -> &'e str {
        let rest = self.rest;
        let first = self.peek();
        let end = match first {
            // `0` is both; all digits belong to it all the same.
            Some(digit) if digit.is_numeric() => {
                rest.find(|c: char| !c.is_numeric()).unwrap_or(rest.len())
            }
            Some('@' | '*' | '#' | '?' | '-' | '$' | '!') => 1,
            _ => rest
                .find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(rest.len()),
        };
        self.rest = &rest[end..];
        &rest[..end]
    }

    fn value(&mut self, name: &str) -> Option<String> {
        // Positional and special parameters are never set, so they say nothing about the file's variables.
        if !name.starts_with(|first: char| first.is_alphabetic() || first == '_') {
            return None;
        }
        let value = (self.lookup)(name);
        let names = if value.is_some() {
            &mut self.used
        } else {
            &mut self.unset
        };
        names.insert(name.to_owned());
        value
    }
}

fn compile(text: &str) -> Result<Pattern, ExpandError> {
    Pattern::parse(text).map_err(|source| ExpandError::Pattern {
        pattern: text.to_owned(),
        source,
    })
}
