//! Blobs: writing, verifying, reading.
//!
//! Invariant: a file gets its digest as name only after all of its bytes were hashed: here, or once by whoever wrote them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use super::error::At;
use super::{Store, StoreError, StoreErrorKind};
use crate::digest::{Digest, Hasher};
use crate::image::{BlobError, BlobSource, read_document};
use crate::stop::Stop;

/// A file that is to become a blob; dropped, it leaves nothing.
#[derive(Debug)]
struct Unfinished<'s> {
    store: &'s Store,
    file: File,
    path: Option<PathBuf>,
}

/// A blob that is being written and hashed; dropped unfinished, it leaves nothing.
#[derive(Debug)]
pub struct BlobWriter<'s> {
    unfinished: Unfinished<'s>,
    hasher: Hasher,
}

/// A blob whose writer hashes it: hashing a large layer twice would take as long as writing it. Dropped unfinished, it leaves
/// nothing.
#[derive(Debug)]
pub struct UnhashedBlob<'s> {
    unfinished: Unfinished<'s>,
    size: u64,
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hasher({} bytes)", self.len())
    }
}

/// The right to fetch a blob; others who want the same one wait until it is dropped.
#[derive(Debug)]
pub struct Claim(#[expect(dead_code, reason = "the open file is the lock")] File);

/// A blob that is hashed while it is read; the end is an error when the digest is another, and the blob is then removed
/// so that it can be fetched again.
#[derive(Debug)]
pub struct VerifiedBlob {
    file: File,
    path: PathBuf,
    digest: Digest,
    hasher: Option<Hasher>,
    stop: Stop,
}

impl Store {
    /// Where a blob's file is, whether or not there is one.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.join("blobs").join(digest.blob_path())
    }

    /// Whether a blob is there.
    pub fn contains(&self, digest: &Digest) -> bool {
        self.blob_path(digest).exists()
    }

    /// A blob's size, if it is there.
    pub fn blob_size(&self, digest: &Digest) -> Option<u64> {
        fs::metadata(self.blob_path(digest))
            .ok()
            .map(|metadata| metadata.len())
    }

    /// Holds a blob and says whether it is there: if so, it stays.
    ///
    /// # Errors
    /// When the lease cannot be written.
    pub fn reuse(&self, digest: &Digest) -> Result<bool, StoreError> {
        self.hold(digest)?;
        let there = self.contains(digest);
        if there {
            // Another process may have put it and not synced yet.
            self.mark_unsynced();
        }
        Ok(there)
    }

    /// Starts a blob.
    ///
    /// # Errors
    /// When no temporary file can be made.
    pub fn blob_writer(&self) -> Result<BlobWriter<'_>, StoreError> {
        Ok(BlobWriter {
            unfinished: self.unfinished()?,
            hasher: Hasher::new(),
        })
    }

    /// Starts a blob of which the caller will say the digest of all bytes that it wrote.
    ///
    /// # Errors
    /// When no temporary file can be made.
    pub fn unhashed_blob(&self) -> Result<UnhashedBlob<'_>, StoreError> {
        Ok(UnhashedBlob {
            unfinished: self.unfinished()?,
            size: 0,
        })
    }

    fn unfinished(&self) -> Result<Unfinished<'_>, StoreError> {
        let path = self.tmp_path()?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .at("create", &path)?;
        Ok(Unfinished {
            store: self,
            file,
            path: Some(path),
        })
    }

    /// Stores bytes that are all in memory.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        let digest = Digest::of(bytes);
        // What is damaged is replaced.
        if self.reuse(&digest)?
            && fs::read(self.blob_path(&digest)).is_ok_and(|known| known == bytes)
        {
            return Ok(digest);
        }
        let mut writer = self.blob_writer()?;
        let path = writer.unfinished.path.clone().unwrap_or_default();
        writer.write_all(bytes).at("write", path)?;
        Ok(writer.finish()?.0)
    }

    /// Waits until nobody else fetches the same blob. Look whether it is there afterwards.
    ///
    /// # Errors
    /// When the lock cannot be taken.
    pub fn claim(&self, digest: &Digest) -> Result<Claim, StoreError> {
        let path = self.join("locks").join(digest.hex());
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .at("open", &path)?;
        file.lock().at("lock", &path)?;
        Ok(Claim(file))
    }

    /// Opens a blob for reading from the start; it is verified at its end.
    ///
    /// # Errors
    /// When it is missing or cannot be opened.
    pub fn open_blob(&self, digest: &Digest) -> Result<VerifiedBlob, BlobError> {
        let path = self.blob_path(digest);
        match File::open(&path) {
            Ok(file) => Ok(VerifiedBlob {
                file,
                path,
                digest: *digest,
                hasher: Some(Hasher::new()),
                stop: self.stop.clone(),
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(BlobError::Missing(*digest)),
            Err(source) => Err(BlobError::Read {
                digest: *digest,
                source,
            }),
        }
    }

    /// Reads a manifest, index or configuration; it has its digest.
    ///
    /// # Errors
    /// When it is missing, damaged, or too large for a document.
    pub fn read_document(&self, digest: &Digest) -> Result<Vec<u8>, BlobError> {
        read_document(self, digest)
    }
}

impl BlobSource for Store {
    fn open(&self, digest: &Digest) -> Result<Box<dyn Read + Send>, BlobError> {
        Ok(Box::new(self.open_blob(digest)?))
    }
}

impl Unfinished<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.store.stop.check()?;
        self.file.write(bytes).map_err(|error| self.full(error))
    }

    /// Says where there is no room; the store may lie elsewhere than the user thinks.
    fn full(&self, source: io::Error) -> io::Error {
        let path = self.path.clone().unwrap_or_default();
        let (kind, operation) = (source.kind(), "write");
        let error = StoreErrorKind::Io {
            operation,
            path,
            source,
        };
        io::Error::new(kind, StoreError::from(error))
    }

    fn publish(mut self, digest: &Digest) -> Result<(), StoreError> {
        self.store.hold(digest)?;
        self.store.mark_unsynced();
        let target = self.store.blob_path(digest);
        if let Some(path) = self.path.take() {
            // A damaged blob of that name is mended by this.
            if let Err(error) = fs::rename(&path, &target) {
                self.path = Some(path);
                return Err(error).at("publish blob", target);
            }
        }
        Ok(())
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // Best effort: what stays is swept with the lease.
            let _ = fs::remove_file(path);
        }
    }
}

impl BlobWriter<'_> {
    /// How many bytes were written.
    pub fn len(&self) -> u64 {
        self.hasher.len()
    }

    /// The digest of what was written so far.
    pub fn digest(&self) -> Digest {
        self.hasher.clone().finish()
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.hasher.is_empty()
    }

    /// Gives the blob its name; returns digest and size.
    ///
    /// # Errors
    /// When the rename fails.
    pub fn finish(self) -> Result<(Digest, u64), StoreError> {
        let size = self.hasher.len();
        let digest = self.hasher.finish();
        self.unfinished.publish(&digest)?;
        Ok((digest, size))
    }

    /// Gives the blob its name if it has the digest that it should have; otherwise nothing is stored.
    ///
    /// # Errors
    /// When the digest is another, or the rename fails.
    pub fn finish_as(self, expected: &Digest) -> Result<u64, StoreError> {
        let actual = self.digest();
        if actual != *expected {
            return Err(StoreErrorKind::Mismatch {
                expected: *expected,
                actual,
            }
            .into());
        }
        let size = self.hasher.len();
        self.unfinished.publish(expected)?;
        Ok(size)
    }

    /// Gives the blob no name at all: what was written, for reading from the start; it is gone when the file is dropped.
    ///
    /// # Errors
    /// When the file cannot be rewound or its temporary name removed.
    pub fn into_unnamed(mut self) -> Result<(File, Digest, u64), StoreError> {
        let path = self.unfinished.path.take().unwrap_or_default();
        fs::remove_file(&path).at("remove", &path)?;
        let mut file = self.unfinished.file.try_clone().at("open again", &path)?;
        file.rewind().at("rewind", &path)?;
        let size = self.hasher.len();
        Ok((file, self.hasher.finish(), size))
    }
}

impl Write for BlobWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.unfinished.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl UnhashedBlob<'_> {
    /// Gives the blob its name, `digest` being that of everything that was written; returns the size.
    ///
    /// # Errors
    /// When the rename fails.
    pub fn finish_hashed(self, digest: &Digest) -> Result<u64, StoreError> {
        let size = self.size;
        self.unfinished.publish(digest)?;
        Ok(size)
    }
}

impl Write for UnhashedBlob<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.unfinished.write(bytes)?;
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for VerifiedBlob {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stop.check()?;
        let len = self.file.read(buffer)?;
        if len > 0 || buffer.is_empty() {
            if let Some(hasher) = &mut self.hasher {
                hasher.update(&buffer[..len]);
            }
            return Ok(len);
        }
        let Some(hasher) = self.hasher.take() else {
            return Ok(0);
        };
        let actual = hasher.finish();
        if actual == self.digest {
            return Ok(0);
        }
        // Its name goes, so that it is never served again and can be fetched anew.
        let _ = fs::remove_file(&self.path);
        Err(io::Error::new(
            ErrorKind::InvalidData,
            BlobError::Mismatch {
                expected: self.digest,
                actual,
            },
        ))
    }
}
