//! Trees in the store: unpacked layers, and the working areas in which new ones are made.
//!
//! ```text
//! trees/layers/OWNERSHIP-HEX/tree      a layer, unpacked over the chain of layers that HEX names
//! trees/layers/OWNERSHIP-HEX/chain     these layers' diff ids, for who compares the tree with them
//! trees/layers/OWNERSHIP-HEX/unsynced  the boot in which it was unpacked, until a sync of the store has brought it to the disk; a
//!                                      step's tree, which is brought there before it is named, has none
//! trees/skeleton-OWNERSHIP/            mount points for what every container has
//! trees/work/N/                        what a living process is making; locked by it
//! trees/writable/N/                    a container's writable layer, or one that is kept for the next; `writable.rs`
//! ```
//!
//! The invariant: a tree has its name only when it is complete. One that was unpacked in an earlier boot and not synced since may
//! not have reached the disk and is made again; it is derived data, so no start has to wait for a flush.

mod check;
mod work_area;
mod writable;

use std::fs::{self, File};
use std::io::{self, Read, Seek as _, SeekFrom};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use image::store::UNSYNCED;
use image::{Area, BlobError, ChainId, DiffId, Scratch, Store, StoreError};
use rustix::fs::{AtFlags, CWD, Gid, Uid};
use thiserror::Error;

use crate::entry::{Entry, Kind};
use crate::layer::{
    Dialect, IndexError, IndexReader, LayerReader, Limits, Owners, ReadAhead, ReadError, ReadIndex,
    Record, Stored, StoredIndex,
};
use crate::ownership::Ownership;
use crate::path::TreePath;
use crate::root::{Root, RootError};
use crate::sorted::ScratchError;
use crate::unpack::{UnpackError, unpack_verified};
use crate::view::{ApplyError, LayerContents, View};

use check::write_chain;

pub use check::TreeState;
pub use work_area::WorkArea;
pub use writable::{WritableLayer, clear_unused_writable, remove_unused_writable};

/// Why a tree could not be had.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TreesError {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A layer's blob could not be opened.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// A layer's blob is no layer.
    #[error("index layer {diff_id}")]
    Index {
        /// Which.
        diff_id: DiffId,
        /// Why.
        source: ReadError,
    },
    /// The index of a layer cannot be read.
    #[error("read the index of layer {diff_id}")]
    ReadIndex {
        /// Which.
        diff_id: DiffId,
        /// Why.
        source: IndexError,
    },
    /// The index of a layer cannot be kept.
    #[error(transparent)]
    Scratch(#[from] ScratchError),
    /// A layer does not fit on those below.
    #[error("stack layer {diff_id}")]
    Stack {
        /// Which.
        diff_id: DiffId,
        /// Why.
        source: ApplyError,
    },
    /// A layer could not be unpacked.
    #[error("unpack layer {diff_id}")]
    Unpack {
        /// Which.
        diff_id: DiffId,
        /// Why.
        source: UnpackError,
    },
    /// A directory of the store.
    #[error(transparent)]
    Root(#[from] RootError),
    /// A directory of the store.
    #[error("{call} {path}")]
    Io {
        /// What was tried.
        call: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

fn at(call: &'static str, path: &Path) -> impl FnOnce(io::Error) -> TreesError {
    let path = path.to_owned();
    move |source| TreesError::Io { call, path, source }
}

/// One unpacked layer.
#[derive(Clone, Debug)]
pub struct UnpackedLayer {
    /// The overlay lower directory.
    pub directory: PathBuf,
    /// Which; [`open_index`] tells what is in it.
    pub diff_id: DiffId,
}

/// The merged view of a stack of layers in the store.
///
/// # Errors
/// When a layer is missing, is none, or does not fit on those below.
pub fn view_of(store: &Store, diff_ids: &[DiffId]) -> Result<View, TreesError> {
    let mut view = View::in_scratch(&store.scratch());
    for diff_id in diff_ids {
        push(&mut view, open_index(store, diff_id)?)?;
    }
    Ok(view)
}

/// The view of a layer that is not in the store, by its index alone.
pub(crate) fn view_of_index(path: &Path, scratch: &Scratch) -> Result<View, TreesError> {
    let file = File::open(path).map_err(at("open", path))?;
    let index = IndexReader::open(file).map_err(|source| TreesError::Io {
        call: "read",
        path: path.to_owned(),
        source: io::Error::other(source),
    })?;
    let mut view = View::in_scratch(scratch);
    push(&mut view, index)?;
    Ok(view)
}

/// Puts a layer on top of a view.
fn push(view: &mut View, mut index: IndexReader<'_>) -> Result<(), TreesError> {
    let diff_id = index.diff_id();
    view.begin_layer();
    loop {
        match index.next() {
            Ok(Some(record)) => {
                let applied = view.apply(&record);
                applied.map_err(|source| TreesError::Stack { diff_id, source })?;
            }
            Ok(None) => return Ok(()),
            Err(source) => return Err(TreesError::ReadIndex { diff_id, source }),
        }
    }
}

/// What a layer deletes, as a view of something that has it.
fn deleted_by(store: &Store, diff_id: &DiffId) -> Result<View, TreesError> {
    let mut view = View::in_scratch(&store.scratch());
    view.begin_layer();
    let mut index = open_index(store, diff_id)?;
    let diff_id = *diff_id;
    let unreadable = |source| TreesError::ReadIndex { diff_id, source };
    while let Some(record) = index.next().map_err(unreadable)? {
        let kind = match record.entry.kind {
            Kind::Whiteout => Kind::File { size: 0 },
            Kind::Opaque => Kind::Dir,
            _ => continue,
        };
        let below = Record {
            entry: Entry::new(record.entry.path, kind, 0o755),
            stored: Stored::Nothing,
            sum: 0,
        };
        view.apply(&below)
            .map_err(|source| TreesError::Stack { diff_id, source })?;
    }
    Ok(view)
}

/// The same view, able to open files.
///
/// # Errors
/// As [`view_of`].
pub fn readable_view_of(store: &Store, diff_ids: &[DiffId]) -> Result<View, TreesError> {
    let digests = diff_ids.iter().map(DiffId::digest);
    let paths = digests.map(|digest| store.blob_path(digest)).collect();
    Ok(view_of(store, diff_ids)?.with_contents(Arc::new(Blobs(paths))))
}

/// The bytes of a stack of layers, from their blobs in the store.
struct Blobs(Vec<PathBuf>);

impl LayerContents for Blobs {
    fn open(&self, layer: usize, offset: u64, len: u64) -> io::Result<Box<dyn Read + '_>> {
        let path = self.0.get(layer).ok_or(io::ErrorKind::NotFound)?;
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(offset))?;
        Ok(Box::new(file.take(len)))
    }

    fn reject(&self, layer: usize) -> &'static str {
        if let Some(path) = self.0.get(layer) {
            // Who needs it next fetches or makes it again. What cannot be removed is noticed again.
            let _ = fs::remove_file(path);
        }
        "its layer in the store is damaged; it will be fetched or made again"
    }
}

/// Gives the records of a layer in the store, one after the other.
///
/// # Errors
/// When the layer is missing or is none.
pub fn each_record(
    store: &Store,
    diff_id: &DiffId,
    mut visit: impl FnMut(Record),
) -> Result<(), TreesError> {
    let mut index = open_index(store, diff_id)?;
    loop {
        match index.next() {
            Ok(Some(record)) => visit(record),
            Ok(None) => return Ok(()),
            Err(source) => {
                let diff_id = *diff_id;
                return Err(TreesError::ReadIndex { diff_id, source });
            }
        }
    }
}

/// The index of a layer in the store: as stored, else made by reading the layer once.
///
/// # Errors
/// When the layer is missing or is none.
pub fn open_index(store: &Store, diff_id: &DiffId) -> Result<IndexReader<'static>, TreesError> {
    if let Some(index) = known_index(store, diff_id) {
        return Ok(index);
    }
    let blob = store.open_blob(diff_id.digest())?;
    let failed = |source| TreesError::Index {
        diff_id: *diff_id,
        source,
    };
    let mut reader = LayerReader::new(
        io::BufReader::with_capacity(1 << 20, blob),
        Dialect::Layer,
        Limits::default(),
    );
    let mut index = ReadIndex::new(&store.scratch());
    while let Some(record) = reader.next().map_err(failed)? {
        index.add(record, &reader)?;
    }
    // Reading to the end has the blob verified against its name.
    let size = reader.read_to_end().map_err(failed)?;
    save_index(store, &index.finish(&reader, *diff_id, size)?)?;
    let path = index_path(store, diff_id);
    let file = File::open(&path).map_err(at("open", &path))?;
    IndexReader::open(file).map_err(|source| TreesError::ReadIndex {
        diff_id: *diff_id,
        source,
    })
}

/// Every id that a layer of the store names.
///
/// # Errors
/// When the layer is missing or is none.
pub fn owners_of(store: &Store, diff_id: &DiffId) -> Result<Owners, TreesError> {
    let mut owners = Owners::default();
    each_record(store, diff_id, |record| owners.add(&record.entry))?;
    Ok(owners)
}

/// The index as it is stored; one of an older version, or a damaged one, is none.
fn known_index(store: &Store, diff_id: &DiffId) -> Option<IndexReader<'static>> {
    let file = File::open(index_path(store, diff_id)).ok()?;
    let index = IndexReader::open(file).ok()?;
    (index.diff_id() == *diff_id).then_some(index)
}

fn index_path(store: &Store, diff_id: &DiffId) -> PathBuf {
    store.subdir(Area::Index).join(diff_id.digest().hex())
}

/// Stores a layer's index beside its blob. It is derived data: damage is noticed and repaired by [`open_index`].
///
/// # Errors
/// When it cannot be written.
pub fn save_index(store: &Store, index: &StoredIndex) -> Result<(), TreesError> {
    let name = index.diff_id.digest().hex();
    Ok(store.write_derived_with(Area::Index, &name, &mut |out| index.write_to(out))?)
}

fn unique() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    // The session counts processes from 1, so the number alone could meet that of another session.
    let start = fs::read_to_string("/proc/self/stat").ok();
    let start = start
        .as_deref()
        .and_then(|stat| stat.rsplit(' ').nth(30).map(str::to_owned))
        .unwrap_or_default();
    let proc_pid = fs::read_link("/proc/self")
        .map(|pid| pid.display().to_string())
        .unwrap_or_default();
    format!(
        "{proc_pid}-{start}-{}",
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}

/// What the names of trees begin with, for each way of storing owners.
pub const TAGS: [&str; 3] = ["mapped", "noted", "squashed"];

/// The trees of one store, as one kind of session stores owners.
#[derive(Debug)]
pub struct Trees {
    directory: PathBuf,
    ownership: Ownership,
}

impl Trees {
    /// The trees of `store`.
    pub fn of(store: &Store, ownership: Ownership) -> Self {
        Self {
            directory: store.subdir(Area::Trees),
            ownership,
        }
    }

    /// How owners are stored.
    pub fn ownership(&self) -> Ownership {
        self.ownership
    }

    fn tag(&self) -> &'static str {
        match self.ownership {
            Ownership::Mapped { .. } => "mapped",
            Ownership::Noted => "noted",
            Ownership::Squashed | Ownership::Recorded => "squashed",
        }
    }

    /// The directory of a finished step.
    pub fn step(&self, name: &str) -> PathBuf {
        self.directory
            .join("steps")
            .join(format!("{}-{name}", self.tag()))
    }

    /// Holds a finished step's tree and says whether it is there: if so, it stays.
    ///
    /// # Errors
    /// When the lease cannot be written.
    pub fn reuse_step(&self, store: &Store, name: &str) -> Result<bool, TreesError> {
        let path = self.step(name);
        if let Some(name) = path.file_name().and_then(|name| name.to_str()) {
            store.hold_entry(Area::Trees, name)?;
        }
        Ok(path.exists())
    }

    /// Gives a finished tree its name, which no other may have.
    ///
    /// # Errors
    /// When the rename fails.
    pub fn publish_step(
        &self,
        store: &Store,
        tree: &Path,
        name: &str,
    ) -> Result<PathBuf, TreesError> {
        // Held first, so that a prune lets it be.
        self.reuse_step(store, name)?;
        let target = self.step(name);
        let parent = self.directory.join("steps");
        private(&parent)?;
        fs::rename(tree, &target).map_err(at("publish", &target))?;
        Ok(target)
    }

    /// Makes a finished step's tree the unpacked form of the layer that was made of it, the last of `chain`: the two hold the
    /// same changes, so the image need not be unpacked to run.
    ///
    /// # Errors
    /// When it cannot be made known.
    pub fn adopt_step(
        &self,
        store: &Store,
        name: &str,
        chain: &[DiffId],
    ) -> Result<(), TreesError> {
        let Some(id) = ChainId::of(chain) else {
            return Ok(());
        };
        let home = self.layer_home(&id);
        self.hold_layer(store, &home)?;
        if is_complete(&home) {
            return Ok(());
        }
        private(&home)?;
        write_chain(&home, chain)?;
        let link = home.join("tree");
        let target = Path::new("../../steps").join(format!("{}-{name}", self.tag()));
        match std::os::unix::fs::symlink(&target, &link) {
            // Another build made it, or it leads to a step that was pruned: then the layer is unpacked when it is needed.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other.map_err(at("create", &link)),
        }
    }

    fn layer_home(&self, chain: &ChainId) -> PathBuf {
        let name = format!("{}-{}", self.tag(), chain.digest().hex());
        self.directory.join("layers").join(name)
    }

    /// Keeps a layer's tree, and the step's that it may be.
    fn hold_layer(&self, store: &Store, home: &Path) -> Result<(), TreesError> {
        let hold = |path: &Path| match path.file_name().and_then(|name| name.to_str()) {
            Some(name) => store.hold_entry(Area::Trees, name),
            None => Ok(()),
        };
        // The layer first: then nobody takes its link away.
        hold(home)?;
        if let Ok(step) = fs::read_link(home.join("tree")) {
            hold(&step)?;
        }
        Ok(())
    }

    /// The layers' directories, lowest first; what is missing is unpacked.
    ///
    /// # Errors
    /// When a layer is missing, is none, or cannot be stored.
    pub fn layers(
        &self,
        store: &Store,
        diff_ids: &[DiffId],
    ) -> Result<Vec<UnpackedLayer>, TreesError> {
        let mut layers = Vec::with_capacity(diff_ids.len());
        let mut chain: Option<ChainId> = None;
        for (number, diff_id) in diff_ids.iter().enumerate() {
            let id = chain.map_or_else(|| ChainId::base(diff_id), |below| below.child(diff_id));
            chain = Some(id);
            let home = self.layer_home(&id);
            self.hold_layer(store, &home)?;
            if !is_complete(&home) {
                // One process unpacks, the others wait for it.
                let _claim = store.claim(id.digest())?;
                if !is_complete(&home) {
                    self.unpack(store, &diff_ids[..=number], &home)?;
                }
            }
            layers.push(UnpackedLayer {
                directory: home.join("tree"),
                diff_id: *diff_id,
            });
        }
        Ok(layers)
    }

    /// Unpacks the last layer of `chain`.
    fn unpack(&self, store: &Store, chain: &[DiffId], home: &Path) -> Result<(), TreesError> {
        let Some((diff_id, below)) = chain.split_last() else {
            return Ok(());
        };
        // A hard link to a file of a lower layer is a copy of it.
        let lower = readable_view_of(store, below)?;
        let work = WorkArea::create(store)?;
        let fresh = work.directory("layer")?;
        let tree = fresh.join("tree");
        private(&tree)?;
        // It is verified at its end, and is hashed beside the unpacking.
        let blob = ReadAhead::new(store.open_blob(diff_id.digest())?);
        let root = Root::open(&tree)?;
        let indexed = index_path(store, diff_id).exists();
        let layer = (*diff_id, indexed);
        let lower_roots = self.noted_below(below)?;
        let unpacked = unpack_verified(blob, layer, &root, (&lower, &lower_roots), self.ownership)
            .map_err(|source| TreesError::Unpack {
                diff_id: *diff_id,
                source,
            })?;
        if !indexed {
            save_index(store, &unpacked.index)?;
        }
        write_chain(&fresh, chain)?;
        mark_unsynced(&fresh)?;
        let parent = self.directory.join("layers");
        private(&parent)?;
        if home.exists() {
            // Left over from before the machine stopped.
            remove_tree(home)?;
        }
        fs::rename(&fresh, home).map_err(at("publish", home))
    }

    /// Unpacks a layer that was written with [`LayerTimes::Marked`](crate::layer::LayerTimes::Marked) into an empty directory, as
    /// the tree of changes that it was made of, whatever lies below it.
    ///
    /// # Errors
    /// When the layer is missing, is none, or cannot be stored.
    pub fn unpack_changes(
        &self,
        store: &Store,
        diff_id: &DiffId,
        directory: &Path,
    ) -> Result<(), TreesError> {
        let lower = deleted_by(store, diff_id)?;
        let blob = ReadAhead::new(store.open_blob(diff_id.digest())?);
        let root = Root::open(directory)?;
        unpack_verified(blob, (*diff_id, true), &root, (&lower, &[]), self.ownership)
            .map(drop)
            .map_err(|source| TreesError::Unpack {
                diff_id: *diff_id,
                source,
            })
    }

    /// The directories of a stack of unpacked layers, topmost first, where owners are noted on them.
    fn noted_below(&self, below: &[DiffId]) -> Result<Vec<Root>, TreesError> {
        if self.ownership != Ownership::Noted {
            return Ok(Vec::new());
        }
        let stacks = (1..=below.len()).rev().map(|height| &below[..height]);
        let homes = stacks
            .filter_map(ChainId::of)
            .map(|id| self.layer_home(&id));
        homes
            .map(|home| Ok(Root::open(&home.join("tree"))?))
            .collect()
    }

    /// A directory with mount points for what every container has, as the lowest layer of its root. Without it they
    /// would have to be made in the image's own layer.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn skeleton(&self, store: &Store) -> Result<PathBuf, TreesError> {
        let home = self.directory.join(format!("skeleton-{}", self.tag()));
        if home.exists() {
            return Ok(home);
        }
        let work = WorkArea::create(store)?;
        let fresh = work.directory("skeleton")?;
        for name in ["", "proc", "sys", "dev", "etc"] {
            self.own(&fresh.join(name), |path| {
                fs::DirBuilder::new()
                    .recursive(true)
                    .mode(0o755)
                    .create(path)
            })?;
        }
        for name in ["etc/resolv.conf", "etc/hosts", "etc/hostname"] {
            self.own(&fresh.join(name), |path| File::create(path).map(drop))?;
        }
        match fs::rename(&fresh, &home) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(home),
            Err(error) => Err(at("publish", &home)(error)),
            Ok(()) => Ok(home),
        }
    }

    /// Makes something that belongs to the image's root, with a mode that no umask changes.
    fn own(
        &self,
        path: &Path,
        make: impl FnOnce(&Path) -> io::Result<()>,
    ) -> Result<(), TreesError> {
        make(path).map_err(at("create", path))?;
        self.give_to_image_root(path)?;
        let mode = if path.is_dir() { 0o755 } else { 0o644 };
        rustix::fs::chmod(path, rustix::fs::Mode::from_raw_mode(mode))
            .map_err(|errno| at("chmod", path)(errno.into()))
    }

    /// Whom files of the image's root belong to, where that is not the session's own user.
    pub fn image_root(&self) -> Option<u32> {
        self.ownership.to_disk(0, &TreePath::root()).ok().flatten()
    }

    /// Gives a file or directory that was just made to the image's root.
    ///
    /// # Errors
    /// Those of chown(2).
    pub fn give_to_image_root(&self, path: &Path) -> Result<(), TreesError> {
        let Some(id) = self.image_root() else {
            return Ok(());
        };
        let owner = (Some(Uid::from_raw(id)), Some(Gid::from_raw(id)));
        rustix::fs::chownat(CWD, path, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| at("chown", path)(errno.into()))
    }
}

/// What is complete and was either unpacked in this boot or brought to the disk.
fn is_complete(home: &Path) -> bool {
    home.join("tree").exists() && is_trusted(home)
}

/// Notes that a directory, which gets its name next, is not on the disk yet. The next sync of the store takes the note away.
///
/// # Errors
/// When it cannot be written.
pub fn mark_unsynced(directory: &Path) -> Result<(), TreesError> {
    let marker = directory.join(UNSYNCED);
    fs::write(&marker, boot_id()).map_err(at("write", &marker))
}

/// Whether a named directory still has what it had when it got its name: it is on the disk, or the machine has run since.
pub fn is_trusted(directory: &Path) -> bool {
    match fs::read_to_string(directory.join(UNSYNCED)) {
        Ok(boot) => !boot.is_empty() && boot == boot_id(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// Names the boot that the machine is in, random(4); empty where the kernel does not say.
pub fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default()
}

fn private(path: &Path) -> Result<(), TreesError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(at("create", path))
}

/// Removes a tree of the store by handles; what an image made cannot lead out of it.
///
/// # Errors
/// When something cannot be removed.
pub fn remove_tree(path: &Path) -> Result<(), TreesError> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(());
    };
    let name = TreePath::scoped(name.as_encoded_bytes())
        .map_err(|_| at("remove", path)(io::ErrorKind::InvalidInput.into()))?;
    match Root::open(parent)?.remove_all(&name) {
        Err(error) if error.is_absent() => Ok(()),
        other => Ok(other?),
    }
}
