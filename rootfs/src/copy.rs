//! COPY and ADD: which files go where, decided first and done afterwards.
//!
//! Invariant: a [`CopyPlan`] is complete before anything is written, and writing it to a layer or into a tree gives the same
//! files. Destinations are canonical: links of the destination were followed inside it while planning.

pub(crate) mod archive;
mod complete;
mod contents;
mod destination;
mod place;
mod plan;
mod planned;
mod select;
mod target;
mod write;

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use image::{Digest, Hasher, Scratch, Stop};
use thiserror::Error;

use crate::digests::{DigestError, Input, describe, part};
use crate::entry::{Entry, Kind, Time};
use crate::layer::{ReadError, WriteError};
use crate::note::Note;
use crate::ownership::{OwnerId, OwnershipError};
use crate::path::{PathError, TreePath};
use crate::root::RootError;
use crate::sorted::{ScratchError, SortedMap};
use crate::tree::{Meta, Tree, TreeError};

pub use complete::{Complete, plan_completed};
pub use plan::plan;
use planned::{Base, Origin, Planned, SourceFile};
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
    /// Where a plan of very many files is kept.
    pub scratch: Scratch,
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
    /// What does not fit into memory has no place.
    #[error(transparent)]
    Scratch(#[from] ScratchError),
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
    archives: Vec<archive::Archive>,
    notes: Vec<Note>,
    parts: DetachedPlan,
}

/// A plan of one tree, without it.
pub struct DetachedPlan {
    entries: SortedMap<Box<Planned>>,
    /// How files of the sources and their copies belong together.
    bases: Vec<Base>,
    /// What [`Time::OF_STEP`] means.
    of_step: Time,
    newest: Option<i64>,
    has_links: bool,
    seen: Seen,
    scratch: Scratch,
    stop: Stop,
}

/// Everything of the first source that was looked at while planning, as it was then, in any order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen(u64);

impl Seen {
    fn add(&mut self, meta: &Meta) {
        let mut hasher = DefaultHasher::new();
        meta.hash(&mut hasher);
        self.0 = self.0.wrapping_add(hasher.finish());
    }
}

impl<'t> CopyPlan<'t> {
    fn new(source: &'t dyn Tree, scratch: &Scratch) -> Self {
        Self {
            sources: vec![source],
            archives: Vec::new(),
            notes: Vec::new(),
            parts: DetachedPlan {
                entries: SortedMap::new(scratch),
                bases: Vec::new(),
                of_step: Time::OF_STEP,
                newest: None,
                has_links: false,
                seen: Seen::default(),
                scratch: scratch.clone(),
                stop: Stop::default(),
            },
        }
    }

    /// Everything that is planned, parents first.
    fn planned(&self) -> impl Iterator<Item = Result<(TreePath, Box<Planned>), ScratchError>> {
        self.parts.entries.iter().map(|entry| {
            let (path, mut planned) = entry?;
            if planned.mtime == Time::OF_STEP {
                planned.mtime = self.parts.of_step;
            }
            Ok((TreePath::kept(path), planned))
        })
    }

    /// Where a file of a source is there; `target` is where its copy goes.
    fn source_of(&self, file: &SourceFile, target: &TreePath) -> (&'t dyn Tree, TreePath) {
        (
            file.tree(&self.sources),
            file.path(&self.parts.bases, target),
        )
    }

    /// The entries as a layer would hold them, parents first.
    pub fn entries(&self) -> impl Iterator<Item = Result<Entry, ScratchError>> {
        self.planned().map(|planned| {
            let (path, planned) = planned?;
            Ok(planned.entry(&path))
        })
    }

    /// Gives every entry with what it is made of, in order.
    pub(crate) fn inputs(
        &self,
        accept: &mut dyn FnMut(&Entry, Input<'_>) -> Result<(), DigestError>,
    ) -> Result<(), DigestError> {
        for planned in self.planned() {
            let (path, planned) = planned?;
            if planned.kept {
                continue;
            }
            let entry = planned.entry(&path);
            match &planned.from {
                // A member of an archive counts as part of the archive.
                Origin::Nowhere | Origin::Member { .. } => accept(&entry, Input::None)?,
                Origin::Inline(content) => accept(&entry, Input::Bytes(content))?,
                Origin::Tree(file) => {
                    let (tree, from) = self.source_of(file, &path);
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
        self.parts.newest
    }

    /// What was looked at. Two plans of the same sources that saw the same read the same, unless it changed later.
    pub fn seen(&self) -> Seen {
        self.parts.seen
    }

    /// Gives [`Time::OF_STEP`] a meaning.
    #[must_use]
    pub fn dated(mut self, of_step: Time) -> Self {
        self.parts.of_step = of_step;
        self
    }

    /// Has hashing and writing end early, with an error, when `stop` asks for it.
    #[must_use]
    pub fn heeding(mut self, stop: &Stop) -> Self {
        self.parts.stop = stop.clone();
        self
    }

    pub(crate) fn stop(&self) -> &Stop {
        &self.parts.stop
    }

    /// The digest of what would be written, and from where; contents are not looked at.
    ///
    /// # Errors
    /// When the plan cannot be read from the disk.
    pub fn outline(&self) -> Result<Digest, ScratchError> {
        let mut hasher = Hasher::new();
        for planned in self.planned() {
            let (path, planned) = planned?;
            let entry = planned.entry(&path);
            describe(&mut hasher, &entry, entry.mtime.secs);
            hasher.update(&planned.mtime.nanos.to_le_bytes());
            hasher.update(&planned.size().to_le_bytes());
            if let Origin::Tree(file) = &planned.from {
                part(&mut hasher, self.source_of(file, &path).1.as_bytes());
            }
        }
        Ok(hasher.finish())
    }

    /// Whether the files that were planned are still what they were then, by their status alone.
    ///
    /// # Errors
    /// [`CopyError::Changed`] for the first one that is not.
    pub fn unchanged(&self) -> Result<(), CopyError> {
        for planned in self.planned() {
            let (target, planned) = planned?;
            if let Origin::Tree(file) = &planned.from {
                let (tree, path) = self.source_of(file, &target);
                if tree.node(&path)? != Some(file.meta()) {
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
        self.parts
    }

    /// What is left out, sockets for example.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }
}

impl DetachedPlan {
    /// The plan, over its tree opened anew.
    #[must_use]
    pub fn attach(self, tree: &dyn Tree) -> CopyPlan<'_> {
        CopyPlan {
            sources: vec![tree],
            archives: Vec::new(),
            notes: Vec::new(),
            parts: self,
        }
    }
}
