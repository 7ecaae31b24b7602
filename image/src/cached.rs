//! A build cache that machines share: an OCI manifest whose configuration holds the records and whose layers are what they name; or
//! an image that has its own records in an annotation.
//!
//! Invariant: only the manifest says where a layer's bytes are, and each layer has a descriptor and a diff id, both of which are
//! verified by whoever takes it in. What the records mean is not known here.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::ImageConfig;
use crate::digest::DiffId;
use crate::export::{Export, ExportError, PackedLayer};
use crate::image::{BlobError, BlobSource, ImageError, Layer, read_document};
use crate::json::{self, DOCUMENT_MAX, DocumentError};
use crate::layout::{Layout, LayoutError};
use crate::manifest::{Descriptor, Document, Manifest};
use crate::media_type::MediaType;
use crate::platform::Platform;
use crate::reference::Reference;
use crate::registry::{RegistryError, Remote};

/// The media type of the configuration of a cache.
const CONFIG: &str = "application/vnd.rbuild.cache.config.v1+json";
/// The annotation of an image that has its cache with it.
pub const INLINE: &str = "org.rbuild.cache.v1";
/// The name of a cache in a layout, as BuildKit has it.
pub const LAYOUT_NAME: &str = "latest";
/// What is in no cache.
const WHAT: &str = "build cache";
/// The most layers of one cache: manifests have no more.
pub const LAYERS_MAX: usize = 1000;

/// Why there is no cache to be had.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The registry has none, or could not be asked.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The directory has none.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A document is missing, damaged or malformed.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// What is there is something else.
    #[error("read the build cache: it is {0}")]
    Foreign(String),
    /// A layer cannot be made ready.
    #[error(transparent)]
    Export(#[from] ExportError),
}

impl From<BlobError> for CacheError {
    fn from(error: BlobError) -> Self {
        Self::Image(error.into())
    }
}

impl From<DocumentError> for CacheError {
    fn from(error: DocumentError) -> Self {
        Self::Image(error.into())
    }
}

/// Where a cache is read from.
#[derive(Clone)]
pub enum CachePlace {
    /// A name in a registry.
    Registry(Arc<Remote>),
    /// A layout directory, and a name or digest in it.
    Layout(Arc<Layout>, String),
}

impl CachePlace {
    /// A cache in a layout directory.
    ///
    /// # Errors
    /// When it is no layout.
    pub fn layout(path: &std::path::Path, name: &str) -> Result<Self, CacheError> {
        Ok(Self::Layout(Arc::new(Layout::open(path)?), name.to_owned()))
    }

    /// Where the blobs are.
    pub fn blobs(&self) -> Arc<dyn BlobSource + Send + Sync> {
        match self {
            Self::Registry(remote) => Arc::clone(remote) as _,
            Self::Layout(layout, _) => Arc::clone(layout) as _,
        }
    }

    /// The repository that has the blobs.
    pub fn repository(&self) -> Option<&Reference> {
        match self {
            Self::Registry(remote) => Some(remote.reference()),
            Self::Layout(..) => None,
        }
    }

    fn top(&self) -> Result<Vec<u8>, CacheError> {
        match self {
            Self::Registry(remote) => Ok(remote.document(None)?.0),
            Self::Layout(layout, name) => {
                let digest = layout.select(Some(name), &Platform::host())?;
                Ok(read_document(&**layout, &digest)?)
            }
        }
    }

    fn manifest(&self, listed: &Descriptor) -> Result<Vec<u8>, CacheError> {
        match self {
            Self::Registry(remote) => Ok(remote.document(Some(listed))?.0),
            Self::Layout(layout, _) => Ok(read_document(&**layout, &listed.digest)?),
        }
    }

    fn small_blob(&self, wanted: &Descriptor) -> Result<Vec<u8>, CacheError> {
        match self {
            Self::Registry(remote) => Ok(remote.small_blob(wanted)?),
            Self::Layout(layout, _) => Ok(read_document(&**layout, &wanted.digest)?),
        }
    }
}

/// What a cache has.
#[derive(Clone, Debug, PartialEq)]
pub struct CacheContent {
    /// What its writer noted.
    pub records: Value,
    /// How its writer packed the layers, see [`Packing::form`](crate::Packing::form); empty where they may be anybody's.
    pub packing: String,
    /// The layers.
    pub layers: Vec<Layer>,
}

/// The configuration of a cache.
#[derive(Serialize, Deserialize)]
struct Config {
    /// The layers of the manifest, uncompressed.
    layers: Vec<DiffId>,
    packing: String,
    records: Value,
}

/// Reads the cache of a place; of an index, those of all its images.
///
/// # Errors
/// When it cannot be had, or is none.
pub fn read(place: &CachePlace) -> Result<Vec<CacheContent>, CacheError> {
    let manifests = match Document::parse(&place.top()?, None)? {
        Document::Manifest(manifest) => vec![*manifest],
        Document::Index(index) => {
            let mut manifests = Vec::new();
            for entry in &index.manifests {
                let attested = entry.platform.as_ref().is_some_and(|of| of.os == "unknown");
                if attested {
                    continue;
                }
                match Document::parse(&place.manifest(entry)?, None)? {
                    Document::Manifest(manifest) => manifests.push(*manifest),
                    Document::Index(_) => return Err(foreign("an index of indexes")),
                }
            }
            manifests
        }
    };
    let contents: Vec<CacheContent> = manifests
        .iter()
        .filter_map(|manifest| content(place, manifest).transpose())
        .collect::<Result<_, _>>()?;
    if contents.is_empty() {
        return Err(foreign("something that has none of rbuild's"));
    }
    Ok(contents)
}

fn content(place: &CachePlace, manifest: &Manifest) -> Result<Option<CacheContent>, CacheError> {
    let known = ["layers", "packing", "records"];
    if manifest.config.media_type.as_str() == CONFIG {
        let bytes = place.small_blob(&manifest.config)?;
        let config: Config = json::parse(WHAT, &bytes, &known)?;
        let layers = paired(&manifest.layers, &config.layers)?;
        return Ok(Some(CacheContent {
            records: config.records,
            packing: config.packing,
            layers,
        }));
    }
    let Some(text) = manifest.annotations.get(INLINE) else {
        return Ok(None);
    };
    let records: Value = json::parse(WHAT, text.as_bytes(), &[])?;
    let image = ImageConfig::parse(&place.small_blob(&manifest.config)?)?;
    Ok(Some(CacheContent {
        records,
        packing: String::new(),
        layers: paired(&manifest.layers, &image.rootfs.diff_ids)?,
    }))
}

fn paired(blobs: &[Descriptor], diff_ids: &[DiffId]) -> Result<Vec<Layer>, CacheError> {
    let layers = blobs
        .iter()
        .zip(diff_ids)
        .map(|(descriptor, diff_id)| Layer {
            descriptor: descriptor.clone(),
            diff_id: *diff_id,
        });
    let layers: Vec<Layer> = layers.collect();
    let readable = |layer: &Layer| layer.descriptor.media_type.layer_compression().is_some();
    if blobs.len() != diff_ids.len() || !layers.iter().all(readable) {
        return Err(foreign(
            "not consistent: its layers are not those that its records name",
        ));
    }
    Ok(layers)
}

fn foreign(what: &str) -> CacheError {
    CacheError::Foreign(what.to_owned())
}

/// A cache made ready to leave: layers with their diff ids, at most [`LAYERS_MAX`].
///
/// # Errors
/// When the records are too many for a document.
pub fn export<'s>(
    records: Value,
    packing: String,
    layers: Vec<(DiffId, PackedLayer<'s>)>,
) -> Result<Export<'s>, CacheError> {
    let (diff_ids, blobs) = layers.into_iter().unzip();
    let bytes = json::write(&Config {
        layers: diff_ids,
        packing,
        records,
    });
    if bytes.len() > DOCUMENT_MAX {
        let len = bytes.len() as u64;
        return Err(DocumentError::TooLarge { what: WHAT, len }.into());
    }
    Ok(Export::artifact(
        (MediaType::Other(CONFIG.to_owned()), &bytes),
        blobs,
    ))
}
