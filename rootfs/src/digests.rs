//! What a COPY would read, as one digest, without reading again what has not changed.
//!
//! Invariant: a remembered digest is used only when the file's device, inode, size, mtime and ctime are what they were, and both
//! times lay clearly before the moment the digest was taken; a change within one clock tick is never missed (git's racy rule).

mod memo;

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use image::{Digest, Hasher, Scratch, Stop};
use thiserror::Error;

use crate::codec::{Decoder, Encoder};
use crate::copy::{CopyPlan, Heeding};
use crate::entry::{Entry, Kind, Time, Xattrs};
use crate::path::TreePath;
use crate::sorted::{ScratchError, SortedMap, Value};
use crate::tree::{Meta, OpenFile, Tree, TreeError};

use memo::{Key, Marks, Memo};

/// File times come from a clock that ticks at most every 10 ms, on network file systems from another machine's.
const CLEARLY_OLDER: i64 = 2;

/// Why the inputs could not be hashed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DigestError {
    /// What does not fit into memory has no place.
    #[error(transparent)]
    Scratch(#[from] ScratchError),
    /// A file could not be looked at.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// A file could not be read.
    #[error("read '{path}'")]
    Read {
        /// Which.
        path: TreePath,
        /// Why.
        source: io::Error,
    },
}

impl Value for [u8; 32] {
    fn write(&self, out: &mut Encoder) {
        out.0.extend_from_slice(self);
    }

    fn read(input: &mut Decoder<'_>) -> Option<Self> {
        input.array()
    }
}

/// Digests of files by what identifies their content.
#[derive(Default)]
pub struct FileDigests {
    known: Memo,
    learned: Mutex<Learned>,
}

#[derive(Default)]
struct Learned {
    fresh: SortedMap<[u8; 32]>,
    /// How many they are.
    count: u64,
    /// Which known digests were asked for.
    used: Marks,
}

impl FileDigests {
    /// A memo of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// A memo of nothing yet beside what is in the file, which was stored by [`store`](Self::store); anything that is not one is an
    /// empty memo, since it only saves work. What is learned and does not fit into memory goes to `scratch`.
    pub fn load(file: Option<File>, scratch: &Scratch) -> Self {
        let known = file.and_then(Memo::load).unwrap_or_default();
        let learned = Learned {
            fresh: SortedMap::new(scratch),
            count: 0,
            used: Marks::of(known.count()),
        };
        Self {
            known,
            learned: Mutex::new(learned),
        }
    }

    /// Whether a stored file is a memo, as it was stored.
    pub fn is_whole(file: File) -> bool {
        Memo::load(file).is_some()
    }

    fn learned(&self) -> MutexGuard<'_, Learned> {
        self.learned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is something new to store.
    pub fn has_news(&self) -> bool {
        self.learned().count > 0
    }

    /// Writes the memo. Where `complete`, everything of interest was asked for, and what was not is forgotten once it is more than
    /// the rest: other builds of the same directory may ask for it.
    ///
    /// # Errors
    /// Those of `out`, and of what is kept on the disk.
    pub fn store(&self, complete: bool, out: &mut dyn Write) -> io::Result<()> {
        let learned = self.learned();
        let (known, used) = (self.known.count(), learned.used.count());
        let forget = complete && known - used > used + learned.count;
        let mut writer = memo::Writer::new(out)?;
        let mut fresh = learned.fresh.iter().peekable();
        for number in 0..known {
            if forget && !learned.used.has(number) {
                continue;
            }
            let (key, digest) = self.known.record(number)?;
            while let Some(next) =
                fresh.next_if(|next| !matches!(next, Ok((new, _)) if new[..] > key.0[..]))
            {
                let (key, digest) = next.map_err(io::Error::other)?;
                writer.add(&key, &digest)?;
            }
            writer.add(&key.0, &digest)?;
        }
        for next in fresh {
            let (key, digest) = next.map_err(io::Error::other)?;
            writer.add(&key, &digest)?;
        }
        writer.finish()
    }

    fn recall(&self, key: &Key) -> Result<Option<[u8; 32]>, DigestError> {
        let known = self.known.find(key).map_err(ScratchError::from)?;
        if let Some((number, digest)) = known {
            self.learned().used.mark(number);
            return Ok(Some(digest));
        }
        Ok(self.learned().fresh.get(&key.0)?)
    }

    fn learn(&self, key: &Key, digest: [u8; 32]) -> Result<(), DigestError> {
        let mut learned = self.learned();
        learned.count += 1;
        Ok(learned.fresh.insert(&key.0, digest)?)
    }

    /// The digest of a file's content and attributes; read only when it is not known. `now` is the time before the reading.
    fn digest(
        &self,
        tree: &dyn Tree,
        path: &TreePath,
        meta: &Meta,
        now: Time,
        stop: &Stop,
    ) -> Result<[u8; 32], DigestError> {
        let key = Key::of(meta);
        if let Some(known) = self.recall(&key)? {
            return Ok(known);
        }
        let OpenFile {
            content, xattrs, ..
        } = tree.open(path)?;
        let digest = hash(
            Heeding {
                stop,
                input: content,
            },
            &xattrs,
        )
        .map_err(|source| DigestError::Read {
            path: path.clone(),
            source,
        })?;
        // A tree without change times (a layer) identifies nothing, and a file written just now may be written again unseen.
        let settled = |time: Time| time.secs + CLEARLY_OLDER <= now.secs;
        let unchanged = || Ok::<_, TreeError>(tree.node(path)?.is_some_and(|after| after == *meta));
        if meta.ctime != Time::default()
            && settled(meta.mtime)
            && settled(meta.ctime)
            && unchanged()?
        {
            self.learn(&key, digest)?;
        }
        Ok(digest)
    }
}

fn hash(mut content: impl Read, xattrs: &Xattrs) -> io::Result<[u8; 32]> {
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; 128 * 1024];
    loop {
        match content.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => hasher.update(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let digest = *hasher.finish().as_bytes();
    if xattrs.is_empty() {
        return Ok(digest);
    }
    let mut hasher = Hasher::new();
    hasher.update(&digest);
    xattrs.iter().for_each(|(name, value)| {
        [name, value]
            .into_iter()
            .for_each(|bytes| part(&mut hasher, bytes))
    });
    Ok(*hasher.finish().as_bytes())
}

/// Length-prefixed, so that no two inputs run together.
pub(crate) fn part(hasher: &mut Hasher, bytes: &[u8]) {
    hasher.update(&(bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}

impl CopyPlan<'_> {
    /// Reads the contents of what the plan would write, so that their digests are remembered. Arguments as for
    /// [`CopyPlan::digest`].
    pub fn remember(&self, memo: &FileDigests, now: Time) -> Result<(), DigestError> {
        self.inputs(&mut |_, input| match input {
            Input::File(tree, path, meta) => {
                memo.digest(tree, path, meta, now, self.stop()).map(drop)
            }
            Input::None | Input::Bytes(_) => Ok(()),
        })
    }

    /// The digest of everything that the plan would write: paths, kinds, modes, owners, link targets, contents, and the times
    /// that the request gave them.
    ///
    /// `now` is the current time, from the caller's clock, before this call.
    pub fn digest(&self, memo: &FileDigests, now: Time) -> Result<Digest, DigestError> {
        self.digest_by(memo, now, |_, _, _| {})
    }

    /// As [`CopyPlan::digest`]; every entry is told too, with what tells it from others of its path.
    pub fn digest_listed(
        &self,
        memo: &FileDigests,
        now: Time,
        list: &mut dyn FnMut(&TreePath, Fingerprint),
    ) -> Result<Digest, DigestError> {
        self.digest_by(memo, now, |entry, content, mtime| {
            let mut hasher = Hasher::new();
            describe(&mut hasher, entry, 0);
            hasher.update(content);
            let digest = hasher.finish();
            let print = Fingerprint {
                content: digest.as_bytes().first_chunk().copied().unwrap_or_default(),
                mtime,
                is_dir: matches!(entry.kind, Kind::Dir),
            };
            list(&entry.path, print);
        })
    }

    fn digest_by(
        &self,
        memo: &FileDigests,
        now: Time,
        mut each: impl FnMut(&Entry, &[u8], i64),
    ) -> Result<Digest, DigestError> {
        let mut hasher = Hasher::new();
        self.inputs(&mut |entry, input| {
            describe(&mut hasher, entry, entry.mtime.secs);
            let content = match input {
                Input::None => None,
                Input::Bytes(bytes) => Some(*Digest::of(bytes).as_bytes()),
                Input::File(tree, path, meta) => {
                    Some(memo.digest(tree, path, meta, now, self.stop())?)
                }
            };
            let content = content.as_ref().map_or(&[][..], |digest| {
                part(&mut hasher, digest);
                digest
            });
            each(entry, content, entry.mtime.secs);
            Ok(())
        })?;
        Ok(hasher.finish())
    }
}

/// What tells two entries of one path from each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// The beginning of a digest of all but the time.
    pub content: [u8; 8],
    /// Seconds since 1970.
    pub mtime: i64,
    /// Whether it is a directory.
    pub is_dir: bool,
}

/// Where a planned file's content comes from.
pub(crate) enum Input<'i> {
    None,
    Bytes(&'i [u8]),
    File(&'i dyn Tree, &'i TreePath, &'i Meta),
}

pub(crate) fn describe(hasher: &mut Hasher, entry: &Entry, mtime: i64) {
    part(hasher, entry.path.as_bytes());
    let (tag, detail): (u8, &[u8]) = match &entry.kind {
        Kind::File { .. } => (0, b""),
        Kind::Dir => (1, b""),
        Kind::Symlink(target) => (2, target),
        Kind::Hardlink(target) => (3, target.as_bytes()),
        Kind::Fifo => (4, b""),
        Kind::Char(_) => (5, b""),
        Kind::Block(_) => (6, b""),
        Kind::Whiteout => (7, b""),
        Kind::Opaque => (8, b""),
    };
    hasher.update(&[tag]);
    part(hasher, detail);
    if let Kind::Char(device) | Kind::Block(device) = entry.kind {
        hasher.update(&device.major.to_le_bytes());
        hasher.update(&device.minor.to_le_bytes());
    }
    [entry.mode, entry.uid, entry.gid]
        .into_iter()
        .for_each(|number| hasher.update(&number.to_le_bytes()));
    // A layer keeps whole seconds.
    hasher.update(&mtime.to_le_bytes());
    hasher.update(&(entry.xattrs.len() as u64).to_le_bytes());
    entry.xattrs.iter().for_each(|(name, value)| {
        [name, value]
            .into_iter()
            .for_each(|bytes| part(hasher, bytes))
    });
}
