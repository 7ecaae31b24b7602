//! Why a step was taken from the cache, or was not: `--explain-cache`. The invariant: what is told is derived from the typed inputs
//! that make a step's key, compared by digest with those of an earlier build of the same Containerfile; it names inputs and never
//! shows the value of one that may be private, and it is never part of a key.

mod inputs;
mod listing;
mod records;

use serde::{Deserialize, Serialize};

pub(crate) use inputs::Inputs;
pub(crate) use listing::Listing;
pub(crate) use records::{Entry, Explained, forget_oldest, nearest};

/// What the cache had for a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Verdict {
    /// Its result.
    Hit {
        /// The digest that stands for everything that led to it.
        key: String,
        /// When it was made, in seconds since 1970; results of earlier versions of rbuild and of other machines do not say.
        built: Option<i64>,
        /// The cache that has it, where it is not the store.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<String>,
    },
    /// Nothing that could be used.
    Miss {
        /// Why, the most telling first; at least one.
        reasons: Vec<Reason>,
    },
    /// It cannot be known before something else is done: only where nothing is executed.
    Unknown {
        /// What stands in the way.
        why: String,
    },
}

/// One difference between a step and the nearest one that was built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Reason {
    /// What differs.
    pub cause: Cause,
    /// Which of its kind: a variable, a path, a step.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// How.
    pub change: Change,
    /// What it was, where that is public.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<String>,
    /// What it is, where that is public.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<String>,
}

/// What a difference is in. In the order in which they are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// `--no-cache`.
    NoCache,
    /// `--no-cache-filter`.
    NoCacheFilter,
    /// `--check-reproducible`.
    CheckReproducible,
    /// No earlier build of this Containerfile has the step.
    NeverBuilt,
    /// It was built, and its result or the record of it was removed since.
    Gone,
    /// Its result is there as a layer only, and its stage needs directories now.
    LayerOnly,
    /// The step before it, or the last one of the stage that its stage starts from.
    Parent,
    /// The base image.
    Base,
    /// How the session stores owners.
    Owners,
    /// Where times come from.
    Times,
    /// The text of the command.
    Command,
    /// SHELL.
    Shell,
    /// `RUN --network`.
    Network,
    /// The user in effect.
    User,
    /// The working directory in effect.
    Workdir,
    /// A variable of the environment.
    Env,
    /// A build argument.
    Arg,
    /// A mount, by its target.
    Mount,
    /// A secret that is a variable.
    SecretVariable,
    /// A flag of the instruction or of the command line.
    Flag,
    /// Source paths, after expansion.
    Sources,
    /// A file given as a heredoc.
    Inline,
    /// What ADD fetched.
    Fetched,
    /// An image that files are taken from.
    Image,
    /// A stage that is mounted.
    Stage,
    /// A file of a context or a stage.
    File,
    /// So many files more.
    MoreFiles,
    /// Something without a name.
    Other,
}

/// How something differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// It is there, and was not.
    Added,
    /// It was there, and is not.
    Removed,
    /// It is another.
    Changed,
    /// Only its time is another.
    Time,
}

impl Reason {
    /// A reason that is no difference of an input.
    pub(crate) fn of(cause: Cause) -> Self {
        Self {
            cause,
            name: String::new(),
            change: Change::Changed,
            old: None,
            new: None,
        }
    }
}

/// How many files are told by name.
const FILES: usize = 5;

/// What makes the difference between two steps, in telling order; empty where nothing does.
pub(crate) fn differences(old: &Entry, new: &Entry) -> Vec<Reason> {
    let mut reasons = old.inputs.differences(&new.inputs);
    let changed = |reasons: &[Reason], cause| reasons.iter().any(|reason| reason.cause == cause);
    if changed(&reasons, Cause::Shell)
        && (changed(&reasons, Cause::Command) || old.text != new.text)
    {
        // The words before the last one are SHELL's only where the instruction itself is the same.
        reasons.retain(|reason| !matches!(reason.cause, Cause::Shell | Cause::Command));
        reasons.push(Reason::of(Cause::Command));
    }
    if reasons.len() > 1 {
        reasons.retain(|reason| reason.cause != Cause::Other);
    }
    reasons.sort_by_key(|reason| reason.cause);
    reasons
}

/// The reasons as they are told: of very many files the first few, and how many more there are.
pub(crate) fn bounded(mut reasons: Vec<Reason>) -> Vec<Reason> {
    let first = reasons.iter().position(|one| one.cause == Cause::File);
    let count = reasons
        .iter()
        .filter(|one| one.cause == Cause::File)
        .count();
    if let Some(first) = first.filter(|_| count > FILES) {
        reasons.drain(first + FILES..first + count);
        let more = Reason {
            name: (count - FILES).to_string(),
            ..Reason::of(Cause::MoreFiles)
        };
        reasons.insert(first + FILES, more);
    }
    reasons
}
