//! COPY and ADD: which files go where, decided first and done afterwards.
//!
//! Invariant: a [`CopyPlan`] is complete before anything is written, and writing it to a layer or into a tree gives the same
//! files. Destinations are canonical: links of the destination were followed inside it while planning.

mod archive;
mod contents;
mod destination;
mod extract;
mod place;
mod plan;
mod planned;
mod select;
mod write;

use std::collections::BTreeMap;

use image::{Digest, Hasher, Stop};
use thiserror::Error;

use crate::digests::{DigestError, Input, describe, part};
use crate::entry::{Entry, Kind, Time};
use crate::layer::{ReadError, WriteError};
use crate::note::Note;
use crate::ownership::{OwnerId, OwnershipError};
use crate::path::{PathError, TreePath};
use crate::root::RootError;
use crate::tree::{Tree, TreeError};

pub use extract::extract;
pub use plan::plan;
use planned::{Origin, Planned};
pub(crate) use write::Heeding;

/// Who owns what is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// `--chown`: these ids, on created directories too.
    Given {
        /// User.
        uid: OwnerId,
        /// Group.
        gid: OwnerId,
    },
    /// From a context: root, whoever owns the files on the host.
    Root,
    /// From a stage or image: as they are there.
    Kept,
}

/// What becomes of the directories above a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parents {
    /// They are left out.
    Dropped,
    /// `--parents`: from the pivot (`/./`) on they are made again, as they are in the source; `**` matches any number of them, and
    /// `--exclude` counts from the pivot.
    Kept,
    /// They are made again only to tell sources apart: for all else as if they were dropped, and their times do not count.
    Named,
}

/// What a matcher says about a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is copied.
    Keep,
    /// Neither it nor anything in it is copied.
    Skip,
    /// It is not copied, but something in it may be (`!` below an excluded directory).
    SkipButDescend,
}

/// One source.
#[derive(Clone, Copy)]
pub enum CopySource<'r> {
    /// A path or pattern in the source tree.
    Path(&'r str),
    /// A file written in the Containerfile.
    Inline {
        /// Its name when the destination is a directory.
        name: &'r str,
        /// Its content.
        content: &'r [u8],
    },
    /// A path of a tree of its own, to which the ignore file does not apply: what ADD fetched.
    Other {
        /// The tree.
        tree: &'r dyn Tree,
        /// The path in it, without wildcards.
        path: &'r TreePath,
        /// Whether it is unpacked, if it is an archive.
        unpack: bool,
    },
}

/// What one instruction asks for.
pub struct CopyRequest<'r> {
    /// The sources, at least one.
    pub sources: &'r [CopySource<'r>],
    /// Absolute in the image; a trailing `/` (or `/.`) says directory.
    pub destination: &'r str,
    /// Owners.
    pub owner: Owner,
    /// `--chmod`: the new mode of a file or directory (true) that has the given one.
    pub chmod: Option<&'r dyn Fn(u32, bool) -> u32>,
    /// What becomes of the directories above a source.
    pub parents: Parents,
    /// ADD: archives of the source tree are unpacked.
    pub unpack: bool,
    /// The time of a copy of something that has this one; [`Time::OF_STEP`] where it is to be that of what has none of its own
    /// (made directories, inline files).
    pub date: &'r dyn Fn(Time) -> Time,
}

/// The matchers, which live in another crate.
pub struct Rules<'r> {
    /// Does a name match one component of a pattern (Go's `filepath.Match`)?
    pub glob: &'r dyn Fn(&str, &str) -> bool,
    /// The ignore file, asked with paths from the root of the source tree; the flag says directory.
    pub ignore: &'r dyn Fn(&TreePath, bool) -> Verdict,
    /// `--exclude`, asked with paths below the copied directory (or a copied file's name), or below the pivot of `--parents`.
    pub exclude: &'r dyn Fn(&TreePath, bool) -> Verdict,
}

/// Why a COPY or ADD is impossible. Paths are those of the context or image, never the host's (S35).
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CopyError {
    /// A literal source is not there.
    #[error("find '{path}' in the source{}", suggestion(.nearest.as_ref()))]
    MissingSource {
        /// What was asked for.
        path: TreePath,
        /// A name that is there and looks like it.
        nearest: Option<TreePath>,
    },
    /// A source is there but the ignore file hides it.
    #[error("find '{path}' in the source: the ignore file excludes it")]
    IgnoredSource {
        /// What was asked for.
        path: TreePath,
    },
    /// A source that is no file, directory or link.
    #[error("copy '{path}': it is a socket or a device")]
    Unsupported {
        /// Which.
        path: TreePath,
    },
    /// Several files into one.
    #[error("copy several sources to '{path}': it must be a directory and end with '/'")]
    ManySources {
        /// The destination.
        path: TreePath,
    },
    /// A directory where a file is, or through one.
    #[error("copy a directory to '{path}': a file is there")]
    DirectoryOverFile {
        /// The destination.
        path: TreePath,
    },
    /// A file where a directory is.
    #[error("copy a file to '{path}': a directory is there")]
    FileOverDirectory {
        /// The destination.
        path: TreePath,
    },
    /// It changed between planning and reading.
    #[error("copy '{path}': it changed while it was copied")]
    Changed {
        /// The source.
        path: TreePath,
    },
    /// A file system has no room for the path of a file's content.
    #[error("redirect '{path}' to its content")]
    Redirect {
        /// The destination.
        path: TreePath,
        /// Why.
        source: std::io::Error,
    },
    /// A broken or hostile archive.
    #[error("unpack '{path}'")]
    Archive {
        /// The source.
        path: TreePath,
        /// Why.
        source: ReadError,
    },
    /// A hard link in an archive to nothing.
    #[error("unpack '{path}': the hard link '{link}' names nothing in the archive")]
    ArchiveLink {
        /// The source.
        path: TreePath,
        /// The link's place.
        link: TreePath,
    },
    /// A tree could not be looked at.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// A name that is no path.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The destination tree refused.
    #[error(transparent)]
    Root(#[from] RootError),
    /// An owner has no id on disk.
    #[error(transparent)]
    Ownership(#[from] OwnershipError),
    /// The layer refused.
    #[error(transparent)]
    Layer(#[from] WriteError),
    /// Content could not be read or stored.
    #[error("copy '{path}'")]
    Content {
        /// The destination.
        path: TreePath,
        /// Why.
        source: std::io::Error,
    },
}

fn suggestion(nearest: Option<&TreePath>) -> String {
    nearest.map_or_else(String::new, |path| format!("; did you mean '{path}'?"))
}

/// What will be written where, parents before children.
pub struct CopyPlan<'t> {
    /// The source tree, and then those of [`CopySource::Other`].
    sources: Vec<&'t dyn Tree>,
    /// Boxed, since a tree of hundreds of thousands of files has nodes that are half empty.
    entries: BTreeMap<TreePath, Box<Planned>>,
    /// The directories that files are taken from.
    directories: Vec<TreePath>,
    archives: Vec<archive::Archive>,
    notes: Vec<Note>,
    pub(crate) stop: Stop,
}

impl CopyPlan<'_> {
    /// The entries as a layer would hold them, parents first.
    pub fn entries(&self) -> impl Iterator<Item = Entry> {
        self.entries
            .iter()
            .map(|(path, planned)| planned.entry(path))
    }

    /// Gives every entry with what it is made of, in order.
    pub(crate) fn inputs(
        &self,
        accept: &mut dyn FnMut(&Entry, Input<'_>) -> Result<(), DigestError>,
    ) -> Result<(), DigestError> {
        for (path, planned) in self.entries.iter().filter(|(_, planned)| !planned.kept) {
            let entry = planned.entry(path);
            match &planned.from {
                // A member of an archive counts as part of the archive.
                Origin::Nowhere | Origin::Member { .. } => accept(&entry, Input::None)?,
                Origin::Inline(content) => accept(&entry, Input::Bytes(content))?,
                Origin::Tree(file) => {
                    let (tree, from) =
                        (file.tree(&self.sources), file.path(&self.directories, path));
                    accept(&entry, Input::File(tree, &from, &file.meta()))?;
                }
            }
        }
        for archive in &self.archives {
            let (tree, path) = (self.sources[archive.tree], &archive.path);
            if let Some(meta) = tree.node(path)? {
                let entry = Entry::new(path.clone(), Kind::File { size: meta.size }, 0);
                accept(&entry, Input::File(tree, path, &meta))?;
            }
        }
        Ok(())
    }

    /// The newest time of what has one of its own, in seconds since 1970.
    pub fn newest(&self) -> Option<i64> {
        let own = self.entries.values().filter(|planned| !planned.kept);
        own.map(|planned| planned.mtime)
            .filter(|time| *time != Time::OF_STEP)
            .map(|time| time.secs)
            .max()
    }

    /// Gives [`Time::OF_STEP`] a meaning.
    #[must_use]
    pub fn dated(mut self, of_step: Time) -> Self {
        for planned in self.entries.values_mut() {
            if planned.mtime == Time::OF_STEP {
                planned.mtime = of_step;
            }
        }
        self
    }

    /// The digest of what would be written, and from where; contents are not looked at.
    pub fn outline(&self) -> Digest {
        let mut hasher = Hasher::new();
        for (path, planned) in &self.entries {
            let entry = planned.entry(path);
            describe(&mut hasher, &entry, entry.mtime.secs);
            hasher.update(&planned.mtime.nanos.to_le_bytes());
            hasher.update(&planned.size().to_le_bytes());
            if let Origin::Tree(file) = &planned.from {
                part(&mut hasher, file.path(&self.directories, path).as_bytes());
            }
        }
        hasher.finish()
    }

    /// Whether the files that were planned are still what they were then, by their status alone.
    ///
    /// # Errors
    /// [`CopyError::Changed`] for the first one that is not.
    pub fn unchanged(&self) -> Result<(), CopyError> {
        for (target, planned) in &self.entries {
            if let Origin::Tree(file) = &planned.from {
                let path = file.path(&self.directories, target);
                if file.tree(&self.sources).node(&path)? != Some(file.meta()) {
                    return Err(CopyError::Changed { path });
                }
            }
        }
        Ok(())
    }

    /// The plan without its one tree, to be looked at again later.
    #[must_use]
    pub fn detach(self) -> DetachedPlan {
        debug_assert!(self.sources.len() == 1 && self.archives.is_empty());
        DetachedPlan {
            entries: self.entries,
            directories: self.directories,
            stop: self.stop,
        }
    }

    /// What is left out, sockets for example.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }
}

/// A plan of one tree, without it.
pub struct DetachedPlan {
    entries: BTreeMap<TreePath, Box<Planned>>,
    directories: Vec<TreePath>,
    stop: Stop,
}

impl DetachedPlan {
    /// The plan, over its tree opened anew.
    #[must_use]
    pub fn attach(self, tree: &dyn Tree) -> CopyPlan<'_> {
        CopyPlan {
            sources: vec![tree],
            entries: self.entries,
            directories: self.directories,
            archives: Vec::new(),
            notes: Vec::new(),
            stop: self.stop,
        }
    }
}
