//! Caches that machines share, as the command line names them. The invariant: what a cache is called is what messages call it.

use std::path::PathBuf;

use image::{Packing, Reference};

/// `--cache-from` and `--cache-to`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caches {
    /// Where results are looked for, in order, when the store has none.
    pub from: Vec<CacheFrom>,
    /// Where results go when the build is done.
    pub to: Vec<CacheTo>,
}

impl Caches {
    /// Whose results leave, if any do.
    pub(crate) fn mode(&self) -> Option<CacheMode> {
        self.to.iter().map(|to| to.mode).max()
    }
}

/// A `--cache-from`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CacheFrom {
    /// A name in a registry: a cache, or an image with its own.
    Registry(Reference),
    /// An OCI layout directory.
    Local {
        /// The directory.
        directory: PathBuf,
        /// A name in it, or a digest.
        name: String,
    },
}

/// A `--cache-to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheTo {
    /// Where.
    pub place: CacheDestination,
    /// Whose results.
    pub mode: CacheMode,
    /// How layers are compressed.
    pub packing: Packing,
    /// Whether a failure is only told.
    pub ignore_error: bool,
}

/// Where a cache goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CacheDestination {
    /// A name in a registry.
    Registry(Reference),
    /// An OCI layout directory.
    Local {
        /// The directory.
        directory: PathBuf,
        /// Its name there.
        name: String,
    },
    /// The image itself.
    Inline,
}

/// Whose results leave.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub enum CacheMode {
    /// Those of the stages that the image consists of.
    Min,
    /// Those of all stages.
    Max,
}

impl std::fmt::Display for CacheFrom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Registry(reference) => f.write_str(&reference.familiar()),
            Self::Local { directory, .. } => directory.display().fmt(f),
        }
    }
}

impl std::fmt::Display for CacheDestination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Registry(reference) => f.write_str(&reference.familiar()),
            Self::Local { directory, .. } => directory.display().fmt(f),
            Self::Inline => f.write_str("the image"),
        }
    }
}
