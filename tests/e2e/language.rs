//! Rows of the Containerfile reference as builds: what is written, and what has to come out. The invariant: a row is one build of
//! its own, and a table reports every row that is wrong, not the first one.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::build_oracle::{Built, Site};

/// One row.
pub(crate) struct Row {
    name: &'static str,
    file: String,
    args: Vec<&'static str>,
    outcome: Outcome,
}

enum Outcome {
    Built(Vec<Is>),
    /// The texts that the error holds; its place is one of them (`Containerfile:LINE:COLUMN`).
    Refused(Vec<&'static str>),
}

/// What is true of an image that was built.
pub(crate) enum Is {
    /// A field of the configuration, as JSON.
    Field(&'static str, &'static str),
    /// A line of the listing of its layers (tests/lib/compare.py).
    Entry(&'static str),
    /// Something that no line of the listing holds.
    NoEntry(&'static str),
    /// A line that a RUN printed.
    Said(&'static str),
    /// A part of what the build said on standard error.
    Warns(&'static str),
    /// Something that the build did not say.
    Silent(&'static str),
}

/// A Containerfile that is built.
pub(crate) fn builds<const N: usize>(
    name: &'static str,
    file: impl Into<String>,
    proofs: [Is; N],
) -> Row {
    Row {
        name,
        file: file.into(),
        args: Vec::new(),
        outcome: Outcome::Built(proofs.into()),
    }
}

/// A Containerfile that is not.
pub(crate) fn refused<const N: usize>(
    name: &'static str,
    file: impl Into<String>,
    texts: [&'static str; N],
) -> Row {
    Row {
        name,
        file: file.into(),
        args: Vec::new(),
        outcome: Outcome::Refused(texts.into()),
    }
}

impl Row {
    /// The same with arguments.
    pub(crate) fn with<const N: usize>(mut self, args: [&'static str; N]) -> Self {
        self.args = args.into();
        self
    }

    fn check(&self, site: &Site) {
        match &self.outcome {
            Outcome::Built(proofs) => {
                let built = site.build(&self.file, &self.args);
                let base = usize::from(self.file.contains("FROM busybox"));
                proofs.iter().for_each(|proof| proof.check(&built, base));
            }
            Outcome::Refused(texts) => {
                let stderr = site.fails(&self.file, &self.args);
                for text in texts {
                    assert!(stderr.contains(text), "{text:?} is not in {stderr}");
                }
            }
        }
    }
}

impl Is {
    fn check(&self, built: &Built, base: usize) {
        let entries = || built.layers_above(base).concat();
        match self {
            Self::Field(name, value) => assert_eq!(built.field(name), *value, "{name}"),
            Self::Entry(line) => {
                let found = entries();
                assert!(
                    found.iter().any(|entry| entry == line),
                    "{line} in {found:#?}"
                );
            }
            Self::NoEntry(part) => {
                let found = entries();
                assert!(
                    found.iter().all(|entry| !entry.contains(part)),
                    "{part} in {found:#?}"
                );
            }
            Self::Said(line) => {
                let line = format!("| {line}");
                assert!(built.said(&line), "{line} in {}", built.stderr);
            }
            Self::Warns(text) => assert!(built.stderr.contains(text), "{text} in {}", built.stderr),
            Self::Silent(text) => {
                assert!(!built.stderr.contains(text), "{text} in {}", built.stderr)
            }
        }
    }
}

/// Tries every row, and names all that are wrong.
pub(crate) fn check(site: &Site, rows: &[Row]) {
    let wrong: Vec<&str> = rows
        .iter()
        .filter(|row| catch_unwind(AssertUnwindSafe(|| row.check(site))).is_err())
        .map(|row| row.name)
        .collect();
    assert!(
        wrong.is_empty(),
        "{} of {} rows are wrong: {wrong:#?}",
        wrong.len(),
        rows.len()
    );
}
