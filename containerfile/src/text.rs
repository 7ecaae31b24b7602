//! Texts of a tree. Invariant: one that stands in its source as it is holds no copy of it, so a tree of a large file stays small.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

use serde::{Serialize, Serializer};

use crate::source::{Source, Span};

/// A text: a part of a source, or one that was made of it.
#[derive(Clone)]
pub struct Text(Kind);

#[derive(Clone)]
enum Kind {
    Part(Source, Span),
    /// Boxed twice, so that neither kind is larger than two words.
    Made(Box<Box<str>>),
}

impl Text {
    /// What stands at a place, where that is the given text; else a copy.
    pub(crate) fn at(source: &Source, span: Span, text: &str) -> Self {
        match source.slice(span) == text {
            true => Self::part(source, span),
            false => Self::from(text),
        }
    }

    /// What stands at a place.
    pub(crate) fn part(source: &Source, span: Span) -> Self {
        Self(Kind::Part(source.clone(), span))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Kind::Part(source, span) => source.slice(*span),
            Kind::Made(text) => text,
        }
    }
}

impl Default for Text {
    fn default() -> Self {
        Self::from("")
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(Kind::Made(Box::new(text.into_boxed_str())))
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(Kind::Made(Box::new(text.into())))
    }
}

impl From<Text> for String {
    fn from(text: Text) -> Self {
        text.as_str().to_owned()
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        self
    }
}

impl Borrow<str> for Text {
    fn borrow(&self) -> &str {
        self
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Text {}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        **self == *other
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        **self == **other
    }
}

impl PartialEq<Text> for str {
    fn eq(&self, other: &Text) -> bool {
        *self == **other
    }
}

impl PartialEq<Text> for &str {
    fn eq(&self, other: &Text) -> bool {
        **self == **other
    }
}

impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, formatter)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&**self, formatter)
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_stands_in_its_source_is_no_copy() {
        let source = Source::new("Containerfile", "RUN ß x");
        let part = Text::at(&source, Span::new(4, 6), "ß");
        assert_eq!(part.as_ptr(), source.slice(Span::new(4, 6)).as_ptr());
        let made = Text::at(&source, Span::new(4, 7), "ß");
        assert_eq!((&*made, part == made), ("ß", true));
        assert_eq!(size_of::<Text>(), 16);
    }
}
