//! An image made ready to leave: its layers compressed, and the manifest that says so; or a manifest and its blobs as they are
//! elsewhere.
//!
//! Invariant: the same image and the same compression give the same bytes, whatever the number of threads and whatever is known
//! about where they go. The configuration, and with it the image id, never changes.

mod attached;
mod shipment;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::compress::Packing;
use crate::digest::{DiffId, Digest, Hasher};
use crate::image::{BlobError, BlobSource, Image, ImageError};
use crate::json::DOCUMENT_MAX;
use crate::manifest::{Descriptor, Document, Manifest};
use crate::media_type::{Compression, Format, MediaType};
use crate::packed;
use crate::platform::Platform;
use crate::reference::Reference;
use crate::store::{Store, StoreError};
pub use shipment::Shipment;

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

/// An image, or what else has a manifest, with everything that goes with it.
#[derive(Debug)]
pub struct Export<'s> {
    descriptor: Descriptor,
    /// Layers, then the configuration.
    blobs: Vec<Blob<'s>>,
    manifest: Blob<'s>,
    /// Under which tag it is, beside its digest.
    tag: Option<String>,
}

#[derive(Debug)]
struct Blob<'s> {
    digest: Digest,
    size: u64,
    content: Content<'s>,
    /// Repositories that have it, as `(REGISTRY, REPOSITORY)`.
    places: Vec<(String, String)>,
}

enum Content<'s> {
    /// Under its own digest in the store.
    Stored(&'s Store),
    Packed(Packed<'s>),
    Bytes(Arc<[u8]>),
    Elsewhere(Arc<dyn BlobSource + Send + Sync>),
}

impl std::fmt::Debug for Content<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Stored(_) => "Stored",
            Self::Packed(_) => "Packed",
            Self::Bytes(_) => "Bytes",
            Self::Elsewhere(_) => "Elsewhere",
        })
    }
}

/// A layer that is packed when somebody wants its bytes, unless its digest had to be found first.
struct Packed<'s> {
    store: &'s Store,
    diff_id: DiffId,
    packing: Packing,
    threads: NonZeroUsize,
    /// Without a name, from the time on when it was packed.
    file: Mutex<Option<Arc<File>>>,
}

/// One blob of an [`Export`].
#[derive(Debug)]
pub struct ExportBlob<'e> {
    blob: &'e Blob<'e>,
}

/// A layer that leaves, and what it is announced as.
#[derive(Debug)]
pub struct PackedLayer<'s> {
    blob: Blob<'s>,
    media_type: MediaType,
}

/// A layer that the store need not have, as it lies packed elsewhere.
#[derive(Clone)]
pub struct LayerElsewhere {
    /// The blob.
    pub descriptor: Descriptor,
    /// Who has it.
    pub source: Arc<dyn BlobSource + Send + Sync>,
    /// The repository that it is in.
    pub place: Option<Reference>,
}

/// Finds a layer elsewhere, packed to the very bytes that this packing makes of it.
pub type FindElsewhere<'f> = dyn Fn(&DiffId, Packing) -> Option<LayerElsewhere> + 'f;

impl<'s> PackedLayer<'s> {
    /// A layer of the store.
    ///
    /// # Errors
    /// When it is missing, damaged, or cannot be compressed.
    pub fn of_store(
        store: &'s Store,
        diff_id: DiffId,
        packing: Packing,
        threads: NonZeroUsize,
    ) -> Result<Self, ExportError> {
        Ok(Self {
            blob: pack(store, diff_id, packing, threads)?,
            media_type: MediaType::layer(Format::Oci, packing.compression()),
        })
    }

    /// A layer as it is elsewhere.
    pub fn elsewhere(found: LayerElsewhere) -> Self {
        Self {
            media_type: found.descriptor.media_type.clone(),
            blob: Blob::elsewhere(found),
        }
    }

    /// The blob's descriptor.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::new(self.media_type.clone(), self.blob.digest, self.blob.size)
    }
}

impl<'s> Export<'s> {
    /// Packs the layers of an image of the store, those whose packed digest is not known already. Its format is the image's own,
    /// unless another is given.
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
        Self::with_elsewhere(store, image, packing, format, threads, &|_, _| None)
    }

    /// Something that is no image: a configuration of a type of its own, and layers.
    pub fn artifact((kind, config): (MediaType, &[u8]), layers: Vec<PackedLayer<'s>>) -> Self {
        let descriptors = layers.iter().map(PackedLayer::descriptor).collect();
        let manifest = Manifest::new(Descriptor::of(kind, config), descriptors);
        let bytes = manifest.to_bytes();
        let mut blobs: Vec<Blob<'s>> = layers.into_iter().map(|layer| layer.blob).collect();
        blobs.push(Blob::of(config));
        Self {
            descriptor: Descriptor::of(manifest.media_type(), &bytes),
            manifest: Blob::of(&bytes),
            blobs,
            tag: None,
        }
    }

    /// As [`Export::new`]; layers that the store lacks may be found elsewhere.
    ///
    /// # Errors
    /// When a layer is nowhere, damaged, or cannot be compressed.
    pub fn with_elsewhere(
        store: &'s Store,
        image: &Image,
        packing: impl Into<Packing>,
        format: Option<Format>,
        threads: NonZeroUsize,
        elsewhere: &FindElsewhere<'_>,
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
            let there = store.contains(layer.diff_id.digest());
            let blob = match elsewhere(&layer.diff_id, packing).filter(|_| !there) {
                Some(found) => Blob::elsewhere(found),
                None => pack(store, layer.diff_id, packing, threads)?,
            };
            let media_type = MediaType::layer(format, packing.compression());
            let mut descriptor = Descriptor::new(media_type, blob.digest, blob.size);
            descriptor
                .annotations
                .clone_from(&layer.descriptor.annotations);
            descriptors.push(descriptor);
            if seen.insert(blob.digest) {
                blobs.push(blob);
            }
        }
        let image = image.with_layers(format, descriptors)?;
        blobs.push(Blob::of(image.config_bytes()));
        Ok(Self {
            descriptor: image.entry(),
            manifest: Blob::of(image.manifest_bytes()),
            blobs,
            tag: None,
        })
    }

    /// A manifest as it is, with its blobs as they are elsewhere; `listed` is how an index lists it, and `place` the repository
    /// that has them.
    ///
    /// # Errors
    /// When the document is no manifest, or has layers that are to be fetched from somewhere else.
    pub fn verbatim(
        source: &Arc<dyn BlobSource + Send + Sync>,
        bytes: &[u8],
        listed: Descriptor,
        place: Option<&Reference>,
    ) -> Result<Self, ImageError> {
        let digest = Digest::of(bytes);
        let Document::Manifest(manifest) = Document::parse(bytes, None)? else {
            return Err(ImageError::IsIndex(digest));
        };
        let mut seen = BTreeSet::new();
        let mut blobs = Vec::new();
        for descriptor in manifest.layers.iter().chain([&manifest.config]) {
            // CVE-2020-15157: another place than the one that was named is not asked.
            if descriptor.other.contains_key("urls") {
                let reason = format!("its layer {} lies elsewhere", descriptor.digest);
                return Err(ImageError::Inconsistent { digest, reason });
            }
            if seen.insert(descriptor.digest) {
                blobs.push(Blob::elsewhere(LayerElsewhere {
                    descriptor: descriptor.clone(),
                    source: Arc::clone(source),
                    place: place.cloned(),
                }));
            }
        }
        Ok(Self {
            descriptor: listed,
            manifest: Blob::of(bytes),
            blobs,
            tag: None,
        })
    }

    /// The export with more annotations, of the manifest and of the descriptor that an index lists it with.
    ///
    /// # Errors
    /// When the new manifest is refused.
    pub fn annotated(
        mut self,
        manifest: &BTreeMap<String, String>,
        descriptor: &BTreeMap<String, String>,
    ) -> Result<Self, ImageError> {
        if !manifest.is_empty() {
            let image = self.image()?.annotated(manifest)?;
            self.manifest = Blob::of(image.manifest_bytes());
            self.descriptor = image.entry();
        }
        self.descriptor.annotations.clone_from(descriptor);
        Ok(self)
    }

    /// The export, listed for another platform than its configuration says.
    #[must_use]
    pub fn listed_for(mut self, platform: Option<Platform>) -> Self {
        self.descriptor.platform = platform;
        self
    }

    /// The image as it leaves: the same configuration, another manifest.
    ///
    /// # Errors
    /// When it is none, but something else that has a manifest, or its configuration cannot be had.
    pub fn image(&self) -> Result<Image, ImageError> {
        let Some(config) = self.blobs.last() else {
            return Err(ImageError::IsIndex(self.manifest.digest));
        };
        let mut bytes = Vec::new();
        let read = |source| BlobError::Read {
            digest: config.digest,
            source,
        };
        ExportBlob { blob: config }
            .open()
            .map_err(|error| read(io::Error::other(error)))?
            .take(DOCUMENT_MAX as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(read)?;
        Image::from_parts(self.manifest_bytes().to_vec(), bytes)
    }

    /// The manifest.
    pub fn manifest_bytes(&self) -> &[u8] {
        match &self.manifest.content {
            Content::Bytes(bytes) => bytes,
            _ => unreachable!("a manifest is made of bytes"),
        }
    }

    /// The manifest as an index lists it.
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// The blobs: layers first, then the configuration.
    pub fn content(&self) -> impl Iterator<Item = ExportBlob<'_>> {
        self.blobs.iter().map(|blob| ExportBlob { blob })
    }

    /// The blobs: layers first, then the configuration, the manifest last.
    pub fn blobs(&self) -> impl Iterator<Item = ExportBlob<'_>> {
        let all = self.blobs.iter().chain([&self.manifest]);
        all.map(|blob| ExportBlob { blob })
    }
}

impl Blob<'_> {
    fn elsewhere(found: LayerElsewhere) -> Self {
        let place = found.place.iter();
        Self {
            digest: found.descriptor.digest,
            size: found.descriptor.size,
            places: place
                .map(|at| (at.registry().to_owned(), at.repository().to_owned()))
                .collect(),
            content: Content::Elsewhere(found.source),
        }
    }

    /// A document.
    fn of(bytes: &[u8]) -> Self {
        Self {
            digest: Digest::of(bytes),
            size: bytes.len() as u64,
            content: Content::Bytes(bytes.into()),
            places: Vec::new(),
        }
    }
}

fn pack<'s>(
    store: &'s Store,
    diff_id: DiffId,
    packing: Packing,
    threads: NonZeroUsize,
) -> Result<Blob<'s>, ExportError> {
    let tar = diff_id.digest();
    if packing.compression() == Compression::None {
        store.hold(tar)?;
        let size = store
            .blob_size(tar)
            .ok_or_else(|| StoreError::from(BlobError::Missing(*tar)))?;
        return Ok(Blob {
            digest: *tar,
            size,
            content: Content::Stored(store),
            places: packed::places(store, tar),
        });
    }
    let packed = Packed {
        store,
        diff_id,
        packing,
        threads,
        file: Mutex::new(None),
    };
    let known = packed::known(store, &diff_id, packing).filter(|_| store.contains(tar));
    let (digest, size) = match known {
        Some(known) => known,
        None => packed.pack()?,
    };
    Ok(Blob {
        digest,
        size,
        content: Content::Packed(packed),
        places: packed::places(store, &digest),
    })
}

impl Packed<'_> {
    fn pack(&self) -> Result<(Digest, u64), ExportError> {
        let (store, diff_id) = (self.store, self.diff_id);
        let mut input = store
            .open_blob(diff_id.digest())
            .map_err(StoreError::from)?;
        let mut writer = store.blob_writer()?;
        self.packing
            .pack(&mut input, &mut writer, self.threads)
            .map_err(|source| ExportError::Compress { diff_id, source })?;
        let (file, digest, size) = writer.into_unnamed()?;
        let mut slot = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        *slot = Some(Arc::new(file));
        packed::remember(store, &diff_id, self.packing, (digest, size));
        Ok((digest, size))
    }

    fn open(&self, expected: &Digest) -> Result<FromStart, ExportError> {
        let file = || {
            let slot = self.file.lock().unwrap_or_else(PoisonError::into_inner);
            slot.clone()
        };
        let packed = match file() {
            Some(file) => Some(file),
            None => {
                let (actual, _) = self.pack()?;
                if actual != *expected {
                    packed::forget(self.store, &self.diff_id, self.packing);
                    let expected = *expected;
                    return Err(StoreError::from(BlobError::Mismatch { expected, actual }).into());
                }
                file()
            }
        };
        packed
            .map(|file| FromStart { file, at: 0 })
            .ok_or_else(|| StoreError::from(BlobError::Missing(*expected)).into())
    }
}

impl ExportBlob<'_> {
    /// Its digest.
    pub fn digest(&self) -> &Digest {
        &self.blob.digest
    }

    /// Its size.
    pub fn size(&self) -> u64 {
        self.blob.size
    }

    /// Repositories of a registry that have it, as far as is known.
    pub fn repositories(&self, registry: &str) -> impl Iterator<Item = &str> {
        let places = self.blob.places.iter();
        places
            .filter(move |(host, _)| host == registry)
            .map(|(_, repository)| repository.as_str())
    }

    /// Remembers that a repository has it.
    pub(crate) fn note_place(&self, at: &Reference) {
        match &self.blob.content {
            Content::Stored(store) | Content::Packed(Packed { store, .. }) => {
                packed::note_place(store, &self.blob.digest, at);
            }
            Content::Bytes(_) | Content::Elsewhere(_) => {}
        }
    }

    /// Its content from the start, verified at the end.
    ///
    /// # Errors
    /// When it is missing, or cannot be packed.
    pub fn open(&self) -> Result<Box<dyn Read + Send>, ExportError> {
        let digest = &self.blob.digest;
        Ok(match &self.blob.content {
            Content::Stored(store) => Box::new(store.open_blob(digest).map_err(StoreError::from)?),
            Content::Packed(packed) => Box::new(packed.open(digest)?),
            Content::Bytes(bytes) => Box::new(io::Cursor::new(Arc::clone(bytes))),
            Content::Elsewhere(source) => Box::new(Verified {
                content: source.open(digest).map_err(StoreError::from)?,
                expected: *digest,
                left: self.blob.size,
                hasher: Hasher::new(),
            }),
        })
    }
}

/// Compares the digest as soon as all is there.
struct Verified {
    content: Box<dyn Read + Send>,
    expected: Digest,
    left: u64,
    hasher: Hasher,
}

impl Read for Verified {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.content.read(buffer)?;
        if buffer.is_empty() || (len == 0 && self.left == 0) {
            return Ok(0);
        }
        self.hasher.update(&buffer[..len]);
        let more = len as u64 > self.left;
        self.left = self.left.saturating_sub(len as u64);
        if len > 0 && self.left > 0 {
            return Ok(len);
        }
        let (expected, actual) = (self.expected, self.hasher.clone().finish());
        if actual != expected || more {
            let error = BlobError::Mismatch { expected, actual };
            return Err(io::Error::new(io::ErrorKind::InvalidData, error));
        }
        Ok(len)
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
