//! Ignore files (`.containerignore`, `.dockerignore`) and `--exclude`, with the semantics of moby's `patternmatcher`.
//!
//! Invariant: the last pattern that matches a path or one of its parents decides; asking for the whole path and walking down to it
//! give the same answer.

use thiserror::Error;

use crate::glob::{Glob, PatternError, Progress};
use crate::path;

/// Why a text is no ignore file.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum IgnoreError {
    /// `!` alone.
    #[error("read line {line}: \"!\" excludes nothing")]
    EmptyException {
        /// The line, from 1.
        line: usize,
    },
    /// A malformed pattern.
    #[error("read line {line}")]
    Pattern {
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        source: PatternError,
    },
}

/// The patterns of an ignore file, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IgnoreFile {
    patterns: Vec<Pattern>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    glob: Glob,
    /// Begins with `!`.
    exception: bool,
}

/// What a walk knows about the directory that it is in. [`IgnoreFile::root`] makes the first, [`IgnoreFile::enter`] each further
/// one; a walk keeps one per level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// The patterns that may still match something here, by their places, in order.
    live: Vec<(usize, State)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// The pattern matched this directory or one above it, and so everything below.
    Matched,
    /// How far the path, with a `/` at its end, got.
    Open(Progress),
}

/// The answer for one directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entered {
    /// Whether the directory itself is ignored.
    pub ignored: bool,
    /// Whether something below may still be wanted: false means that a walk may skip it all.
    pub descend: bool,
    /// The state for its entries.
    pub directory: Directory,
}

impl IgnoreFile {
    /// Reads an ignore file.
    ///
    /// # Errors
    ///
    /// For a `!` alone and for malformed patterns.
    pub fn parse(text: &str) -> Result<Self, IgnoreError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let lines = text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.starts_with('#'));
        Self::collect(lines.map(|(index, line)| (index + 1, line)))
    }

    /// Takes patterns one by one, such as the values of `--exclude`; errors count them as lines.
    ///
    /// # Errors
    ///
    /// As [`IgnoreFile::parse`].
    pub fn from_patterns<'p>(
        patterns: impl IntoIterator<Item = &'p str>,
    ) -> Result<Self, IgnoreError> {
        Self::collect(
            patterns
                .into_iter()
                .enumerate()
                .map(|(index, pattern)| (index + 1, pattern)),
        )
    }

    fn collect<'p>(lines: impl Iterator<Item = (usize, &'p str)>) -> Result<Self, IgnoreError> {
        let mut patterns = Vec::new();
        for (line, text) in lines {
            let text = text.trim();
            let (exception, text) = match text.strip_prefix('!') {
                Some(text) => (true, text.trim()),
                None => (false, text),
            };
            if text.is_empty() && exception {
                return Err(IgnoreError::EmptyException { line });
            }
            if text.is_empty() {
                continue;
            }
            let cleaned = path::clean(text);
            let pattern = cleaned
                .strip_prefix('/')
                .filter(|rest| !rest.is_empty())
                .unwrap_or(&cleaned);
            let glob = Glob::parse_deep(pattern)
                .map_err(|source| IgnoreError::Pattern { line, source })?;
            patterns.push(Pattern { glob, exception });
        }
        Ok(Self { patterns })
    }

    /// Whether nothing is ever ignored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether a path, relative to the root of the context, is ignored.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        let path = path::clean(path);
        let mut directory = self.root();
        let mut rest = path.as_str();
        while let Some((parent, below)) = rest.split_once('/') {
            directory = self.enter(&directory, parent).directory;
            rest = below;
        }
        self.ignores(&directory, rest)
    }

    /// The state at the root of the context.
    #[must_use]
    pub fn root(&self) -> Directory {
        let states = self.patterns.iter().enumerate();
        Directory {
            live: states
                .map(|(place, pattern)| (place, State::Open(pattern.glob.start())))
                .collect(),
        }
    }

    /// Whether the entry `name` of a directory is ignored.
    #[must_use]
    pub fn ignores(&self, parent: &Directory, name: &str) -> bool {
        let mut ignored = false;
        for (place, state) in &parent.live {
            let pattern = &self.patterns[*place];
            // A pattern that would not change the answer need not be asked.
            if pattern.exception == ignored && pattern.matches(state, name) {
                ignored = !pattern.exception;
            }
        }
        ignored
    }

    /// Goes down into the directory `name` of a directory.
    #[must_use]
    pub fn enter(&self, parent: &Directory, name: &str) -> Entered {
        let mut ignored = false;
        let mut live = Vec::with_capacity(parent.live.len());
        for (place, state) in &parent.live {
            let pattern = &self.patterns[*place];
            match pattern.enter(state, name) {
                State::Matched => {
                    ignored = !pattern.exception;
                    live.push((*place, State::Matched));
                }
                State::Open(progress) if progress.is_dead() => {}
                open => live.push((*place, open)),
            }
        }
        let descend = !ignored || self.exceptions_below(&live);
        Entered {
            ignored,
            descend,
            directory: Directory { live },
        }
    }

    /// Whether an exception that comes after the pattern that decided here may match further down.
    fn exceptions_below(&self, live: &[(usize, State)]) -> bool {
        let mut later = live
            .iter()
            .rev()
            .take_while(|(_, state)| !matches!(state, State::Matched));
        later.any(|(place, _)| self.patterns[*place].exception)
    }
}

impl Pattern {
    fn matches(&self, state: &State, name: &str) -> bool {
        match state {
            State::Matched => true,
            // Most names fail this, and most patterns end in something plain.
            State::Open(_) if !name.ends_with(self.glob.plain_end()) => false,
            State::Open(progress) => self
                .glob
                .is_match(&self.glob.advance(progress.clone(), name)),
        }
    }

    fn enter(&self, state: &State, name: &str) -> State {
        let State::Open(progress) = state else {
            return State::Matched;
        };
        let here = self.glob.advance(progress.clone(), name);
        if self.glob.is_match(&here) {
            State::Matched
        } else {
            State::Open(self.glob.advance(here, "/"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ignore(text: &str) -> IgnoreFile {
        IgnoreFile::parse(text).expect(text)
    }

    #[test]
    fn lines_are_trimmed_cleaned_and_anchored() {
        let file =
            ignore("\u{feff}# not a comment pattern\n  /docs/  \n\n./a//b\n! /docs/keep \r\n #x\n");
        assert!(
            file.matches("docs")
                && file.matches("docs/x")
                && file.matches("a/b")
                && file.matches("#x")
        );
        assert!(
            !file.matches("docs/keep")
                && !file.matches("sub/docs")
                && !file.matches("# not a comment pattern")
        );
    }

    #[test]
    fn the_probe_table_gives_the_answers_of_moby() {
        for (pattern, path, expected) in [
            ("a**b", "ab", true),
            ("a**b", "axb", false),
            ("a**b", "ax/b", true),
            ("[!a]x", "!x", true),
            ("[!a]x", "bx", false),
            ("{a,b}", "a", false),
            ("*.md", "sub/x.md", false),
            ("docs", "sub/docs", false),
            ("**file", "afile", true),
            ("a**", "ab/c", true),
        ] {
            assert_eq!(
                ignore(pattern).matches(path),
                expected,
                "{pattern} on {path}"
            );
        }
    }

    #[test]
    fn a_walk_descends_below_an_ignored_directory_only_for_exceptions() {
        let file = ignore("*\n!src/**/*.go\n");
        let root = file.root();
        let src = file.enter(&root, "src");
        assert!(src.ignored && src.descend);
        assert!(!file.ignores(&src.directory, "main.go") && file.ignores(&src.directory, "main.c"));
        let docs = file.enter(&root, "docs");
        assert!(docs.ignored && !docs.descend);
        let overruled = ignore("!a/keep\na\n");
        assert!(!overruled.enter(&overruled.root(), "a").descend);
    }

    #[test]
    fn a_plain_end_rules_out_only_what_does_not_match() {
        for (pattern, path, expected) in [
            ("**/*.tmp", "a/b.tmp", true),
            ("**/*.tmp", "a/b.tmpx", false),
            ("a/b", "a/b", true),
            ("a/b", "a/xb", false),
            ("a[/]b", "a/b", true),
            ("x\\*", "x*", true),
            ("**é", "dir/café", true),
            ("a/**", "a/b/c", true),
        ] {
            assert_eq!(
                ignore(pattern).matches(path),
                expected,
                "{pattern} on {path}"
            );
        }
    }

    #[test]
    fn a_lone_exclamation_mark_is_an_error_with_its_line() {
        assert_eq!(
            IgnoreFile::parse("a\n !\n"),
            Err(IgnoreError::EmptyException { line: 2 })
        );
        assert!(matches!(
            IgnoreFile::parse("[\n"),
            Err(IgnoreError::Pattern { line: 1, .. })
        ));
    }
}
