//! What can go wrong in the store: the operation, its subject, the cause.

use std::io;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::image::{BlobError, ImageError};

/// Why the store could not do it.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct StoreError(Box<StoreErrorKind>);

/// The cases of [`StoreError`].
#[derive(Debug, thiserror::Error)]
pub enum StoreErrorKind {
    /// The operating system refused.
    #[error("{operation} {path}", path = path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others may enter the store's directory.
    #[error("open the store {path}: its mode is {mode:04o}, but it must be 0700 (chmod 700 {path})", path = path.display())]
    NotPrivate {
        /// The directory.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The directory belongs to another user.
    #[error("open the store {path}: it belongs to user {owner}, not to {user}", path = path.display())]
    ForeignOwner {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who asks.
        user: u32,
    },
    /// Another version of rbuild made it.
    #[error("open the store: {path} says {found:?}, which this version does not know", path = path.display())]
    UnknownFormat {
        /// The format file.
        path: PathBuf,
        /// What it says.
        found: String,
    },
    /// The directory has other things in it.
    #[error("make a store in {path}: it has other files in it", path = path.display())]
    NotAStore {
        /// The directory.
        path: PathBuf,
    },
    /// A written blob is not what was expected.
    #[error("store blob {expected}: its content has digest {actual}")]
    Mismatch {
        /// What it should be.
        expected: Digest,
        /// What it is.
        actual: Digest,
    },
    /// A record does not say what it has to.
    #[error("read record {path}: it is damaged", path = path.display())]
    DamagedRecord {
        /// The record.
        path: PathBuf,
    },
    /// An id's beginning that several images have.
    #[error("find image {prefix}: {count} images have ids that begin so")]
    Ambiguous {
        /// What was asked for.
        prefix: String,
        /// How many there are.
        count: usize,
    },
    /// No image has that name, id or digest.
    #[error("find image {0}: there is none in the store")]
    NoImage(String),
    /// An index needs the image.
    #[error("remove image {image}: it is part of {index}, which goes as a whole")]
    InIndex {
        /// The image.
        image: Digest,
        /// The index's name, or else its digest.
        index: String,
    },
    /// A blob is missing or damaged.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// An image cannot be read.
    #[error(transparent)]
    Image(#[from] ImageError),
}

impl StoreError {
    /// Which case it is.
    pub fn kind(&self) -> &StoreErrorKind {
        &self.0
    }
}

impl<E: Into<StoreErrorKind>> From<E> for StoreError {
    fn from(kind: E) -> Self {
        Self(Box::new(kind.into()))
    }
}

/// Names the operation and the path of an I/O error.
pub(crate) trait At<T> {
    fn at(self, operation: &'static str, path: impl AsRef<Path>) -> Result<T, StoreError>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, operation: &'static str, path: impl AsRef<Path>) -> Result<T, StoreError> {
        self.map_err(|source| {
            StoreErrorKind::Io {
                operation,
                path: path.as_ref().into(),
                source,
            }
            .into()
        })
    }
}
