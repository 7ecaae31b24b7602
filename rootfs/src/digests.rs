//! What a COPY would read, as one digest, without reading again what has not changed.
//!
//! Invariant: a remembered digest is used only when the file's device, inode, size, mtime and ctime are what they were, and both
//! times lay clearly before the moment the digest was taken; a change within one clock tick is never missed (git's racy rule).

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::Mutex;

use image::{Digest, Hasher, Stop};
use thiserror::Error;

use crate::copy::{CopyPlan, Heeding};
use crate::entry::{Entry, Kind, Time, Xattrs};
use crate::path::TreePath;
use crate::tree::{Meta, OpenFile, Tree, TreeError};

const MAGIC: &[u8; 16] = b"rbuild-digests2\n";
/// Key and digest as they are stored: seven words of eight bytes, and 32 bytes.
const RECORD: usize = 7 * 8 + 32;
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

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    device: u64,
    inode: u64,
    size: u64,
    mtime: Time,
    ctime: Time,
}

/// Digests of files by what identifies their content.
#[derive(Default)]
pub struct FileDigests {
    known: HashMap<Key, [u8; 32]>,
    fresh: Mutex<HashMap<Key, [u8; 32]>>,
    /// Keys that were asked for: the others are forgotten when the memo is stored again.
    used: Mutex<Vec<Key>>,
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
            let (words, digest) = record.split_at(RECORD - 32);
            let word = |at: usize| {
                words[at * 8..]
                    .first_chunk()
                    .map_or(0, |bytes| u64::from_le_bytes(*bytes))
            };
            let time = |secs, nanos| Time {
                secs: word(secs).cast_signed(),
                nanos: word(nanos) as u32,
            };
            let key = Key {
                device: word(0),
                inode: word(1),
                size: word(2),
                mtime: time(3, 4),
                ctime: time(5, 6),
            };
            let mut value = [0; 32];
            value.copy_from_slice(digest);
            known.insert(key, value);
        }
        Self {
            known,
            fresh: Mutex::default(),
            used: Mutex::default(),
        }
    }

    /// Whether stored data is a memo, as it was stored.
    pub fn is_whole(data: &[u8]) -> bool {
        records(data).is_some()
    }

    /// The memo to store: what was used, and what was learned. `None` when nothing was learned and nothing is out of date.
    pub fn encode(&self) -> Option<Vec<u8>> {
        let fresh = self
            .fresh
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let used = self
            .used
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if fresh.is_empty() {
            return None;
        }
        let mut out = Vec::with_capacity(MAGIC.len() + (fresh.len() + used.len()) * RECORD);
        out.extend_from_slice(MAGIC);
        let kept = used.iter().filter_map(|key| self.known.get_key_value(key));
        for (key, digest) in kept.chain(fresh.iter()) {
            let Key {
                device,
                inode,
                size,
                mtime,
                ctime,
            } = key;
            for word in [
                *device,
                *inode,
                *size,
                mtime.secs.cast_unsigned(),
                mtime.nanos.into(),
                ctime.secs.cast_unsigned(),
                ctime.nanos.into(),
            ] {
                out.extend_from_slice(&word.to_le_bytes());
            }
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
        let key = Key {
            device: meta.inode.0,
            inode: meta.inode.1,
            size: meta.size,
            mtime: meta.mtime,
            ctime: meta.ctime,
        };
        if let Some(known) = self.known.get(&key) {
            self.used
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .push(key);
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
            self.fresh
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .insert(key, digest);
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
fn part(hasher: &mut Hasher, bytes: &[u8]) {
    hasher.update(&(bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}

impl CopyPlan<'_> {
    /// The digest of everything that the plan would write: paths, kinds, modes, owners, link targets, contents, and the times
    /// that the request gave them.
    ///
    /// `now` is the current time, from the caller's clock, before this call.
    pub fn digest(&self, memo: &FileDigests, now: Time) -> Result<Digest, DigestError> {
        let mut hasher = Hasher::new();
        self.inputs(&mut |entry, input| {
            describe(&mut hasher, entry);
            match input {
                Input::None => {}
                Input::Bytes(bytes) => part(&mut hasher, Digest::of(bytes).as_bytes()),
                Input::File(tree, path, meta) => part(
                    &mut hasher,
                    &memo.digest(tree, path, meta, now, &self.stop)?,
                ),
            }
            Ok(())
        })?;
        Ok(hasher.finish())
    }
}

/// Where a planned file's content comes from.
pub(crate) enum Input<'i> {
    None,
    Bytes(&'i [u8]),
    File(&'i dyn Tree, &'i TreePath, &'i Meta),
}

fn describe(hasher: &mut Hasher, entry: &Entry) {
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
    hasher.update(&entry.mtime.secs.to_le_bytes());
    hasher.update(&(entry.xattrs.len() as u64).to_le_bytes());
    entry.xattrs.iter().for_each(|(name, value)| {
        [name, value]
            .into_iter()
            .for_each(|bytes| part(hasher, bytes))
    });
}
