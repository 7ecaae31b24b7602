//! Taking a layer into the store while it arrives: hashed, decompressed, hashed again, observed, in one pass.
//!
//! Invariant: the layer gets its name only when both digests and both sizes are right.

use std::io::{self, Read, Write};

use crate::compress::{Decompressor, Limits};
use crate::digest::{DiffId, Digest, Hasher};
use crate::image::{BlobError, BlobSource, Layer};
use crate::store::{BlobWriter, Store, StoreError, StoreErrorKind};

/// Someone who wants to see a layer's tar while it is being verified.
pub trait LayerObserver: Sync {
    /// A layer begins. After a failed attempt the stream is dropped, and the layer may begin again.
    fn begin(&self, diff_id: &DiffId) -> Box<dyn LayerStream>;
}

/// One layer's tar, as it comes by; an error ends the transfer.
pub trait LayerStream: Write + Send {
    /// The bytes were the right ones, and the layer is in the store.
    ///
    /// # Errors
    /// When what was made of it cannot be kept.
    fn verified(self: Box<Self>) -> io::Result<()>;
}

/// Nobody looks.
#[derive(Clone, Copy, Debug)]
pub struct Unobserved;

impl LayerObserver for Unobserved {
    fn begin(&self, _: &DiffId) -> Box<dyn LayerStream> {
        Box::new(io::sink())
    }
}

impl LayerStream for io::Sink {
    fn verified(self: Box<Self>) -> io::Result<()> {
        Ok(())
    }
}

/// Why a layer was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// It cannot be opened.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Reading, decompressing, observing or storing failed half way.
    #[error("take in layer {diff_id}")]
    Stream {
        /// The layer.
        diff_id: DiffId,
        /// Why.
        source: io::Error,
    },
    /// The blob has another size than its descriptor says.
    #[error("verify layer {digest}: it has {actual} bytes instead of {expected}")]
    Size {
        /// The blob.
        digest: Digest,
        /// The descriptor's size.
        expected: u64,
        /// What came, up to the first byte too many.
        actual: u64,
    },
    /// The tar is not the one that the configuration promises.
    #[error("verify layer {expected}: its uncompressed content has digest {actual}")]
    DiffId {
        /// The configuration's diff id.
        expected: DiffId,
        /// What came.
        actual: Digest,
    },
}

/// A layer on its way into the store.
pub(crate) struct LayerWriter<'s> {
    diff_id: DiffId,
    /// What the blob has to be; none for archives that know diff ids alone.
    blob: Option<(Digest, u64)>,
    arrived: Hasher,
    out: Decompressor<Observed<'s>>,
}

struct Observed<'s> {
    blob: BlobWriter<'s>,
    stream: Box<dyn LayerStream>,
}

impl Write for Observed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.blob.write_all(bytes)?;
        self.stream.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'s> LayerWriter<'s> {
    /// A layer whose blob is known by its descriptor.
    pub(crate) fn new(
        store: &'s Store,
        layer: &Layer,
        observer: &dyn LayerObserver,
    ) -> Result<Self, LayerError> {
        let descriptor = &layer.descriptor;
        let out = Observed {
            blob: store.blob_writer()?,
            stream: observer.begin(&layer.diff_id),
        };
        let declared = descriptor.media_type.layer_compression();
        Ok(Self {
            diff_id: layer.diff_id,
            blob: Some((descriptor.digest, descriptor.size)),
            arrived: Hasher::new(),
            out: Decompressor::new(declared, Limits::default(), out),
        })
    }

    /// A layer that is known by its diff id alone; its compression is what its first bytes show.
    fn by_diff_id(
        store: &'s Store,
        diff_id: DiffId,
        observer: &dyn LayerObserver,
    ) -> Result<Self, LayerError> {
        let out = Observed {
            blob: store.blob_writer()?,
            stream: observer.begin(&diff_id),
        };
        let out = Decompressor::new(None, Limits::default(), out);
        Ok(Self {
            diff_id,
            blob: None,
            arrived: Hasher::new(),
            out,
        })
    }

    /// Publishes the layer if everything was right.
    pub(crate) fn finish(self) -> Result<(), LayerError> {
        let diff_id = self.diff_id;
        if let Some((digest, expected)) = self.blob {
            let actual = self.arrived.len();
            if actual != expected {
                return Err(LayerError::Size {
                    digest,
                    expected,
                    actual,
                });
            }
            let actual = self.arrived.finish();
            if actual != digest {
                return Err(BlobError::Mismatch {
                    expected: digest,
                    actual,
                }
                .into());
            }
        }
        let stream = |source| LayerError::Stream { diff_id, source };
        let Observed {
            blob,
            stream: observed,
        } = self.out.finish().map_err(stream)?;
        blob.finish_as(diff_id.digest())
            .map_err(|error| match error.kind() {
                StoreErrorKind::Mismatch { actual, .. } => LayerError::DiffId {
                    expected: diff_id,
                    actual: *actual,
                },
                _ => error.into(),
            })?;
        observed.verified().map_err(stream)
    }
}

impl Write for LayerWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some((_, size)) = self.blob
            && self.arrived.len().saturating_add(bytes.len() as u64) > size
        {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the blob is longer than its descriptor says",
            ));
        }
        self.arrived.update(bytes);
        self.out.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Brings a layer into the store, unless it is there.
///
/// # Errors
/// When it cannot be had, or one of its digests or sizes is wrong; then nothing is stored.
pub fn take_layer(
    store: &Store,
    source: &dyn BlobSource,
    layer: &Layer,
    observer: &dyn LayerObserver,
) -> Result<(), LayerError> {
    let _claim = store.claim(layer.diff_id.digest())?;
    if store.reuse(layer.diff_id.digest())? {
        return Ok(());
    }
    let reader = source.open(&layer.descriptor.digest)?;
    copy(reader, LayerWriter::new(store, layer, observer)?)
}

/// Brings a layer of an archive that knows only diff ids into the store, unless it is there.
pub(crate) fn take_tar(
    store: &Store,
    reader: impl Read,
    diff_id: DiffId,
    observer: &dyn LayerObserver,
) -> Result<(), LayerError> {
    if store.reuse(diff_id.digest())? {
        return Ok(());
    }
    copy(reader, LayerWriter::by_diff_id(store, diff_id, observer)?)
}

fn copy(mut reader: impl Read, mut writer: LayerWriter<'_>) -> Result<(), LayerError> {
    let diff_id = writer.diff_id;
    let mut buffer = vec![0; 256 << 10];
    let mut step = || -> io::Result<bool> {
        let len = loop {
            match reader.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        writer.write_all(&buffer[..len])?;
        Ok(len > 0)
    };
    while step().map_err(|source| LayerError::Stream { diff_id, source })? {}
    writer.finish()
}
