//! Build contexts that are no directories. The invariant: what somebody else packed stays packed and is a tree of its own, wholly
//! read before anything of it is used; what is made for it is in a private directory of the store that goes with its owner.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use image::{DiffId, Store};
use rootfs::copy::CopyError;
use rootfs::trees::{TreesError, WorkArea, open_index, readable_view_of};
use rootfs::{Content, PackedTar, PackedTree, Tree, TreeError, TreePath, index_tar};
use serde::{Deserialize, Serialize};

use crate::event::BuildEvent;
use crate::host::Reach;
use crate::provenance::Taken;
use crate::remote::{self, Pinned, RemoteSource};

/// The names of ignore files, the one that wins first.
pub const IGNORE_FILES: [&str; 2] = [".containerignore", ".dockerignore"];

/// Why a context cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// It was not fetched.
    #[error(transparent)]
    Fetch(Box<dyn std::error::Error + Send + Sync>),
    /// It was not read.
    #[error("read the build context {name}")]
    Read {
        /// As the user knows it.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// It is damaged, or does not fit.
    #[error("unpack the build context {name}")]
    Unpack {
        /// As the user knows it.
        name: String,
        /// Why.
        source: CopyError,
    },
    /// There is no place for it.
    #[error(transparent)]
    Place(#[from] TreesError),
    /// What is in it cannot be looked at.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// A commit has no such directory.
    #[error("read the build context: there is no directory {name}")]
    NoDirectory {
        /// As the source names it.
        name: String,
    },
    /// A named context must be files.
    #[error("read the build context {name}: it is no archive")]
    NoArchive {
        /// As the user knows it.
        name: String,
    },
}

/// Where the files of a context are, for whoever executes a build.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum ContextFiles {
    /// In a directory of the caller.
    Directory(PathBuf),
    /// In what somebody packed.
    Packed(PackedFiles),
}

/// A packed context by what it can be opened with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PackedFiles {
    place: PackedPlace,
    /// Opened once in each process.
    #[serde(skip)]
    tree: OnceLock<PackedTree>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum PackedPlace {
    Archive {
        tar: PathBuf,
        index: PathBuf,
    },
    /// A layer of the store, and the directory of it that is meant.
    Commit {
        layer: DiffId,
        subdir: String,
    },
}

impl PackedFiles {
    /// Its files.
    pub(crate) fn tree(&self, store: &Store) -> Result<&PackedTree, ContextError> {
        if let Some(tree) = self.tree.get() {
            return Ok(tree);
        }
        let tree = self.place.open(store)?;
        Ok(self.tree.get_or_init(|| tree))
    }
}

impl PackedPlace {
    fn open(&self, store: &Store) -> Result<PackedTree, ContextError> {
        match self {
            Self::Archive { tar, index } => {
                let (tar, index) = (tar.clone(), index.clone());
                Ok(PackedTree::open(
                    &PackedTar { tar, index },
                    &store.scratch(),
                )?)
            }
            Self::Commit { layer, subdir } => {
                let whole = PackedTree::of(readable_view_of(store, &[*layer])?);
                let path = TreePath::scoped(subdir).ok();
                let found = path.map(|path| whole.below(&path)).transpose()?.flatten();
                found.ok_or_else(|| ContextError::NoDirectory {
                    name: subdir.clone(),
                })
            }
        }
    }
}

/// A context that somebody packed. What was made for it goes with it.
#[derive(Debug)]
pub struct PackedContext {
    files: PackedFiles,
    tree: PackedTree,
    commit_time: Option<i64>,
    origin: Option<Box<Taken>>,
    _area: Option<WorkArea>,
}

impl PackedContext {
    fn new(place: PackedPlace, tree: PackedTree, area: Option<WorkArea>) -> Self {
        Self {
            files: PackedFiles {
                place,
                tree: tree.clone().into(),
            },
            tree,
            commit_time: None,
            origin: None,
            _area: area,
        }
    }

    /// Its files.
    #[must_use]
    pub fn tree(&self) -> &dyn Tree {
        &self.tree
    }

    /// Where its files were fetched from, and what they were.
    #[must_use]
    pub fn origin(&self) -> Option<&Taken> {
        self.origin.as_deref()
    }

    /// When the commit was made that its files are of, in seconds since 1970.
    #[must_use]
    pub fn commit_time(&self) -> Option<i64> {
        self.commit_time
    }

    pub(crate) fn files(&self) -> ContextFiles {
        ContextFiles::Packed(self.files.clone())
    }
}

/// What a context turned out to be.
#[derive(Debug)]
pub enum Opened {
    /// Files.
    Files(PackedContext),
    /// A single text: a Containerfile, and no files.
    Text(File),
}

/// Fetches a context.
///
/// # Errors
/// When it cannot be had or is damaged.
pub fn open_remote(
    reach: &Reach<'_>,
    source: &RemoteSource,
    events: &(dyn Fn(BuildEvent) + Sync),
) -> Result<Opened, ContextError> {
    let pinned = remote::pin(reach, source, events).map_err(ContextError::Fetch)?;
    let opened = open_pinned(reach, source, &pinned)?;
    Ok(match opened {
        Opened::Files(packed) => Opened::Files(PackedContext {
            origin: Some(Box::new((source.clone(), pinned))),
            ..packed
        }),
        text => text,
    })
}

fn open_pinned(
    reach: &Reach<'_>,
    source: &RemoteSource,
    pinned: &Pinned,
) -> Result<Opened, ContextError> {
    match pinned {
        Pinned::File { digest, .. } => {
            open(reach, &source.to_string(), &reach.store.blob_path(digest))
        }
        Pinned::Tree { tree, subdir, .. } => {
            checkout(reach, &source.to_string(), *tree, subdir.clone())
        }
    }
}

/// The files of a commit; a directory of it is looked for inside it only (S32).
fn checkout(
    reach: &Reach<'_>,
    name: &str,
    layer: DiffId,
    subdir: String,
) -> Result<Opened, ContextError> {
    // All files of a commit have its time.
    let first = open_index(reach.store, &layer)?.next();
    let first = first.map_err(|error| read_failed(name, io::Error::other(error)))?;
    let place = PackedPlace::Commit { layer, subdir };
    let tree = place.open(reach.store)?;
    let mut packed = PackedContext::new(place, tree, None);
    packed.commit_time = first.map(|record| record.entry.mtime.secs);
    Ok(Opened::Files(packed))
}

/// Takes a context out of a regular file: what is no archive is given back.
///
/// # Errors
/// When it is damaged or does not fit.
pub fn open(reach: &Reach<'_>, name: &str, path: &Path) -> Result<Opened, ContextError> {
    let path = path
        .canonicalize()
        .map_err(|error| read_failed(name, error))?;
    open_in(reach, name, &path, WorkArea::create(reach.store)?)
}

/// As [`open`], of a stream.
///
/// # Errors
/// When it cannot be read, is damaged or does not fit.
pub fn open_stream(
    reach: &Reach<'_>,
    name: &str,
    stream: &mut dyn Read,
) -> Result<Opened, ContextError> {
    let area = WorkArea::create(reach.store)?;
    let path = area.path().join("stream");
    let written = File::create_new(&path).and_then(|mut file| io::copy(stream, &mut file));
    written.map_err(|error| read_failed(name, error))?;
    open_in(reach, name, &path, area)
}

fn open_in(
    reach: &Reach<'_>,
    name: &str,
    path: &Path,
    area: WorkArea,
) -> Result<Opened, ContextError> {
    let _stops = reach.stop_when_cancelled();
    let limits = (&reach.store.scratch(), reach.store.stop());
    let found = index_tar(path, area.path(), limits);
    match found.map_err(|source| ContextError::Unpack {
        name: name.to_owned(),
        source,
    })? {
        Some((PackedTar { tar, index }, tree)) => {
            let place = PackedPlace::Archive { tar, index };
            Ok(Opened::Files(PackedContext::new(place, tree, Some(area))))
        }
        None => {
            let text = File::open(path).map_err(|error| read_failed(name, error))?;
            Ok(Opened::Text(text))
        }
    }
}

fn read_failed(name: &str, source: io::Error) -> ContextError {
    ContextError::Read {
        name: name.to_owned(),
        source,
    }
}

/// A file of a context that somebody else wrote, links followed inside it only; `None` where there is nothing.
///
/// # Errors
/// When it is there and is no regular file, or cannot be read.
pub fn file_of<'t>(context: &'t dyn Tree, name: &str) -> Result<Option<Content<'t>>, TreeError> {
    let Ok(path) = TreePath::clamped(name) else {
        return Ok(None);
    };
    match context.lookup(&path)? {
        Some((path, _)) => Ok(Some(context.open(&path)?.content)),
        None => Ok(None),
    }
}
