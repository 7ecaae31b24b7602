//! The values of words, and how sure they are. Invariant: a value that is not [`Certainty::Known`] is used for nothing but to say so.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use crate::ast::{EscapeChar, Text, Word};
use crate::expand::{self, Mode};

/// How sure a value is; the worst of its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Certainty {
    /// It stands in the file: written, or the default of an argument.
    Known,
    /// Part of it is an argument without a default, which counts as blank.
    Argument,
    /// Part of it is a variable that nothing sets: surely blank.
    Undefined,
    /// It depends on a base image or on the platform, or it is malformed.
    Unknown,
}

/// The value of a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Value {
    pub(crate) text: String,
    pub(crate) certainty: Certainty,
    /// The names that make it less than known.
    pub(crate) unset: BTreeSet<String>,
}

impl Value {
    pub(crate) fn literal(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            certainty: Certainty::Known,
            unset: BTreeSet::new(),
        }
    }

    pub(crate) fn unknown() -> Self {
        Self {
            text: String::new(),
            certainty: Certainty::Unknown,
            unset: BTreeSet::new(),
        }
    }

    /// The text, if it is known.
    pub(crate) fn known(&self) -> Option<&str> {
        (self.certainty == Certainty::Known).then_some(self.text.as_str())
    }

    /// `$A and $B`.
    pub(crate) fn unset_names(&self) -> String {
        let names: Vec<String> = self.unset.iter().map(|name| format!("${name}")).collect();
        names.join(" and ")
    }
}

/// The variables that an instruction sees.
#[derive(Clone, Debug, Default)]
pub(super) struct Variables {
    env: HashMap<Text, Rc<Value>>,
    args: HashMap<Text, Rc<Value>>,
    /// Whether a base image may have set more.
    pub(super) open: bool,
}

/// What describes the platform of the build: set by whoever builds.
pub(crate) const AUTOMATIC: [&str; 11] = [
    "BUILDPLATFORM",
    "BUILDOS",
    "BUILDOSVERSION",
    "BUILDARCH",
    "BUILDVARIANT",
    "TARGETPLATFORM",
    "TARGETOS",
    "TARGETOSVERSION",
    "TARGETARCH",
    "TARGETVARIANT",
    "TARGETSTAGE",
];

impl Variables {
    pub(super) fn set_env(&mut self, name: impl Into<Text>, value: Rc<Value>) {
        self.env.insert(name.into(), value);
    }

    pub(super) fn set_arg(&mut self, name: impl Into<Text>, value: Rc<Value>) {
        self.args.insert(name.into(), value);
    }

    pub(super) fn arg(&self, name: &str) -> Option<&Rc<Value>> {
        self.args.get(name)
    }

    fn get(&self, name: &str) -> Option<&Value> {
        let found = self.env.get(name).or_else(|| self.args.get(name));
        found.map(|value| &**value)
    }

    /// The value of a word; of one that is a known variable alone, that variable's own.
    pub(super) fn shared_value(&self, word: &Word, escape: EscapeChar) -> Rc<Value> {
        let alone = word.raw.strip_prefix('$');
        let alone = alone.map(|name| name.strip_prefix('{').unwrap_or(name).trim_end_matches('}'));
        let same = alone.and_then(|name| self.env.get(name).or_else(|| self.args.get(name)));
        let value = self.value(word, escape);
        match same.filter(|same| ***same == value) {
            Some(same) => same.clone(),
            None => Rc::new(value),
        }
    }

    /// The value of a word, through the expander that builds use.
    pub(super) fn value(&self, word: &Word, escape: EscapeChar) -> Value {
        let lookup = |name: &str| {
            let value = self.get(name)?;
            // An argument without a default is unset, as far as operators are concerned.
            (value.certainty != Certainty::Argument).then(|| value.text.clone())
        };
        let Ok(expansion) = expand::expand(&word.raw, &lookup, escape, Mode::Word) else {
            return Value::unknown();
        };
        let mut result = Value::literal(&expansion.text);
        for name in &expansion.used {
            if let Some(value) = self.get(name) {
                result.certainty = result.certainty.max(value.certainty);
                result.unset.extend(value.unset.iter().cloned());
            }
        }
        for name in expansion.unset {
            let certainty = match self.get(&name) {
                Some(_) => Certainty::Argument,
                None if self.open => Certainty::Unknown,
                None => Certainty::Undefined,
            };
            // A default for the unset case makes it known.
            if mentions_plainly(&word.raw, &name) {
                result.certainty = result.certainty.max(certainty);
                result.unset.insert(name);
            } else if certainty == Certainty::Unknown {
                result.certainty = Certainty::Unknown;
            }
        }
        result
    }
}

/// Whether a word holds `$NAME` or `${NAME}`, without an operator.
fn mentions_plainly(raw: &str, name: &str) -> bool {
    raw.match_indices('$').any(|(at, _)| {
        let rest = &raw[at + 1..];
        let braced = rest
            .strip_prefix('{')
            .and_then(|rest| rest.strip_prefix(name));
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        match braced {
            Some(rest) => rest.starts_with('}'),
            None => rest
                .strip_prefix(name)
                .is_some_and(|rest| !rest.starts_with(is_name)),
        }
    })
}
