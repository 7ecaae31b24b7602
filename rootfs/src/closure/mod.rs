//! What a program needs to start: its loader, its libraries, and every link on the way to them.
//!
//! ```text
//! program --kernel--> interpreter, #!          program.rs
//!    |                    |
//!    |                    what is built into it  loader.rs, ld_cache.rs
//!    v                    v
//! objects, breadth first, each found as that loader would   run.rs, glibc.rs, musl.rs
//! ```
//!
//! Invariant: nothing of the tree is ever executed, and no path of it is used but through the [`Tree`]. The answer is that of
//! the loader of the tree, for every processor that the program can run on; the machine that rbuild runs on has no say in it.
//! What a program opens by itself without a note about it (dlopen), and data files, are known from rules (`rules.rs`, `opened.rs`).

mod draft;
mod dynamic;
mod elf;
mod files;
mod glibc;
mod kind;
mod ld_cache;
mod ld_conf;
mod loader;
mod machine;
mod musl;
mod needs;
mod note;
mod opened;
mod packages;
mod places;
mod program;
mod reason;
mod rules;
mod run;
pub(crate) mod sections;
mod tokens;
mod users;
mod window;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use crate::path::TreePath;
use crate::tree::Tree;
use draft::Draft;
use files::Files;
use loader::Loader;

/// Bytes as text: printable UTF-8 as it is, everything else as `\xNN`, a backslash doubled.
pub use crate::path::escape as shown;
pub use kind::Binary;
pub use needs::Needs;
pub use opened::Choice;
pub use packages::Packages;
pub(crate) use packages::names as listed_names;
pub use reason::{How, Reason, Why};
pub use rules::{RuleError, RuleSet};
pub use users::Users;

/// What the environment of the programs would be, and what they are to run on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `LD_LIBRARY_PATH`; empty for none.
    pub library_path: Vec<u8>,
    /// `PATH`, in which `#!/usr/bin/env PROGRAM` looks.
    pub path: Vec<u8>,
    /// The architecture that programs must be for, in the words of the OCI image specification (`amd64`); any without.
    pub architecture: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            library_path: Vec::new(),
            // What images have that set nothing: runc's and Docker's default.
            path: b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_vec(),
            architecture: None,
        }
    }
}

/// Something that must be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosureFile {
    /// Where it is: no link is in front of the last name.
    pub path: TreePath,
    /// Of a symbolic link, where it leads.
    pub target: Option<Vec<u8>>,
    /// Who needs it, and how it was found.
    pub reason: Reason,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// With which file.
    pub path: TreePath,
    /// What, in the words that the loader would say where it says any.
    pub message: String,
    /// Whether the program would not start.
    pub fatal: bool,
}

/// What one program needs beside itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closure {
    /// The program, as it was asked for.
    pub program: TreePath,
    /// What must be there, in the order of the paths.
    pub files: Vec<ClosureFile>,
    /// Names of what is not there.
    pub missing: Vec<Vec<u8>>,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

impl Closure {
    /// Whether nothing stands in the way of the program's start.
    pub fn starts(&self) -> bool {
        self.missing.is_empty() && !self.findings.iter().any(|finding| finding.fatal)
    }
}

/// Answers for the programs of one tree. What was read for one is remembered for the next.
pub struct Resolver<'t> {
    files: Files<'t>,
    settings: Settings,
    /// By the interpreter as programs name it.
    loaders: RefCell<HashMap<Vec<u8>, Rc<Loader>>>,
}

impl<'t> Resolver<'t> {
    /// For the programs of `tree`.
    pub fn new(tree: &'t dyn Tree, settings: Settings) -> Self {
        Self {
            files: Files::new(tree),
            settings,
            loaders: RefCell::default(),
        }
    }

    /// What the program at `path` needs. What cannot be read or understood is a finding.
    pub fn closure(&self, path: &TreePath) -> Closure {
        let mut draft = Draft::new(path);
        self.program(&mut draft, path);
        draft.finish()
    }
}
