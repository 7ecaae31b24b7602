//! What can be wrong with a layer, and how much of everything one may hold.

use std::io;

use thiserror::Error;

use crate::path::{PathError, TreePath};
use crate::sorted::ScratchError;

/// Upper bounds while a layer from elsewhere is read (S17, S18).
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Entries of a layer.
    pub entries: u64,
    /// Uncompressed bytes of a layer.
    pub bytes: u64,
    /// Length of one file, holes included.
    pub file: u64,
    /// Bytes of one PAX header or GNU long name.
    pub extension: u64,
    /// Bytes of a name or of a link's target.
    pub name: u64,
    /// Slashes in them. Going down a path takes time in their number times its length.
    pub levels: u64,
    /// Regions of a sparse file.
    pub regions: usize,
}

impl Default for Limits {
    /// 4 million entries, 1 TiB of layer, 16 TiB of file (ext4's largest), Go's 1 MiB of PAX, names of
    /// 3,000 levels of 50 bytes as the kernel lets them be made (F25), 65,536 regions.
    fn default() -> Self {
        Self {
            entries: 4 << 20,
            bytes: 1 << 40,
            file: 16 << 40,
            extension: 1 << 20,
            name: 160 << 10,
            levels: 4096,
            regions: 1 << 16,
        }
    }
}

/// A stream that is not a layer. Offsets are bytes of the uncompressed stream.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The stream below failed.
    #[error("read the layer at byte {offset}")]
    Io {
        /// Where.
        offset: u64,
        /// Why.
        source: io::Error,
    },
    /// The stream ends inside an entry, or holds none.
    #[error("read the layer at byte {offset}: the archive is cut off")]
    Truncated {
        /// Where.
        offset: u64,
    },
    /// A header block that is none.
    #[error("read the layer at byte {offset}: {problem}")]
    Header {
        /// Where the header begins.
        offset: u64,
        /// What is wrong.
        problem: &'static str,
    },
    /// A PAX record that does not follow the grammar of pax(1) (S05).
    #[error("read the layer at byte {offset}: malformed PAX record: {problem}")]
    Pax {
        /// Where the record begins.
        offset: u64,
        /// What is wrong.
        problem: &'static str,
    },
    /// Two statements about the length of one entry (S04).
    #[error("read the layer at byte {offset}: header says {header} bytes, PAX says {pax}")]
    SizeConflict {
        /// Where the header begins.
        offset: u64,
        /// Size in the header.
        header: u64,
        /// Size in the PAX record.
        pax: u64,
    },
    /// More of something than [`Limits`] allows.
    #[error("read the layer at byte {offset}: {what} above the limit of {limit}")]
    Limit {
        /// Where.
        offset: u64,
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// A name that is none.
    #[error("read the layer at byte {offset}")]
    Name {
        /// Where the header begins.
        offset: u64,
        /// Why.
        source: PathError,
    },
    /// A `.wh.` name that means nothing (S13).
    #[error("read the layer at byte {offset}: '{path}' is no valid whiteout: {problem}")]
    Whiteout {
        /// Where the header begins.
        offset: u64,
        /// The name.
        path: TreePath,
        /// What is wrong.
        problem: &'static str,
    },
}

/// An entry that cannot be written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The index has no place.
    #[error(transparent)]
    Scratch(#[from] ScratchError),
    /// The stream below failed.
    #[error("write the layer")]
    Io {
        /// Why.
        source: io::Error,
    },
    /// The content could not be read.
    #[error("read '{path}'")]
    Content {
        /// Of which entry.
        path: TreePath,
        /// Why.
        source: io::Error,
    },
    /// The file grew or shrank between its entry and its content.
    #[error("read '{path}': it changed while it was read ({expected} bytes expected)")]
    Changed {
        /// Which.
        path: TreePath,
        /// The length that the entry promised.
        expected: u64,
    },
    /// In a layer such a name deletes.
    #[error("write '{path}': names that begin with '.wh.' mean deletion in a layer")]
    ReservedName {
        /// Which.
        path: TreePath,
    },
}
