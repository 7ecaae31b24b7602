//! Build contexts that are no directories yet. The invariant: what somebody else packed is unpacked into a private directory of
//! the store that goes with its owner, completely or not at all, and is looked at only through that directory's handle.

use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use image::DiffId;
use rootfs::copy::{CopyError, extract};
use rootfs::trees::{TreesError, WorkArea, open_index};
use rootfs::{DirTree, Ownership, Root, RootError, SingleError, SingleFile, Tree as _, TreePath};

use crate::event::BuildEvent;
use crate::host::Reach;
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
    /// Its directory cannot be used.
    #[error(transparent)]
    Root(#[from] RootError),
    /// What is in it cannot be looked at.
    #[error(transparent)]
    Tree(#[from] rootfs::TreeError),
    /// Its file cannot be used.
    #[error(transparent)]
    File(#[from] SingleError),
    /// A named context must be files.
    #[error("read the build context {name}: it is no archive")]
    NoArchive {
        /// As the user knows it.
        name: String,
    },
}

/// An unpacked context. Its files go with it.
#[derive(Debug)]
pub struct PrivateContext {
    path: PathBuf,
    commit_time: Option<i64>,
    _area: WorkArea,
}

impl PrivateContext {
    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// When the commit was made that its files are of, in seconds since 1970.
    #[must_use]
    pub fn commit_time(&self) -> Option<i64> {
        self.commit_time
    }
}

/// What a context turned out to be.
#[derive(Debug)]
pub enum Opened {
    /// Files.
    Files(PrivateContext),
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
    match remote::pin(reach, source, events).map_err(ContextError::Fetch)? {
        Pinned::File { digest, .. } => {
            let path = reach.store.blob_path(&digest);
            let file = File::open(path).map_err(|error| ContextError::Read {
                name: source.to_string(),
                source: error,
            })?;
            open(reach, &source.to_string(), file)
        }
        Pinned::Tree { tree, subdir, .. } => checkout(reach, &source.to_string(), &tree, &subdir),
    }
}

/// The files of a commit; a directory of it is looked for inside it only (S32).
fn checkout(
    reach: &Reach<'_>,
    name: &str,
    tree: &DiffId,
    subdir: &str,
) -> Result<Opened, ContextError> {
    let fail = |source| ContextError::Read {
        name: name.to_owned(),
        source,
    };
    let blob = File::open(reach.store.blob_path(tree.digest())).map_err(fail)?;
    let Opened::Files(mut private) = open(reach, name, blob)? else {
        return Err(ContextError::NoArchive {
            name: name.to_owned(),
        });
    };
    // All files of a commit have its time.
    let mut index = open_index(reach.store, tree)?;
    let first = index
        .next()
        .map_err(|error| fail(io::Error::other(error)))?;
    private.commit_time = first.map(|record| record.entry.mtime.secs);
    if !subdir.is_empty() {
        let tree = DirTree::new(Root::open(&private.path)?, Ownership::Recorded);
        let found = TreePath::scoped(subdir)
            .ok()
            .map(|path| tree.lookup(&path))
            .transpose()?
            .flatten();
        let Some((path, _)) = found.filter(|(_, meta)| meta.is_dir()) else {
            let message = format!("there is no directory {subdir}");
            return Err(fail(io::Error::other(message)));
        };
        // Canonical: no component of it is a link.
        let names = path.components().map(std::ffi::OsStr::from_bytes);
        private.path.extend(names);
    }
    Ok(Opened::Files(private))
}

/// Takes a context out of a regular file: what is no archive is given back.
///
/// # Errors
/// When it is damaged or does not fit.
pub fn open(reach: &Reach<'_>, name: &str, file: File) -> Result<Opened, ContextError> {
    let _stops = reach.stop_when_cancelled();
    let again = file.try_clone().map_err(|source| ContextError::Read {
        name: name.to_owned(),
        source,
    })?;
    let archive = SingleFile::of_file("context", file)?;
    let area = WorkArea::create(reach.store)?;
    let path = area.directory("context")?;
    let found = extract(
        &archive,
        &Root::open(&path)?,
        &reach.store.scratch(),
        reach.store.stop(),
    );
    match found.map_err(|source| ContextError::Unpack {
        name: name.to_owned(),
        source,
    })? {
        Some(_) => Ok(Opened::Files(PrivateContext {
            path,
            commit_time: None,
            _area: area,
        })),
        None => Ok(Opened::Text(again)),
    }
}

/// A file of a context that somebody else wrote, links followed inside it only; `None` where there is nothing.
///
/// # Errors
/// When it is there and is no regular file, or cannot be read.
pub fn file_of(context: &Root, name: &str) -> Result<Option<File>, RootError> {
    let Ok(path) = TreePath::clamped(name) else {
        return Ok(None);
    };
    match context.open_file(&path) {
        Ok(file) => Ok(Some(file.into())),
        Err(error) if error.is_absent() => Ok(None),
        Err(error) => Err(error),
    }
}
