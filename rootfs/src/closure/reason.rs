//! Why a file is in a closure, as data and as a sentence.
//!
//! Invariant: every reason names the file that the need comes from, so that reasons form chains which end at the program.

use std::fmt;

use super::ClosureFile;
use crate::path::{TreePath, escape};

/// Who needs a file, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// Who needs it.
    pub by: TreePath,
    /// What for.
    pub why: Why,
}

/// What a file is needed for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is what the program's path leads to.
    Program,
    /// The kernel starts it to load the program (PT_INTERP).
    Interpreter,
    /// The kernel starts it to read the script (`#!`).
    Script,
    /// `env` looks for it in PATH.
    Env(Vec<u8>),
    /// A library by its name (DT_NEEDED), and where the loader finds it.
    Library(Vec<u8>, How),
    /// A library that `/etc/ld.so.preload` names, and where the loader finds it.
    Preload(Vec<u8>, How),
    /// A library that is opened later, as `.note.dlopen` says.
    Dlopen(Vec<u8>, How),
    /// A symbolic link on the way to it.
    Link,
    /// The loader finds it only through this list of libraries or directories.
    List,
    /// A rule of this name says that the program opens it.
    Rule(String),
}

/// From a file to what needs it, and so on, among files in the order of their paths.
pub(super) fn chain(files: &[ClosureFile], path: &TreePath) -> Vec<(TreePath, Reason)> {
    let reason = |path: &TreePath| {
        let found = files.binary_search_by(|file| file.path.cmp(path));
        found.ok().map(|index| files[index].reason.clone())
    };
    let mut chain: Vec<(TreePath, Reason)> = Vec::new();
    let mut at = path.clone();
    while let Some(reason) = reason(&at) {
        if chain.iter().any(|(seen, _)| *seen == at) {
            break;
        }
        let next = reason.by.clone();
        chain.push((at, reason));
        at = next;
    }
    chain
}

/// Where a loader finds a library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    /// The name is a path.
    Path,
    /// DT_RPATH of this object.
    Rpath(TreePath),
    /// DT_RUNPATH of this object.
    Runpath(TreePath),
    /// `LD_LIBRARY_PATH`.
    LibraryPath,
    /// `/etc/ld.so.cache`.
    Cache,
    /// A directory that is built into the loader.
    Default,
    /// A directory in musl's path file.
    PathFile,
}

impl fmt::Display for How {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path => formatter.write_str("by its path"),
            Self::Rpath(object) => write!(formatter, "in RPATH of {object}"),
            Self::Runpath(object) => write!(formatter, "in RUNPATH of {object}"),
            Self::LibraryPath => formatter.write_str("in LD_LIBRARY_PATH"),
            Self::Cache => formatter.write_str("in ld.so.cache"),
            Self::Default => formatter.write_str("in a directory of the loader"),
            Self::PathFile => formatter.write_str("in a directory of musl's path file"),
        }
    }
}

/// What the need is called, without who has it.
impl fmt::Display for Why {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Program => formatter.write_str("program"),
            Self::Interpreter => formatter.write_str("loader"),
            Self::Script => formatter.write_str("#!"),
            Self::Env(name) => write!(formatter, "env {}", escape(name)),
            Self::Library(name, _) => formatter.write_str(&escape(name)),
            Self::Dlopen(name, _) => write!(formatter, "opens {}", escape(name)),
            Self::Preload(name, _) => write!(formatter, "preloads {}", escape(name)),
            Self::Link => formatter.write_str("link"),
            Self::List => formatter.write_str("list"),
            Self::Rule(name) => write!(formatter, "rule {name}"),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = &self.by;
        match &self.why {
            Why::Program => write!(formatter, "{by} leads to it"),
            Why::Interpreter => write!(formatter, "loader of {by}"),
            Why::Script => write!(formatter, "#! of {by}"),
            Why::Env(name) => write!(formatter, "{} by #! of {by}", escape(name)),
            Why::Library(name, how) => {
                write!(formatter, "{} needed by {by}, found {how}", escape(name))
            }
            Why::Dlopen(name, how) => {
                write!(formatter, "{} opened by {by}, found {how}", escape(name))
            }
            Why::Preload(name, how) => {
                write!(
                    formatter,
                    "{} preloaded into {by}, found {how}",
                    escape(name)
                )
            }
            Why::Link => write!(formatter, "link to {by}"),
            Why::List => write!(formatter, "{by} is found through it"),
            Why::Rule(name) => write!(formatter, "opened by {by}, says the rule {name}"),
        }
    }
}
