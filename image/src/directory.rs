//! `dir:`, a directory with a manifest and its blobs as files, as skopeo and podman write it (containers-transports(5)).
//!
//! Invariant: file names are made of digests; `manifest.json` is written last.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::export::{ExportError, Shipment};
use crate::image::{BlobError, BlobSource};
use crate::json::DOCUMENT_MAX;
use crate::layout::write_file;

const VERSION_FILE: &[u8] = b"Directory Transport Version: 1.1\n";

/// Why such a directory cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// A file cannot be read or written.
    #[error("{operation} {path}", path = path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It has files of something else.
    #[error("use {path}: it is neither empty nor a directory of this kind", path = path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
    },
    /// A blob cannot be made ready.
    #[error(transparent)]
    Export(#[from] ExportError),
}

/// An open directory.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
}

impl Directory {
    /// Opens one.
    ///
    /// # Errors
    /// When it is none.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, DirectoryError> {
        let path = path.into();
        if !is_one(&path)? {
            return Err(DirectoryError::Foreign { path });
        }
        Ok(Self { path })
    }

    /// The manifest or index of the directory.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn top(&self) -> Result<Vec<u8>, DirectoryError> {
        self.read("manifest.json")
    }

    /// A manifest that the index lists; the caller hashes it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn manifest(&self, digest: &Digest) -> Result<Vec<u8>, DirectoryError> {
        self.read(&manifest_name(digest))
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, DirectoryError> {
        let path = self.path.join(name);
        let mut bytes = Vec::new();
        open_regular(&path)
            // One byte more, so that the parser sees that it is too large.
            .and_then(|file| file.take(DOCUMENT_MAX as u64 + 1).read_to_end(&mut bytes))
            .map_err(|source| DirectoryError::Io {
                operation: "read",
                path,
                source,
            })?;
        Ok(bytes)
    }
}

impl BlobSource for Directory {
    fn open(&self, digest: &Digest) -> Result<Box<dyn Read + Send>, BlobError> {
        let file = open_regular(&self.path.join(digest.hex()));
        file.map(|file| Box::new(file) as _)
            .map_err(|source| match source.kind() {
                ErrorKind::NotFound => BlobError::Missing(*digest),
                _ => BlobError::Read {
                    digest: *digest,
                    source,
                },
            })
    }
}

/// Opening a fifo would wait for a writer that never comes.
fn open_regular(path: &Path) -> io::Result<File> {
    match fs::metadata(path)?.is_file() {
        true => File::open(path),
        false => Err(io::Error::new(
            ErrorKind::InvalidInput,
            "not a regular file",
        )),
    }
}

fn manifest_name(digest: &Digest) -> String {
    format!("{}.manifest.json", digest.hex())
}

fn is_one(path: &Path) -> Result<bool, DirectoryError> {
    match fs::read(path.join("version")) {
        Ok(text) => Ok(text.starts_with(b"Directory Transport Version: 1.")),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(source) => Err(DirectoryError::Io {
            operation: "look at",
            path: path.into(),
            source,
        }),
    }
}

/// Writes an image, or an index with its images, in place of what the directory had.
///
/// # Errors
/// When something cannot be written, or the directory is something else.
pub fn write(path: &Path, shipment: &Shipment<'_, '_>) -> Result<(), DirectoryError> {
    let at = |operation, path: &Path, source| DirectoryError::Io {
        operation,
        path: path.into(),
        source,
    };
    fs::create_dir_all(path).map_err(|source| at("create directory", path, source))?;
    let mut entries = fs::read_dir(path).map_err(|source| at("list", path, source))?;
    if !is_one(path)? && entries.next().is_some() {
        return Err(DirectoryError::Foreign { path: path.into() });
    }
    let write = |name: &str, content: &mut dyn Read| {
        let target = path.join(name);
        write_file(&target, content).map_err(|source| at("write", &target, source))
    };
    write("version", &mut &VERSION_FILE[..])?;
    for blob in shipment.content() {
        write(blob.digest().hex().as_ref(), &mut blob.open()?)?;
    }
    if shipment.index().is_some() {
        for export in shipment.exports() {
            let name = manifest_name(&export.descriptor().digest);
            write(&name, &mut export.manifest_bytes())?;
        }
    }
    write("manifest.json", &mut shipment.document())
}
