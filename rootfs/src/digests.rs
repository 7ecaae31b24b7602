//! What a COPY would read, as one digest, without reading again what has not changed.
//!
//! Invariant: a remembered digest is used only when the file's device, inode, size, mtime and ctime are what they were, and both
//! times lay clearly before the moment the digest was taken; a change within one clock tick is never missed (git's racy rule).

use std::collections::{HashMap, HashSet};
use std::io::{self, Read};
use std::sync::{Mutex, MutexGuard, PoisonError};

use image::{Digest, Hasher, Stop};
use thiserror::Error;

use crate::copy::{CopyPlan, Heeding};
use crate::entry::{Entry, Kind, Time, Xattrs};
use crate::path::TreePath;
use crate::tree::{Meta, OpenFile, Tree, TreeError};

const MAGIC: &[u8; 16] = b"rbuild-digests2\n";
/// Key and digest as they are stored.
const RECORD: usize = 16 + 32;
/// File times come from a clock that ticks at most every 10 ms, on network file systems from another machine's.
const CLEARLY_OLDER: i64 = 2;

/// Why the inputs could not be hashed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DigestError {
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

/// The records of stored data, which has its own digest at its end.
fn records(data: &[u8]) -> Option<&[u8]> {
    let (body, digest) = data.split_last_chunk::<32>()?;
    let records = body.strip_prefix(MAGIC)?;
    let good = records.len() % RECORD == 0 && Digest::of(body).as_bytes() == digest;
    good.then_some(records)
}

/// What identifies a file's content, as half a SHA-256: a context may have hundreds of thousands of files.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key([u8; 16]);

impl Key {
    fn of(meta: &Meta) -> Self {
        let words = [
            meta.inode.0,
            meta.inode.1,
            meta.size,
            meta.mtime.secs.cast_unsigned(),
            meta.mtime.nanos.into(),
            meta.ctime.secs.cast_unsigned(),
            meta.ctime.nanos.into(),
        ];
        let digest = Digest::of(words.map(u64::to_le_bytes).as_flattened());
        let (half, _) = digest.as_bytes().split_at(16);
        Self(half.try_into().expect("the length is split at"))
    }
}

/// Digests of files by what identifies their content.
#[derive(Default)]
pub struct FileDigests {
    known: HashMap<Key, [u8; 32]>,
    learned: Mutex<Learned>,
}

#[derive(Default)]
struct Learned {
    fresh: HashMap<Key, [u8; 32]>,
    /// Keys of known digests that were asked for.
    used: HashSet<Key>,
}

impl FileDigests {
    /// A memo of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Loads a memo; anything that is not one is an empty memo, since it only saves work.
    pub fn decode(data: &[u8]) -> Self {
        let records = records(data).unwrap_or_default();
        let mut known = HashMap::with_capacity(records.len() / RECORD);
        for record in records.chunks_exact(RECORD) {
            let (key, digest) = record.split_at(16);
            let key = Key(key.try_into().expect("the length is split at"));
            known.insert(key, digest.try_into().expect("the rest of a record"));
        }
        Self {
            known,
            learned: Mutex::default(),
        }
    }

    /// Whether stored data is a memo, as it was stored.
    pub fn is_whole(data: &[u8]) -> bool {
        records(data).is_some()
    }

    fn learned(&self) -> MutexGuard<'_, Learned> {
        self.learned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The memo to store; `None` when nothing was learned. Where `complete`, everything of interest was asked for, and what was
    /// not is forgotten once it is more than the rest: other builds of the same directory may ask for it.
    pub fn encode(&self, complete: bool) -> Option<Vec<u8>> {
        let Learned { fresh, used } = &*self.learned();
        if fresh.is_empty() {
            return None;
        }
        let forget = complete && self.known.len() - used.len() > used.len() + fresh.len();
        let mut out = Vec::with_capacity(MAGIC.len() + (fresh.len() + self.known.len()) * RECORD);
        out.extend_from_slice(MAGIC);
        let kept = self
            .known
            .iter()
            .filter(|(key, _)| !forget || used.contains(key));
        for (key, digest) in kept.chain(fresh) {
            out.extend_from_slice(&key.0);
            out.extend_from_slice(digest);
        }
        let digest = Digest::of(&out);
        out.extend_from_slice(digest.as_bytes());
        Some(out)
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
        if let Some(known) = self.known.get(&key) {
            self.learned().used.insert(key);
            return Ok(*known);
        }
        if let Some(known) = self.learned().fresh.get(&key) {
            return Ok(*known);
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
            self.learned().fresh.insert(key, digest);
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
                memo.digest(tree, path, meta, now, &self.stop).map(drop)
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
                    Some(memo.digest(tree, path, meta, now, &self.stop)?)
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
