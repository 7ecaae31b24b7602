//! An image made ready to leave: its layers compressed, and the manifest that says so.
//!
//! Invariant: the same image and the same compression give the same bytes, whatever the number of threads. The configuration,
//! and with it the image id, never changes.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use crate::compress::compress;
use crate::digest::{DiffId, Digest};
use crate::image::{Image, ImageError, Layer};
use crate::manifest::Descriptor;
use crate::media_type::{Compression, MediaType};
use crate::store::{Store, StoreError};

/// Why an image cannot be made ready.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The store refused, or a layer is missing.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A layer cannot be read or compressed.
    #[error("compress layer {diff_id}")]
    Compress {
        /// The layer.
        diff_id: DiffId,
        /// Why.
        source: io::Error,
    },
    /// The new manifest is refused.
    #[error(transparent)]
    Image(#[from] ImageError),
}

/// An image with everything that goes with it.
#[derive(Debug)]
pub struct Export<'s> {
    store: &'s Store,
    image: Image,
    blobs: Vec<(Digest, u64, Content)>,
}

#[derive(Debug)]
enum Content {
    /// Under its own digest in the store.
    Stored,
    /// In a file that has no name.
    Unnamed(Arc<File>),
    Bytes(Vec<u8>),
}

/// One blob of an [`Export`].
#[derive(Debug)]
pub struct ExportBlob<'e> {
    store: &'e Store,
    blob: &'e (Digest, u64, Content),
}

impl<'s> Export<'s> {
    /// Compresses the layers of an image of the store.
    ///
    /// # Errors
    /// When a layer is missing, damaged, or cannot be compressed.
    pub fn new(
        store: &'s Store,
        image: &Image,
        compression: Compression,
        threads: NonZeroUsize,
    ) -> Result<Self, ExportError> {
        let mut blobs = Vec::new();
        let mut seen = BTreeSet::new();
        let mut descriptors: Vec<Descriptor> = Vec::new();
        for (at, layer) in image.layers().iter().enumerate() {
            // The same layer twice is compressed once.
            if let Some(same) = image.layers()[..at]
                .iter()
                .position(|other| other.diff_id == layer.diff_id)
            {
                descriptors.push(Descriptor {
                    annotations: layer.descriptor.annotations.clone(),
                    ..descriptors[same].clone()
                });
                continue;
            }
            let (digest, size, content) = pack(store, layer, compression, threads)?;
            let media_type = match compression {
                Compression::None => MediaType::OciLayer,
                Compression::Gzip => MediaType::OciLayerGzip,
                Compression::Zstd => MediaType::OciLayerZstd,
            };
            let mut descriptor = Descriptor::new(media_type, digest, size);
            descriptor
                .annotations
                .clone_from(&layer.descriptor.annotations);
            descriptors.push(descriptor);
            if seen.insert(digest) {
                blobs.push((digest, size, content));
            }
        }
        let image = with_layers(image, descriptors)?;
        for bytes in [image.config_bytes(), image.manifest_bytes()] {
            blobs.push((
                Digest::of(bytes),
                bytes.len() as u64,
                Content::Bytes(bytes.to_vec()),
            ));
        }
        Ok(Self {
            store,
            image,
            blobs,
        })
    }

    /// The image as it leaves: the same configuration, another manifest.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// The blobs: layers first, then the configuration, the manifest last.
    pub fn blobs(&self) -> impl Iterator<Item = ExportBlob<'_>> {
        self.blobs.iter().map(|blob| ExportBlob {
            store: self.store,
            blob,
        })
    }
}

fn pack(
    store: &Store,
    layer: &Layer,
    compression: Compression,
    threads: NonZeroUsize,
) -> Result<(Digest, u64, Content), ExportError> {
    let diff_id = layer.diff_id;
    let tar = diff_id.digest();
    if compression == Compression::None {
        store.hold(tar)?;
        let size = store
            .blob_size(tar)
            .ok_or_else(|| StoreError::from(crate::image::BlobError::Missing(*tar)))?;
        return Ok((*tar, size, Content::Stored));
    }
    let mut input = store.open_blob(tar).map_err(StoreError::from)?;
    let mut writer = store.blob_writer()?;
    compress(compression, &mut input, &mut writer, threads)
        .map_err(|source| ExportError::Compress { diff_id, source })?;
    let (file, digest, size) = writer.into_unnamed()?;
    Ok((digest, size, Content::Unnamed(Arc::new(file))))
}

/// The image with other blobs for the same layers. Everything else of its manifest stays, in OCI's types.
fn with_layers(image: &Image, layers: Vec<Descriptor>) -> Result<Image, ImageError> {
    if image.manifest().layers == layers {
        return Ok(image.clone());
    }
    let mut manifest = image.manifest().clone();
    manifest.media_type = Some(MediaType::OciManifest);
    manifest.config.media_type = MediaType::OciConfig;
    manifest.layers = layers;
    Image::from_parts(manifest.to_bytes(), image.config_bytes().to_vec())
}

impl ExportBlob<'_> {
    /// Its digest.
    pub fn digest(&self) -> &Digest {
        &self.blob.0
    }

    /// Its size.
    pub fn size(&self) -> u64 {
        self.blob.1
    }

    /// Its content from the start, verified at the end where it comes from the store.
    ///
    /// # Errors
    /// When it is missing.
    pub fn open(&self) -> Result<Box<dyn Read + Send + '_>, StoreError> {
        Ok(match &self.blob.2 {
            Content::Stored => Box::new(
                self.store
                    .open_blob(&self.blob.0)
                    .map_err(StoreError::from)?,
            ),
            Content::Unnamed(file) => Box::new(FromStart {
                file: Arc::clone(file),
                at: 0,
            }),
            Content::Bytes(bytes) => Box::new(&bytes[..]),
        })
    }
}

/// Reads a shared file without moving its position.
struct FromStart {
    file: Arc<File>,
    at: u64,
}

impl Read for FromStart {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.file.read_at(buffer, self.at)?;
        self.at += len as u64;
        Ok(len)
    }
}
