//! Entries into a layer tar, its digest and its index, in one pass.
//!
//! Invariant: the bytes are a function of the entries and contents alone: no clock, no host id, no order but the caller's.
//! The tar is filled into large buffers; one thread reads files and writes the layer while another hashes what was written.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use flate2::Crc;
use tar::{EntryType, Header};

use crate::entry::{Device, Entry, Kind, Time};
use crate::layer::error::WriteError;
use crate::layer::header::{BLOCK, padding};
use crate::layer::index::{Record, Stored};
use crate::layer::pax;
use crate::layer::stored_index::{GrowingIndex, StoredIndex};
use image::{DiffId, Digest, Hasher, Scratch};

/// Large enough that calls and hand-overs cost nothing, small enough that all buffers stay in the second-level cache.
const BUFFER: usize = 256 * 1024;
const BUFFERS: usize = 4;

/// Seven octal digits hold ids up to here; above it a PAX record says the number.
const OCTAL_ID: u32 = 0o7_777_777;
const OCTAL_SIZE: u64 = 0o77_777_777_777;

/// Which times a layer gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerTimes {
    /// Those of the entries.
    Recorded,
    /// Those of the entries, but none after this epoch, in seconds since 1970; marked ones become it.
    Limited(i64),
    /// This one, everywhere.
    Exactly(i64),
    /// Those of the entries with their marks, in PAX headers: what is unpacked from such a layer is the tree that it was made of.
    Marked,
}

impl LayerTimes {
    fn of(self, time: Time) -> i64 {
        match self {
            Self::Recorded | Self::Marked => time.secs,
            Self::Limited(epoch) if time.is_marked() => epoch,
            Self::Limited(epoch) => time.secs.min(epoch),
            Self::Exactly(epoch) => epoch,
        }
    }
}

/// A layer that is being written.
pub struct LayerWriter<W> {
    output: W,
    buffer: Vec<u8>,
    flushed: u64,
    /// None until a buffer is full: what fits into one is not worth a thread.
    hashing: Option<Hashing>,
    times: LayerTimes,
    retimed: bool,
    index: GrowingIndex,
    scratch: Scratch,
}

/// A layer that is complete.
pub struct FinishedLayer<W> {
    /// Where it was written to.
    pub output: W,
    /// What is in it.
    pub index: StoredIndex,
    /// Whether any entry was given with another time than it got.
    pub retimed: bool,
}

/// Where hashing happens.
enum Hashing {
    /// In a thread; buffers go to it and come back.
    Apart {
        full: SyncSender<Vec<u8>>,
        empty: Receiver<Vec<u8>>,
        thread: JoinHandle<Digest>,
    },
    /// Between the writes, where no thread is to be had.
    Here(Hasher),
}

impl Hashing {
    fn start() -> Self {
        let (full, to_hash) = sync_channel::<Vec<u8>>(BUFFERS);
        let (hashed, empty) = sync_channel(BUFFERS + 1);
        for _ in 1..BUFFERS {
            hashed
                .send(Vec::with_capacity(BUFFER))
                .expect("the other end is in this function");
        }
        let hash = move || {
            let mut hasher = Hasher::new();
            for mut buffer in to_hash {
                hasher.update(&buffer);
                buffer.clear();
                // The writer is gone or needs no more buffers: nothing is lost.
                let _ended = hashed.send(buffer);
            }
            hasher.finish()
        };
        match std::thread::Builder::new().spawn(hash) {
            Ok(thread) => Self::Apart {
                full,
                empty,
                thread,
            },
            Err(_) => Self::Here(Hasher::new()),
        }
    }

    /// Hands over a full buffer for an empty one.
    fn exchange(&mut self, mut buffer: Vec<u8>) -> Vec<u8> {
        match self {
            Self::Apart { full, empty, .. } => {
                full.send(buffer)
                    .expect("the hashing thread ends after its channel");
                empty
                    .recv()
                    .expect("the hashing thread ends after its channel")
            }
            Self::Here(hasher) => {
                hasher.update(&buffer);
                buffer.clear();
                buffer
            }
        }
    }

    fn finish(self) -> Digest {
        match self {
            Self::Apart { full, thread, .. } => {
                drop(full);
                thread.join().expect("hashing does not panic")
            }
            Self::Here(hasher) => hasher.finish(),
        }
    }
}

impl<W: Write> LayerWriter<W> {
    /// Starts a layer.
    pub fn new(output: W, times: LayerTimes) -> Self {
        Self {
            output,
            buffer: Vec::with_capacity(BUFFER),
            flushed: 0,
            hashing: None,
            times,
            retimed: false,
            index: GrowingIndex::default(),
            scratch: Scratch::default(),
        }
    }

    /// The same with a place on the disk for what does not fit into memory, for layers of any number of entries.
    #[must_use]
    pub fn with_scratch(mut self, scratch: &Scratch) -> Self {
        self.index = GrowingIndex::new(scratch);
        self.scratch = scratch.clone();
        self
    }

    /// Where what does not fit into memory goes.
    pub(crate) fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    /// Appends an entry without content.
    pub fn append(&mut self, entry: Entry) -> Result<(), WriteError> {
        debug_assert_eq!(
            entry.size(),
            0,
            "a file with content goes through append_file or append_stream"
        );
        let entry = self.header(entry)?;
        self.index.push(&Record {
            entry,
            stored: Stored::Nothing,
            sum: 0,
        })?;
        Ok(())
    }

    /// Appends a file and its content from an open file.
    pub fn append_file(&mut self, entry: Entry, file: impl AsFd) -> Result<(), WriteError> {
        self.append_stream(entry, Descriptor(file.as_fd()))
    }

    /// Appends a file and its content from a stream, which must hold exactly as much as the entry says.
    pub fn append_stream(
        &mut self,
        entry: Entry,
        mut content: impl Read,
    ) -> Result<(), WriteError> {
        let size = entry.size();
        let entry = self.header(entry)?;
        let stored = if size == 0 {
            Stored::Nothing
        } else {
            Stored::Whole {
                at: self.position(),
            }
        };
        let mut sum = Crc::new();
        let mut left = size;
        while left > 0 {
            if self.buffer.len() == BUFFER {
                self.flush()?;
            }
            let start = self.buffer.len();
            let room = usize::try_from(left)
                .unwrap_or(usize::MAX)
                .min(BUFFER - start);
            self.buffer.resize(start + room, 0);
            let outcome = content.read(&mut self.buffer[start..]);
            let length = *outcome.as_ref().unwrap_or(&0);
            self.buffer.truncate(start + length);
            match outcome {
                Ok(0) => {
                    return Err(WriteError::Changed {
                        path: entry.path,
                        expected: size,
                    });
                }
                Ok(_) => {
                    sum.update(&self.buffer[start..]);
                    left -= length as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    return Err(WriteError::Content {
                        path: entry.path,
                        source,
                    });
                }
            }
        }
        self.zeros(padding(size))?;
        self.index.push(&Record {
            entry,
            stored,
            sum: sum.sum(),
        })?;
        Ok(())
    }

    /// Writes the end of the archive and waits for the digest.
    pub fn finish(mut self) -> Result<FinishedLayer<W>, WriteError> {
        self.zeros(2 * BLOCK as u64)?;
        self.write_out()?;
        self.output
            .flush()
            .map_err(|source| WriteError::Io { source })?;
        let digest = match self.hashing {
            None => Digest::of(&self.buffer),
            Some(mut hashing) => {
                hashing.exchange(self.buffer);
                hashing.finish()
            }
        };
        let diff_id = DiffId::new(digest);
        Ok(FinishedLayer {
            output: self.output,
            index: self.index.finish(diff_id, self.flushed),
            retimed: self.retimed,
        })
    }

    /// Bytes of the layer so far.
    pub fn position(&self) -> u64 {
        self.flushed + self.buffer.len() as u64
    }

    fn write_out(&mut self) -> Result<(), WriteError> {
        self.output
            .write_all(&self.buffer)
            .map_err(|source| WriteError::Io { source })?;
        self.flushed += self.buffer.len() as u64;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), WriteError> {
        self.write_out()?;
        let full = std::mem::take(&mut self.buffer);
        let hashing = self.hashing.get_or_insert_with(Hashing::start);
        self.buffer = hashing.exchange(full);
        Ok(())
    }

    fn put(&mut self, mut bytes: &[u8]) -> Result<(), WriteError> {
        while !bytes.is_empty() {
            if self.buffer.len() == BUFFER {
                self.flush()?;
            }
            let (now, later) = bytes.split_at(bytes.len().min(BUFFER - self.buffer.len()));
            self.buffer.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    fn zeros(&mut self, count: u64) -> Result<(), WriteError> {
        let zeros = [0; 2 * BLOCK];
        self.put(&zeros[..usize::try_from(count).unwrap_or(zeros.len())])
    }

    /// Writes the headers of an entry and returns it as it was written.
    fn header(&mut self, mut entry: Entry) -> Result<Entry, WriteError> {
        if entry
            .path
            .components()
            .any(|name| name.starts_with(b".wh."))
        {
            return Err(WriteError::ReservedName { path: entry.path });
        }
        let secs = self.times.of(entry.mtime);
        let has_time = !matches!(
            entry.kind,
            Kind::Whiteout | Kind::Opaque | Kind::Hardlink(_)
        );
        self.retimed |= has_time && secs != entry.mtime.secs;
        entry.mtime = match entry.mtime {
            time if self.times == LayerTimes::Marked && time.is_marked() => time,
            _ => Time { secs, nanos: 0 },
        };
        let name = member_name(&entry);
        let link = link_name(&entry.kind);
        let mut extensions = Vec::new();
        if name.len() > 100 {
            pax::record(&mut extensions, b"path", &name);
        }
        if link.len() > 100 {
            pax::record(&mut extensions, b"linkpath", link);
        }
        for (key, id) in [(b"uid", entry.uid), (b"gid", entry.gid)] {
            if id > OCTAL_ID {
                pax::record(&mut extensions, key, id.to_string().as_bytes());
            }
        }
        if entry.size() > OCTAL_SIZE {
            pax::record(
                &mut extensions,
                b"size",
                entry.size().to_string().as_bytes(),
            );
        }
        if let Some(time) = pax_time(entry.mtime) {
            pax::record(&mut extensions, b"mtime", time.as_bytes());
        }
        for (name, value) in &entry.xattrs {
            pax::xattr_record(&mut extensions, name, value);
        }
        if !extensions.is_empty() {
            let size = extensions.len() as u64;
            self.put(
                block(
                    b"././@PaxHeader",
                    b"",
                    EntryType::XHeader,
                    0o644,
                    size,
                    |_| {},
                )
                .as_bytes(),
            )?;
            self.put(&extensions)?;
            self.zeros(padding(size))?;
        }
        let header = block(
            &name,
            link,
            entry_type(&entry.kind),
            entry.mode,
            entry.size(),
            |header| fill(header, &entry),
        );
        self.put(header.as_bytes())?;
        Ok(entry)
    }
}

fn fill(header: &mut Header, entry: &Entry) {
    let fits = |id: u32| if id > OCTAL_ID { 0 } else { u64::from(id) };
    header.set_uid(fits(entry.uid));
    header.set_gid(fits(entry.gid));
    let secs = u64::try_from(entry.mtime.secs).unwrap_or(0);
    header.set_mtime(if secs > OCTAL_SIZE { 0 } else { secs });
    if let Kind::Char(Device { major, minor }) | Kind::Block(Device { major, minor }) = entry.kind {
        let ustar = header.as_ustar_mut().expect("made as ustar");
        ustar.set_device_major(major);
        ustar.set_device_minor(minor);
    }
}

/// One header block; names that do not fit are cut, the PAX header before it has them whole.
fn block(
    name: &[u8],
    link: &[u8],
    kind: EntryType,
    mode: u32,
    size: u64,
    more: impl FnOnce(&mut Header),
) -> Header {
    let mut header = Header::new_ustar();
    let old = header.as_old_mut();
    let short = |bytes: &[u8]| bytes.len().min(100);
    old.name[..short(name)].copy_from_slice(&name[..short(name)]);
    old.linkname[..short(link)].copy_from_slice(&link[..short(link)]);
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(if size > OCTAL_SIZE { 0 } else { size });
    let ustar = header.as_ustar_mut().expect("made as ustar");
    ustar.set_device_major(0);
    ustar.set_device_minor(0);
    more(&mut header);
    header.set_cksum();
    header
}

/// A time that no number of a header can be.
fn pax_time(time: Time) -> Option<String> {
    let Time { secs, nanos } = time;
    match (secs, nanos) {
        (0.., 0) if secs <= OCTAL_SIZE.cast_signed() => None,
        (_, 0) => Some(secs.to_string()),
        // Before 1970 the fraction counts towards zero.
        (..0, _) => {
            let (whole, fraction) = (secs + 1, 1_000_000_000 - nanos);
            Some(format!("-{}.{fraction:09}", whole.unsigned_abs()))
        }
        _ => Some(format!("{secs}.{nanos:09}")),
    }
}

fn member_name(entry: &Entry) -> Vec<u8> {
    let path = entry.path.as_bytes();
    match &entry.kind {
        Kind::Dir if entry.path.is_root() => b"./".to_vec(),
        Kind::Dir => [path, b"/"].concat(),
        Kind::Whiteout | Kind::Opaque => {
            let (parent, marker) = match (&entry.kind, entry.path.split()) {
                (Kind::Whiteout, Some((parent, name))) => (parent, [b".wh.", name].concat()),
                _ => (path, b".wh..wh..opq".to_vec()),
            };
            if parent.is_empty() {
                marker
            } else {
                [parent, b"/", &marker].concat()
            }
        }
        _ => path.to_vec(),
    }
}

fn link_name(kind: &Kind) -> &[u8] {
    match kind {
        Kind::Symlink(target) => target,
        Kind::Hardlink(target) => target.as_bytes(),
        _ => b"",
    }
}

fn entry_type(kind: &Kind) -> EntryType {
    match kind {
        Kind::File { .. } | Kind::Whiteout | Kind::Opaque => EntryType::Regular,
        Kind::Dir => EntryType::Directory,
        Kind::Symlink(_) => EntryType::Symlink,
        Kind::Hardlink(_) => EntryType::Link,
        Kind::Fifo => EntryType::Fifo,
        Kind::Char(_) => EntryType::Char,
        Kind::Block(_) => EntryType::Block,
    }
}

/// Reads a borrowed descriptor without owning or duplicating it.
pub(crate) struct Descriptor<'f>(pub(crate) BorrowedFd<'f>);

impl Read for Descriptor<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(self.0, buffer)?)
    }
}
