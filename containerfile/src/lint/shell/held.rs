//! The programs of one RUN, as long as its file is examined.
//!
//! Invariant: what is got is what was put in; those of a file with very many instructions are made again whenever a rule asks, of
//! numbers that say where their words are.

use std::borrow::Cow;

use crate::ast::{Span, Text};
use crate::source::Source;

use super::{Kind, Program, ShellWord};

/// Programs, large or small.
#[derive(Debug)]
pub(crate) enum Held {
    /// As they are.
    Whole(Box<[Program]>),
    /// For each program its marks and the number of its words, for each word its marks and its span.
    Packed(Source, Box<[u32]>),
}

const BRANCH: u32 = 1;
const PIPED: u32 = 2;
const REDIRECTED: u32 = 4;
const BACKGROUND: u32 = 8;
/// What is left is the number of words.
const COUNT: u32 = 16;

const DYNAMIC: u32 = 1;
/// The text is what stands inside of the word's quotes.
const QUOTED: u32 = 2;

impl Default for Held {
    fn default() -> Self {
        Self::Whole(Box::default())
    }
}

impl Held {
    /// Keeps programs; packed, if every word's text stands in the source.
    pub(crate) fn new(source: &Source, programs: Vec<Program>, pack: bool) -> Self {
        let packed = (pack && !programs.is_empty()).then(|| packed(source, &programs));
        match packed.flatten() {
            Some(numbers) => Self::Packed(source.clone(), numbers.into()),
            None => Self::Whole(programs.into()),
        }
    }

    /// The programs.
    pub(crate) fn get(&self) -> Cow<'_, [Program]> {
        match self {
            Self::Whole(programs) => Cow::Borrowed(programs),
            Self::Packed(source, numbers) => Cow::Owned(unpacked(source, numbers)),
        }
    }

    /// One after the other.
    pub(crate) fn each(&self) -> impl Iterator<Item = Cow<'_, Program>> {
        let (whole, made) = match self.get() {
            Cow::Borrowed(programs) => (programs, Vec::new()),
            Cow::Owned(programs) => (&[][..], programs),
        };
        let whole = whole.iter().map(Cow::Borrowed);
        whole.chain(made.into_iter().map(Cow::Owned))
    }
}

fn packed(source: &Source, programs: &[Program]) -> Option<Vec<u32>> {
    let mut numbers = Vec::new();
    for program in programs {
        let mark = |set: bool, mark: u32| if set { mark } else { 0 };
        let marks = mark(program.kind == Kind::Branch, BRANCH)
            | mark(program.piped, PIPED)
            | mark(program.redirected, REDIRECTED)
            | mark(program.background, BACKGROUND);
        numbers.push(
            u32::try_from(program.words.len())
                .ok()?
                .checked_mul(COUNT)?
                | marks,
        );
        for word in &program.words {
            let quoted = match &*word.text {
                text if source.slice(word.span) == text => 0,
                text if source.slice(inner(word.span)) == text => QUOTED,
                _ => return None,
            };
            let (start, end) = (word.span.start(), word.span.end());
            numbers.push(mark(word.dynamic, DYNAMIC) | quoted);
            numbers.extend([u32::try_from(start).ok()?, u32::try_from(end).ok()?]);
        }
    }
    Some(numbers)
}

fn unpacked(source: &Source, numbers: &[u32]) -> Vec<Program> {
    let mut programs = Vec::new();
    let mut rest = numbers;
    while let Some((head, behind)) = rest.split_first() {
        let (words, next) = behind.split_at((head / COUNT) as usize * 3);
        let word = |numbers: &[u32]| {
            let span = Span::new(numbers[1] as usize, numbers[2] as usize);
            let place = match numbers[0] & QUOTED {
                0 => span,
                _ => inner(span),
            };
            ShellWord {
                text: Text::part(source, place),
                span,
                dynamic: numbers[0] & DYNAMIC != 0,
            }
        };
        programs.push(Program {
            kind: match head & BRANCH {
                0 => Kind::Command,
                _ => Kind::Branch,
            },
            words: words.chunks_exact(3).map(word).collect(),
            piped: head & PIPED != 0,
            redirected: head & REDIRECTED != 0,
            background: head & BACKGROUND != 0,
        });
        rest = next;
    }
    programs
}

/// What is between the quotes of a word that is one quoted text.
pub(super) fn inner(span: Span) -> Span {
    Span::new(span.start() + 1, span.end().saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::super::lexer::{self, Place};
    use super::*;

    #[test]
    fn programs_are_the_same_when_they_were_packed() {
        let text = "a 'b c' \"$d\" | e >f & case \"$x\" in y|z) g ;; esac; \"\" ß";
        for (text, packs) in [(text, true), ("make \"a\"b x\\ y", false)] {
            let source = Source::new("Containerfile", text);
            let place = Place {
                source: Some(&source),
                span: &Span::new,
            };
            let programs = lexer::of_text(text, place);
            assert!(!programs.is_empty());
            let held = Held::new(&source, programs.clone(), true);
            assert_eq!(matches!(held, Held::Packed(..)), packs, "{text}");
            assert_eq!(*held.get(), programs[..]);
            let held = Held::new(&source, programs.clone(), false);
            assert!(matches!(held, Held::Whole(_)));
            assert_eq!(*held.get(), programs[..]);
        }
    }
}
