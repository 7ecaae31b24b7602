//! Files that a container must see under another owner than the one they have on disk. The invariant: no byte of content is
//! copied where the kernel can avoid it, and what is built depends on the image's layers and the kept ids alone.
//!
//! With keep-id, image id K is the invoking user, session id 0, and every id above K moves down by one; files of these ids
//! have to change their owner, all others are right as they are. From Linux 6.16 on an ordinary user may mount
//! `lowerdir=META::DATA,userxattr`: META holds empty files with owner, mode, size and a redirect, DATA hard links to the
//! content (overlayfs documentation, "Data-only lower layers"). That mount lies above the image's layers.
//!
//! ```text
//! trees/reowned/CHAIN-KEY/unsynced      the boot in which it was made, until a sync of the store has brought it to the disk
//!                             meta/     what it looks like
//!                             data/N    hard links to the content
//!                             tree/     instead of both before Linux 6.16: copies
//! ```

mod build;

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use image::{Area, ChainId, DiffId, Store, StoreError};
use rootfs::RootError;
use rootfs::layer::Owners as LayerOwners;
use rootfs::tree::TreeError;
use rootfs::trees::{
    TreesError, UnpackedLayer, WorkArea, is_trusted, mark_unsynced, owners_of, remove_tree, view_of,
};
use sandbox::{Overlay, SetupFailure};
use thiserror::Error;

use crate::userns::Owners;
use build::{Builder, Form};

/// Why an image could not get the owners that a container needs.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum ReownError {
    /// A directory of the store.
    #[error(transparent)]
    Trees(#[from] TreesError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The image's tree.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// A path in one of the trees.
    #[error(transparent)]
    Root(#[from] RootError),
    /// A call that no root offers.
    #[error("{call} {path} for its new owner")]
    Entry {
        /// What was tried.
        call: &'static str,
        /// On what, in the image.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// A file that the layers' indexes have, but not their directories.
    #[error("find {0} in the unpacked layers")]
    Lost(String),
    /// The finished trees.
    #[error("{call} {path}")]
    Io {
        /// What was tried.
        call: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Two ids would be one.
    #[error(
        "map the image's files: id {0} owns some of them and is not in the map, which would show them as another's"
    )]
    Mistaken(u32),
    /// The kernel took an empty one before.
    #[error("show files under their new owner")]
    Mount(#[source] SetupFailure),
}

fn at(call: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ReownError {
    let path = path.to_owned();
    move |source| ReownError::Io { call, path, source }
}

/// The topmost lower directory of a container whose image has files to re-own.
#[derive(Debug)]
pub(crate) enum Reowned {
    /// A detached mount; its path leads through this process's descriptor.
    Mounted(OwnedFd),
    /// A directory with copies.
    Copied(PathBuf),
}

impl Reowned {
    /// The path for the overlay.
    pub(crate) fn path(&self) -> PathBuf {
        match self {
            Self::Mounted(mount) => PathBuf::from(format!("/proc/self/fd/{}", mount.as_raw_fd())),
            Self::Copied(tree) => tree.clone(),
        }
    }
}

/// Whether any file of the layers has an owner that the container must see under another one. Looked up, never scanned.
fn is_needed(layers: &[LayerOwners], owners: &Owners) -> bool {
    layers.iter().any(|layer| {
        let (uids, gids) = (&layer.uids, &layer.gids);
        let moved = |id: u32, to: u32| to != id.saturating_add(1);
        uids.iter().any(|id| moved(*id, owners.uid(*id)))
            || gids.iter().any(|id| moved(*id, owners.gid(*id)))
    })
}

/// What the preparation is about.
#[derive(Debug)]
pub(crate) struct Wanted<'w> {
    /// The image's layers, lowest first.
    pub(crate) layers: &'w [UnpackedLayer],
    /// Their identity.
    pub(crate) chain: ChainId,
    /// What the owners are to be.
    pub(crate) owners: Owners,
}

/// Gives the re-owned files of an image, made at the first start with these ids; `None` where no file needs it, which is
/// remembered too. `notice` tells the user when content had to be copied.
pub(crate) fn prepare(
    store: &Store,
    wanted: &Wanted<'_>,
    notice: &dyn Fn(String),
) -> Result<Option<Reowned>, ReownError> {
    let name = format!("{}-{}", wanted.chain.digest().hex(), key(&wanted.owners));
    store.hold_entry(Area::Trees, &format!("reowned/{name}"))?;
    let parent = store.subdir(Area::Trees).join("reowned");
    let home = parent.join(&name);
    if !is_complete(&home) {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&parent)
            .map_err(at("create", &parent))?;
        let work = WorkArea::create(store)?;
        let fresh = make(store, &work, wanted, notice)?;
        publish(&fresh, &home)?;
    }
    open(&home)
}

/// Tells one kind of owners from all others.
fn key(owners: &Owners) -> String {
    match owners {
        Owners::Kept(kept) => format!("{}-{}", kept.uid, kept.gid),
        Owners::Map(map) => {
            let text = format!("{}\n{}", map.uids, map.gids);
            image::Digest::of(text.as_bytes()).hex().to_owned()
        }
    }
}

fn open(home: &Path) -> Result<Option<Reowned>, ReownError> {
    let copies = home.join("tree");
    if copies.exists() {
        return Ok(Some(Reowned::Copied(copies)));
    }
    if !home.join("meta").exists() {
        return Ok(None);
    }
    let mount = overlay(home).mount().map_err(ReownError::Mount)?;
    Ok(Some(Reowned::Mounted(mount)))
}

fn overlay(home: &Path) -> Overlay {
    Overlay {
        lowers: vec![home.join("meta")],
        data_only: vec![home.join("data")],
        upper: None,
    }
}

/// Gives a finished tree its name. Where another process was faster, its tree stays.
fn publish(fresh: &Path, home: &Path) -> Result<(), ReownError> {
    for _ in 0..2 {
        match fs::rename(fresh, home) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                if is_complete(home) {
                    return Ok(());
                }
                // Left over from before the machine stopped.
                remove_tree(home)?;
            }
            Err(error) => return Err(at("publish", home)(error)),
        }
    }
    Err(at("publish", home)(io::ErrorKind::DirectoryNotEmpty.into()))
}

/// A tree of an earlier boot may be cut short, unless somebody waited until it was on the disk.
fn is_complete(home: &Path) -> bool {
    home.exists() && is_trusted(home)
}

fn make(
    store: &Store,
    work: &WorkArea,
    wanted: &Wanted<'_>,
    notice: &dyn Fn(String),
) -> Result<PathBuf, ReownError> {
    let fresh = work.directory("reowned")?;
    let ids: Vec<DiffId> = wanted.layers.iter().map(|layer| layer.diff_id).collect();
    let there = ids.iter().map(|diff_id| owners_of(store, diff_id));
    let there: Vec<LayerOwners> = there.collect::<Result<_, _>>()?;
    for LayerOwners { uids, gids } in &there {
        if let Some(id) = wanted.owners.mistaken(uids, gids) {
            return Err(ReownError::Mistaken(id));
        }
    }
    if is_needed(&there, &wanted.owners) {
        let form = if kernel_redirects(work)? {
            Form::Redirects
        } else {
            Form::Copies
        };
        let view = view_of(store, &ids)?;
        let copied = Builder::new(&fresh, form, wanted, (&view, &store.scratch()))?.build()?;
        if copied > 0 {
            notice(format!(
                "copied {copied} bytes of files that {} gives another owner: Linux before 6.16 cannot show them without",
                wanted.owners
            ));
        }
    }
    mark_unsynced(&fresh)?;
    Ok(fresh)
}

/// Asked of the kernel itself, with two empty directories: distributions carry patches.
fn kernel_redirects(work: &WorkArea) -> Result<bool, ReownError> {
    let probe = work.directory("probe")?;
    for name in ["meta", "data"] {
        let path = probe.join(name);
        fs::create_dir(&path).map_err(at("create", &path))?;
    }
    Ok(overlay(&probe).mount().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::userns::Ids;

    fn layer(uid: u32, gid: u32) -> LayerOwners {
        LayerOwners {
            uids: [uid].into(),
            gids: [gid].into(),
        }
    }

    #[test]
    fn only_owners_from_the_kept_ids_on_need_anything() {
        let kept = Owners::Kept(Ids { uid: 500, gid: 600 });
        let cases = [
            ((0, 0), false),
            ((499, 599), false),
            ((500, 0), true),
            ((501, 0), true),
            ((0, 600), true),
        ];
        for ((uid, gid), expected) in cases {
            assert_eq!(
                is_needed(&[layer(0, 0), layer(uid, gid)], &kept),
                expected,
                "{uid}:{gid}"
            );
        }
        let host = Owners::Kept(Ids::ROOT);
        assert!(is_needed(&[layer(0, 0)], &host), "host re-owns all");
    }
}
