//! Layers: tar streams as the OCI image specification defines them, and their indexes.

mod error;
mod header;
mod index;
mod member;
mod pax;
mod read_ahead;
mod reader;
mod sparse;
mod writer;

pub(crate) use header::is_header;
pub(crate) use read_ahead::ReadAhead;
pub(crate) use writer::Descriptor;

pub use error::{Limits, ReadError, WriteError};
pub use index::{Extent, IndexError, LayerIndex, Owners, Record, Stored, StoredIndex};
pub use reader::{Dialect, LayerReader};
pub use writer::{FinishedLayer, LayerTimes, LayerWriter};
