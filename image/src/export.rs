//! An image made ready to leave: its layers compressed, and the manifest that says so.
//!
//! Invariant: the same image and the same compression give the same bytes, whatever the number of threads. The configuration,
//! and with it the image id, never changes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use crate::compress::Packing;
use crate::digest::{DiffId, Digest};
use crate::image::{Image, ImageError, Layer};
use crate::manifest::{Descriptor, Index};
use crate::media_type::{Compression, Format, MediaType};
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
    descriptor: Descriptor,
    blobs: Vec<Blob>,
    documents: [Blob; 2],
}

type Blob = (Digest, u64, Content);

#[derive(Debug)]
enum Content {
    /// Under its own digest in the store.
    Stored,
    /// In a file that has no name.
    Unnamed(Arc<File>),
    Bytes(Arc<[u8]>),
}

/// One blob of an [`Export`].
#[derive(Debug)]
pub struct ExportBlob<'e> {
    store: &'e Store,
    blob: &'e Blob,
}

impl<'s> Export<'s> {
    /// Packs the layers of an image of the store. Its format is the image's own, unless another is given.
    ///
    /// # Errors
    /// When a layer is missing, damaged, or cannot be compressed.
    pub fn new(
        store: &'s Store,
        image: &Image,
        packing: impl Into<Packing>,
        format: Option<Format>,
        threads: NonZeroUsize,
    ) -> Result<Self, ExportError> {
        let packing = packing.into();
        let format = format.unwrap_or_else(|| image.format());
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
            let (digest, size, content) = pack(store, layer, packing, threads)?;
            let media_type = MediaType::layer(format, packing.compression());
            let mut descriptor = Descriptor::new(media_type, digest, size);
            descriptor
                .annotations
                .clone_from(&layer.descriptor.annotations);
            descriptors.push(descriptor);
            if seen.insert(digest) {
                blobs.push((digest, size, content));
            }
        }
        let image = image.with_layers(format, descriptors)?;
        Ok(Self {
            store,
            documents: documents(&image),
            descriptor: image.entry(),
            image,
            blobs,
        })
    }

    /// The export with more annotations, of the manifest and of the descriptor that an index lists it with.
    ///
    /// # Errors
    /// When the new manifest is refused.
    pub fn annotated(
        self,
        manifest: &BTreeMap<String, String>,
        descriptor: &BTreeMap<String, String>,
    ) -> Result<Self, ImageError> {
        let image = self.image.annotated(manifest)?;
        let mut listed = image.entry();
        listed.annotations.clone_from(descriptor);
        Ok(Self {
            documents: documents(&image),
            descriptor: listed,
            image,
            ..self
        })
    }

    /// The image as it leaves: the same configuration, another manifest.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// The manifest as an index lists it.
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// The blobs: layers first, then the configuration, the manifest last.
    pub fn blobs(&self) -> impl Iterator<Item = ExportBlob<'_>> {
        let all = self.blobs.iter().chain(&self.documents);
        all.map(|blob| ExportBlob {
            store: self.store,
            blob,
        })
    }
}

/// What leaves together under one name: one image, or the images of several platforms with the index of them.
#[derive(Debug)]
pub struct Shipment<'e, 's> {
    exports: &'e [Export<'s>],
    index: Option<(Descriptor, Vec<u8>)>,
    descriptor: Descriptor,
}

impl<'e, 's> From<&'e Export<'s>> for Shipment<'e, 's> {
    fn from(export: &'e Export<'s>) -> Self {
        Self {
            exports: std::slice::from_ref(export),
            index: None,
            descriptor: export.descriptor().clone(),
        }
    }
}

impl<'e, 's> Shipment<'e, 's> {
    /// Several images of one format, with annotations of the index and of the descriptor that a layout lists it with.
    pub fn of_index(
        exports: &'e [Export<'s>],
        annotations: BTreeMap<String, String>,
        listed: BTreeMap<String, String>,
    ) -> Self {
        let format = exports
            .first()
            .map_or(Format::Oci, |export| export.image().format());
        let media_type = MediaType::OciIndex.in_format(format);
        let index = Index {
            media_type: Some(media_type.clone()),
            annotations,
            ..Index::new(
                exports
                    .iter()
                    .map(|export| export.descriptor.clone())
                    .collect(),
            )
        };
        let bytes = index.to_bytes();
        let mut descriptor = Descriptor::of(media_type, &bytes);
        descriptor.annotations = listed;
        Self {
            exports,
            index: Some((descriptor.clone(), bytes)),
            descriptor,
        }
    }

    /// The images.
    pub fn exports(&self) -> &'e [Export<'s>] {
        self.exports
    }

    /// The index, where there is one: its descriptor and its bytes.
    pub fn index(&self) -> Option<&(Descriptor, Vec<u8>)> {
        self.index.as_ref()
    }

    /// What a name of the shipment means: the index, or the one image.
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// The blobs of all images, each once.
    pub fn blobs(&self) -> impl Iterator<Item = ExportBlob<'e>> {
        let mut seen = BTreeSet::new();
        self.exports
            .iter()
            .flat_map(Export::blobs)
            .filter(move |blob| seen.insert(*blob.digest()))
    }
}

/// Configuration and manifest as blobs.
fn documents(image: &Image) -> [Blob; 2] {
    [image.config_bytes(), image.manifest_bytes()].map(|bytes| {
        let content = Content::Bytes(bytes.into());
        (Digest::of(bytes), bytes.len() as u64, content)
    })
}

fn pack(
    store: &Store,
    layer: &Layer,
    packing: Packing,
    threads: NonZeroUsize,
) -> Result<Blob, ExportError> {
    let diff_id = layer.diff_id;
    let tar = diff_id.digest();
    if packing.compression() == Compression::None {
        store.hold(tar)?;
        let size = store
            .blob_size(tar)
            .ok_or_else(|| StoreError::from(crate::image::BlobError::Missing(*tar)))?;
        return Ok((*tar, size, Content::Stored));
    }
    let mut input = store.open_blob(tar).map_err(StoreError::from)?;
    let mut writer = store.blob_writer()?;
    packing
        .pack(&mut input, &mut writer, threads)
        .map_err(|source| ExportError::Compress { diff_id, source })?;
    let (file, digest, size) = writer.into_unnamed()?;
    Ok((digest, size, Content::Unnamed(Arc::new(file))))
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
    pub fn open(&self) -> Result<Box<dyn Read + Send>, StoreError> {
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
            Content::Bytes(bytes) => Box::new(io::Cursor::new(Arc::clone(bytes))),
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
