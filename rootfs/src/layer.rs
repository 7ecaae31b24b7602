//! Layers: tar streams as the OCI image specification defines them, and their indexes.

mod by_path;
mod error;
mod header;
mod index;
mod member;
mod pax;
mod read_ahead;
mod reader;
mod sparse;
mod stored_index;
mod writer;

pub(crate) use header::is_header;
pub(crate) use read_ahead::ReadAhead;
pub(crate) use stored_index::{GrowingIndex, decode_stored, encode_stored};
pub(crate) use writer::Descriptor;

pub use by_path::{Beside, RecordsByPath};
pub use error::{Limits, ReadError, WriteError};
pub use index::{Extent, IndexError, LayerIndex, Owners, Record, Stored};
pub use reader::{Dialect, LayerReader};
pub use stored_index::{IndexReader, ReadIndex, StoredIndex};
pub use writer::{FinishedLayer, LayerTimes, LayerWriter};
