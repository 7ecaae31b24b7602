//! What ADD fetched, as trees to copy from. The invariant: content is read from the store by its digest, and verified again while it
//! is read.

use image::{Digest, Store};
use rootfs::copy::CopySource;
use rootfs::{SingleFile, SingleMeta, Time, Tree, TreePath};

use super::layers::view_of;
use crate::job::StepFailure;
use crate::remote::Pinned;
use crate::step::Fetched;

/// BuildKit's mode for files from URLs.
const URL_MODE: u32 = 0o600;

/// A source that was fetched.
pub(super) struct FetchedTree<'s> {
    tree: Box<dyn Tree + 's>,
    path: TreePath,
    unpack: bool,
}

impl FetchedTree<'_> {
    /// As the copy engine takes it.
    pub(super) fn source(&self) -> CopySource<'_> {
        CopySource::Other {
            tree: self.tree.as_ref(),
            path: &self.path,
            unpack: self.unpack,
        }
    }
}

/// Opens what a step fetched.
pub(super) fn fetched<'s>(
    store: &'s Store,
    all: &[Fetched],
) -> Result<Vec<FetchedTree<'s>>, StepFailure> {
    all.iter().map(|one| open(store, one)).collect()
}

fn open<'s>(store: &'s Store, fetched: &Fetched) -> Result<FetchedTree<'s>, StepFailure> {
    match &fetched.pinned {
        Pinned::File {
            digest,
            name,
            mtime,
        } => {
            let file = file(store, *digest, name, *mtime)?;
            Ok(FetchedTree {
                path: file.path().clone(),
                tree: Box::new(file),
                unpack: fetched.unpack,
            })
        }
        Pinned::Tree { tree, subdir, .. } => Ok(FetchedTree {
            tree: Box::new(view_of(store, &[*tree])?),
            // S32: links on the way are followed inside the commit.
            path: TreePath::scoped(subdir).map_err(|error| StepFailure::of_build(&error))?,
            unpack: false,
        }),
    }
}

fn file<'s>(
    store: &'s Store,
    digest: Digest,
    name: &str,
    mtime: i64,
) -> Result<SingleFile<'s>, StepFailure> {
    let size = store
        .blob_size(&digest)
        .ok_or_else(|| StepFailure::saying(format!("find the fetched file {name} in the store")))?;
    let meta = SingleMeta {
        size,
        mode: URL_MODE,
        mtime: Time {
            secs: mtime,
            nanos: 0,
        },
    };
    let open = move || {
        let blob = store.open_blob(&digest).map_err(std::io::Error::other)?;
        Ok(Box::new(blob) as Box<dyn std::io::Read + Send>)
    };
    SingleFile::new(name, meta, open).map_err(|error| StepFailure::of_build(&error))
}
