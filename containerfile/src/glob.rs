//! Path patterns: Go's `filepath.Match` for the sources of `COPY` and `ADD`, and moby's patterns with `**` for ignore files,
//! `--exclude` and `--parents`.
//!
//! Invariant: a pattern is an automaton over the characters of a `/`-separated path; all its readings are followed at once, so
//! matching never backtracks, and it can stop after a directory and go on below it.

use thiserror::Error;

/// Why a text is no pattern.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PatternError {
    /// `[` without `]`, or an empty or reversed range.
    #[error("pattern {0:?} has a malformed [ ] class")]
    Class(String),
    /// A backslash at the end.
    #[error("pattern {0:?} ends in a backslash")]
    TrailingEscape(String),
}

/// Whether a name matches a pattern as Go's `filepath.Match` has it: `*` and `?` stop at `/`, and there is no `**`.
///
/// # Errors
///
/// When the pattern is malformed.
pub fn matches(pattern: &str, name: &str) -> Result<bool, PatternError> {
    Ok(Glob::parse(pattern)?.matches(name))
}

/// Whether a text holds a character that means something in a pattern.
#[must_use]
pub fn has_wildcards(text: &str) -> bool {
    text.contains(['*', '?', '[', '\\'])
}

/// The part of a `--parents` source that is not recreated, and the rest: `a/./b/c` is (`a`, `b/c`).
#[must_use]
pub fn split_pivot(source: &str) -> (Option<&str>, &str) {
    match source.split_once("/./") {
        Some((base, rest)) => (Some(base), rest),
        None => (None, source.strip_prefix("./").unwrap_or(source)),
    }
}

/// A compiled pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    tokens: Vec<Token>,
    /// What every last component that matches ends in.
    plain_end: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Literal(char),
    /// `?`: any character but `/`.
    Any,
    /// `*`: any characters but `/`.
    Many,
    /// `[a-z]`; as in Go, a class may match `/`.
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
    /// `**/` before something: nothing, or anything that ends in `/`.
    Directories,
    /// `**` at an end: anything.
    Everything,
}

/// The readings of a pattern that are still possible after a part of a path. A position is twice a token's index, and one more
/// inside [`Token::Directories`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress(Vec<usize>);

impl Progress {
    /// Whether no continuation of the path can match.
    pub(crate) fn is_dead(&self) -> bool {
        self.0.is_empty()
    }
}

impl Glob {
    /// Compiles a pattern of `filepath.Match`.
    ///
    /// # Errors
    ///
    /// When it is malformed.
    pub fn parse(pattern: &str) -> Result<Self, PatternError> {
        Compiler {
            pattern,
            rest: pattern,
            tokens: Vec::new(),
        }
        .compile(false)
    }

    /// Compiles a pattern of moby's `patternmatcher`, in which `**` is any number of directories. Use it for `--parents`.
    ///
    /// # Errors
    ///
    /// When it is malformed.
    pub fn parse_deep(pattern: &str) -> Result<Self, PatternError> {
        Compiler {
            pattern,
            rest: pattern,
            tokens: Vec::new(),
        }
        .compile(true)
    }

    /// Whether the whole path matches.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        self.is_match(&self.advance(self.start(), path))
    }

    /// Whether some path below the directory may match: a walk need not enter where this is false.
    #[must_use]
    pub fn may_match_below(&self, directory: &str) -> bool {
        let inside = self.advance(self.start(), directory);
        !self.advance(inside, "/").is_dead()
    }

    /// What the last component of every path that matches ends in; most often it tells that a name does not match.
    pub(crate) fn plain_end(&self) -> &str {
        &self.plain_end
    }

    pub(crate) fn start(&self) -> Progress {
        let mut frontier = Frontier::new(self.tokens.len());
        self.reach(0, &mut frontier);
        Progress(frontier.positions)
    }

    pub(crate) fn is_match(&self, progress: &Progress) -> bool {
        progress.0.contains(&(self.tokens.len() * 2))
    }

    pub(crate) fn advance(&self, progress: Progress, text: &str) -> Progress {
        if progress.is_dead() {
            return progress;
        }
        let mut now = progress.0;
        let mut next = Frontier::new(self.tokens.len());
        for character in text.chars() {
            for &position in &now {
                self.step(position, character, &mut next);
            }
            next.take(&mut now);
            if now.is_empty() {
                break;
            }
        }
        Progress(now)
    }

    fn step(&self, position: usize, character: char, next: &mut Frontier) {
        let Some(token) = self.tokens.get(position / 2) else {
            return;
        };
        let beyond = (position / 2 + 1) * 2;
        match token {
            Token::Literal(wanted) if *wanted == character => self.reach(beyond, next),
            Token::Any if character != '/' => self.reach(beyond, next),
            Token::Many if character != '/' => self.reach(position, next),
            Token::Everything => self.reach(position, next),
            Token::Directories => {
                next.add(position | 1);
                if character == '/' {
                    self.reach(beyond, next);
                }
            }
            Token::Class { negated, ranges } => {
                let inside = ranges
                    .iter()
                    .any(|&(low, high)| (low..=high).contains(&character));
                if inside != *negated {
                    self.reach(beyond, next);
                }
            }
            Token::Literal(_) | Token::Any | Token::Many => {}
        }
    }

    /// Adds a position, and those behind tokens that may match nothing.
    fn reach(&self, position: usize, frontier: &mut Frontier) {
        let mut at = position;
        while frontier.add(at) {
            match self.tokens.get(at / 2) {
                Some(Token::Many | Token::Everything | Token::Directories) => at = (at / 2 + 1) * 2,
                _ => break,
            }
        }
    }
}

/// A set of positions: a list to walk, and a bit for each to know what is in it.
struct Frontier {
    positions: Vec<usize>,
    members: Vec<u64>,
}

impl Frontier {
    fn new(tokens: usize) -> Self {
        Self {
            positions: Vec::new(),
            members: vec![0; tokens / 32 + 1],
        }
    }

    /// Whether it was not in the set before.
    fn add(&mut self, position: usize) -> bool {
        let (word, bit) = (position / 64, 1 << (position % 64));
        let new = self.members[word] & bit == 0;
        if new {
            self.members[word] |= bit;
            self.positions.push(position);
        }
        new
    }

    /// Moves the set into `to` and is empty again.
    fn take(&mut self, to: &mut Vec<usize>) {
        for &position in &self.positions {
            self.members[position / 64] = 0;
        }
        std::mem::swap(to, &mut self.positions);
        self.positions.clear();
    }
}

struct Compiler<'p> {
    pattern: &'p str,
    rest: &'p str,
    tokens: Vec<Token>,
}

impl Compiler<'_> {
    fn next(&mut self) -> Option<char> {
        let character = self.rest.chars().next()?;
        self.rest = &self.rest[character.len_utf8()..];
        Some(character)
    }

    fn accept(&mut self, wanted: char) -> bool {
        let rest = self.rest.strip_prefix(wanted);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn compile(mut self, deep: bool) -> Result<Glob, PatternError> {
        let suffix_only = deep && is_plain_suffix(self.pattern);
        while let Some(character) = self.next() {
            let token = match character {
                '*' if deep && self.accept('*') => {
                    let before_slash = self.accept('/');
                    match (self.rest.is_empty(), suffix_only && !before_slash) {
                        // moby compares `**name` as a suffix when nothing else in it is special.
                        (true, _) | (_, true) => Token::Everything,
                        (false, false) => Token::Directories,
                    }
                }
                '*' => Token::Many,
                '?' => Token::Any,
                '[' => self.class()?,
                '\\' => Token::Literal(self.escaped()?),
                literal => Token::Literal(literal),
            };
            let repeats = matches!(token, Token::Many | Token::Everything)
                && self.tokens.last() == Some(&token);
            if !repeats {
                self.tokens.push(token);
            }
        }
        let mut plain_end: Vec<char> = Vec::new();
        for token in self.tokens.iter().rev() {
            match token {
                Token::Literal(literal) if *literal != '/' => plain_end.push(*literal),
                _ => break,
            }
        }
        Ok(Glob {
            plain_end: plain_end.into_iter().rev().collect(),
            tokens: self.tokens,
        })
    }

    fn escaped(&mut self) -> Result<char, PatternError> {
        self.next()
            .ok_or_else(|| PatternError::TrailingEscape(self.pattern.to_owned()))
    }

    /// `[^a-z\]]`, without a special place for `]` and with `^` only as the negation.
    fn class(&mut self) -> Result<Token, PatternError> {
        let malformed = PatternError::Class(self.pattern.to_owned());
        let negated = self.accept('^');
        let mut ranges = Vec::new();
        while ranges.is_empty() || !self.accept(']') {
            let low = self.class_character().ok_or_else(|| malformed.clone())?;
            let high = if self.accept('-') {
                self.class_character().ok_or_else(|| malformed.clone())?
            } else {
                low
            };
            ranges.push((low, high));
        }
        Ok(Token::Class { negated, ranges })
    }

    fn class_character(&mut self) -> Option<char> {
        match self.next()? {
            '-' | ']' => None,
            '\\' => self.next(),
            character => Some(character),
        }
    }
}

/// Whether moby would match the pattern by its suffix alone: `**` first, and nothing special behind it.
fn is_plain_suffix(pattern: &str) -> bool {
    pattern
        .strip_prefix("**")
        .is_some_and(|rest| !rest.contains(['*', '?', '[', ']', '\\']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matching_follows_filepath_match() {
        for (pattern, name, expected) in [
            ("abc", "abc", true),
            ("*", "abc", true),
            ("*c", "abc", true),
            ("a*/b", "abc/b", true),
            ("a*/b", "a/c/b", false),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/f", true),
            ("a*b?c*x", "abxbbxdbxebxczzx", true),
            ("ab[c]", "abc", true),
            ("ab[e-g]", "abc", false),
            ("ab[^c]", "abc", false),
            ("a\\*b", "a*b", true),
            ("a\\*b", "ab", false),
            ("a???b", "aαααb", true),
            ("[a-ζ]*", "α", true),
            ("*[a-ζ]", "A", false),
            ("a?b", "a/b", false),
            ("a*b", "a/b", false),
            ("[\\]a]", "]", true),
            ("[!a]x", "!x", true),
            ("[[]x", "[x", true),
            ("{a,b}", "a", false),
            ("**", "a/b", false),
            ("", "", true),
        ] {
            assert_eq!(matches(pattern, name), Ok(expected), "{pattern} on {name}");
        }
    }

    #[test]
    fn malformed_patterns_are_errors() {
        for pattern in [
            "[]a]", "[-]", "[x-]", "[-x]", "[a-b-c]", "[", "[^", "[^bc", "a[", "a\\",
        ] {
            assert!(matches(pattern, "a").is_err(), "{pattern}");
        }
    }

    #[test]
    fn a_walk_enters_only_where_something_may_match() {
        let glob = Glob::parse_deep("src/**/*.go").expect("well-formed");
        assert!(glob.may_match_below("src"));
        assert!(glob.may_match_below("src/a/b"));
        assert!(!glob.may_match_below("docs"));
        assert!(
            !Glob::parse_deep("a/b")
                .expect("well-formed")
                .may_match_below("a/b")
        );
    }

    #[test]
    fn a_pivot_splits_the_source_of_parents() {
        assert_eq!(split_pivot("app/./**/*.sql"), (Some("app"), "**/*.sql"));
        assert_eq!(split_pivot("./a/b"), (None, "a/b"));
        assert_eq!(split_pivot("a/b"), (None, "a/b"));
    }

    #[test]
    fn a_hostile_pattern_takes_no_longer_than_its_length() {
        let pattern = "a*".repeat(2000);
        assert_eq!(matches(&pattern, &"a".repeat(1000)), Ok(false));
    }
}
