//! One image: an immutable view of a manifest, its configuration and its layers.
//!
//! Invariant: manifest, configuration and layers belong together, checked once in [`Image::from_parts`], the only door.

use std::collections::BTreeMap;
use std::io::{self, Read};

use crate::config::ImageConfig;
use crate::digest::{ChainId, DiffId, Digest, ImageId};
use crate::json::{DOCUMENT_MAX, DocumentError};
use crate::manifest::{Descriptor, Document, Manifest};
use crate::media_type::{Compression, Format, MediaType};
use crate::platform::Platform;

/// A place where blobs are found by digest; everything else about images is derived from it.
pub trait BlobSource {
    /// Opens a blob. What is read need not be verified: whoever parses the bytes hashes them first.
    ///
    /// # Errors
    /// When there is no such blob or it cannot be opened.
    fn open(&self, digest: &Digest) -> Result<Box<dyn Read + Send>, BlobError>;
}

/// Why a blob cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// It is not there.
    #[error("find blob {0}")]
    Missing(Digest),
    /// It is there, but reading failed.
    #[error("read blob {digest}")]
    Read {
        /// Which.
        digest: Digest,
        /// Why.
        source: io::Error,
    },
    /// The bytes are not those that the digest promises.
    #[error("verify blob {expected}: its content has digest {actual}")]
    Mismatch {
        /// What was asked for.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// It is larger than it may be.
    #[error("read blob {digest}: it is larger than {limit} bytes")]
    TooLarge {
        /// Which.
        digest: Digest,
        /// The limit.
        limit: u64,
    },
}

/// Why there is no such image.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// A blob is missing, unreadable or damaged.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// A document is malformed.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// An index was found where one image's manifest has to be.
    #[error("read image {0}: it is an index of several images")]
    IsIndex(Digest),
    /// One image's manifest was found where an index has to be.
    #[error("read index {0}: it is the manifest of one image")]
    NoIndex(Digest),
    /// No image of the index is for the platform.
    #[error("find an image for {wanted} in index {digest}: it has {offered}")]
    NoPlatform {
        /// The index.
        digest: Digest,
        /// What was asked for.
        wanted: String,
        /// What there is.
        offered: String,
    },
    /// An index inside of an index inside of an index.
    #[error("read index {0}: indexes are nested too deeply")]
    TooDeep(Digest),
    /// Manifest and configuration do not belong together.
    #[error("accept image {digest}: {reason}")]
    Inconsistent {
        /// The manifest.
        digest: Digest,
        /// What does not fit.
        reason: String,
    },
}

/// One layer: the blob as the manifest names it, and the tar inside.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// The blob, compressed or not.
    pub descriptor: Descriptor,
    /// The digest of the uncompressed tar; its blob in the store has this name.
    pub diff_id: DiffId,
}

/// One image for one platform.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    manifest: Manifest,
    manifest_bytes: Vec<u8>,
    digest: Digest,
    config: ImageConfig,
    config_bytes: Vec<u8>,
    layers: Vec<Layer>,
}

impl Image {
    /// The image of a manifest and a configuration, both verbatim.
    ///
    /// # Errors
    /// When one is malformed or they do not belong together.
    pub fn from_parts(manifest_bytes: Vec<u8>, config_bytes: Vec<u8>) -> Result<Self, ImageError> {
        let digest = Digest::of(&manifest_bytes);
        let Document::Manifest(manifest) = Document::parse(&manifest_bytes, None)? else {
            return Err(ImageError::IsIndex(digest));
        };
        let actual = Digest::of(&config_bytes);
        if actual != manifest.config.digest {
            return Err(BlobError::Mismatch {
                expected: manifest.config.digest,
                actual,
            }
            .into());
        }
        let config = ImageConfig::parse(&config_bytes)?;
        let layers = pair_layers(&manifest, &config)
            .map_err(|reason| ImageError::Inconsistent { digest, reason })?;
        Ok(Self {
            manifest: *manifest,
            manifest_bytes,
            digest,
            config,
            config_bytes,
            layers,
        })
    }

    /// A new image with an OCI manifest, written deterministically.
    ///
    /// # Errors
    /// When the configuration's diff ids are not those of the layers.
    pub fn compose(
        config: &ImageConfig,
        layers: Vec<Descriptor>,
        annotations: BTreeMap<String, String>,
    ) -> Result<Self, ImageError> {
        let config_bytes = config.to_bytes();
        let descriptor = Descriptor::of(MediaType::OciConfig, &config_bytes);
        let manifest = Manifest {
            annotations,
            ..Manifest::new(descriptor, layers)
        };
        Self::from_parts(manifest.to_bytes(), config_bytes)
    }

    /// The same image in the media types of a format. The configuration, and with it the image id, stays.
    ///
    /// # Errors
    /// When the new manifest is refused.
    pub fn in_format(&self, format: Format) -> Result<Self, ImageError> {
        self.with_layers(format, self.manifest.layers.clone())
    }

    /// The same image with other blobs for its layers, in the media types of a format.
    pub(crate) fn with_layers(
        &self,
        format: Format,
        layers: Vec<Descriptor>,
    ) -> Result<Self, ImageError> {
        let mut manifest = self.manifest.clone();
        manifest.layers = layers;
        for descriptor in manifest.layers.iter_mut().chain([&mut manifest.config]) {
            descriptor.media_type = descriptor.media_type.clone().in_format(format);
        }
        manifest.media_type = Some(MediaType::OciManifest.in_format(format));
        if manifest == self.manifest {
            return Ok(self.clone());
        }
        Self::from_parts(manifest.to_bytes(), self.config_bytes.clone())
    }

    /// The same image with more annotations of its manifest.
    ///
    /// # Errors
    /// When the new manifest is refused.
    pub fn annotated(&self, more: &BTreeMap<String, String>) -> Result<Self, ImageError> {
        if more.is_empty() {
            return Ok(self.clone());
        }
        let mut manifest = self.manifest.clone();
        manifest.annotations.extend(more.clone());
        Self::from_parts(manifest.to_bytes(), self.config_bytes.clone())
    }

    /// Whose media types the manifest has.
    pub fn format(&self) -> Format {
        self.manifest.media_type().format()
    }

    /// Reads an image, following an index to the platform's manifest.
    ///
    /// # Errors
    /// When something is missing, does not have its digest, or is malformed.
    pub fn load(
        source: &dyn BlobSource,
        top: &Digest,
        platform: &Platform,
    ) -> Result<Self, ImageError> {
        const DEPTH: usize = 3;
        let mut digest = *top;
        for _ in 0..DEPTH {
            let bytes = read_document(source, &digest)?;
            match Document::parse(&bytes, None)? {
                Document::Manifest(manifest) => {
                    let config = read_document(source, &manifest.config.digest)?;
                    return Self::from_parts(bytes, config);
                }
                Document::Index(index) => {
                    digest = index
                        .select(platform)
                        .map(|entry| entry.digest)
                        .ok_or_else(|| {
                            let (wanted, offered) =
                                (platform.to_string(), index.platforms().join(", "));
                            ImageError::NoPlatform {
                                digest,
                                wanted,
                                offered,
                            }
                        })?;
                }
            }
        }
        Err(ImageError::TooDeep(*top))
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The manifest as it was received.
    pub fn manifest_bytes(&self) -> &[u8] {
        &self.manifest_bytes
    }

    /// The manifest's digest: what a pinned name names.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The configuration.
    pub fn config(&self) -> &ImageConfig {
        &self.config
    }

    /// The configuration as it was received.
    pub fn config_bytes(&self) -> &[u8] {
        &self.config_bytes
    }

    /// The configuration's digest: what Docker calls the image's id.
    pub fn id(&self) -> ImageId {
        ImageId::new(self.manifest.config.digest)
    }

    /// The layers, lowest first.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The identity of the file system that the layers make; none without layers.
    pub fn chain_id(&self) -> Option<ChainId> {
        ChainId::of(&self.config.rootfs.diff_ids)
    }

    /// The descriptor of the manifest.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::new(
            self.manifest.media_type(),
            self.digest,
            self.manifest_bytes.len() as u64,
        )
    }

    /// The descriptor of the manifest in an index.
    pub fn entry(&self) -> Descriptor {
        Descriptor {
            platform: Some(self.config.platform()),
            ..self.descriptor()
        }
    }

    /// The sum of the layers' sizes as the manifest gives them.
    pub fn layers_size(&self) -> u64 {
        self.layers
            .iter()
            .fold(0, |sum, layer| sum.saturating_add(layer.descriptor.size))
    }
}

fn pair_layers(manifest: &Manifest, config: &ImageConfig) -> Result<Vec<Layer>, String> {
    if !manifest.config.media_type.is_config() {
        return Err(format!(
            "{} is no image configuration",
            manifest.config.media_type
        ));
    }
    let (blobs, diff_ids) = (&manifest.layers, &config.rootfs.diff_ids);
    if blobs.len() != diff_ids.len() {
        return Err(format!(
            "the manifest has {} layers, the configuration {}",
            blobs.len(),
            diff_ids.len()
        ));
    }
    let pair = |(descriptor, diff_id): (&Descriptor, &DiffId)| match descriptor
        .media_type
        .layer_compression()
    {
        None => Err(format!(
            "layers of type {:?} are not supported",
            descriptor.media_type.as_str()
        )),
        Some(Compression::None) if descriptor.digest != *diff_id.digest() => Err(format!(
            "uncompressed layer {} has another diff id, {diff_id}",
            descriptor.digest
        )),
        Some(_) => Ok(Layer {
            descriptor: descriptor.clone(),
            diff_id: *diff_id,
        }),
    };
    blobs.iter().zip(diff_ids).map(pair).collect()
}

/// Reads a whole small blob and compares its digest before anyone looks at it.
pub(crate) fn read_document(
    source: &dyn BlobSource,
    digest: &Digest,
) -> Result<Vec<u8>, BlobError> {
    let limit = DOCUMENT_MAX as u64;
    let mut bytes = Vec::new();
    let reader = source.open(digest)?;
    reader
        .take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| BlobError::Read {
            digest: *digest,
            source,
        })?;
    if bytes.len() as u64 > limit {
        return Err(BlobError::TooLarge {
            digest: *digest,
            limit,
        });
    }
    let actual = Digest::of(&bytes);
    if actual != *digest {
        return Err(BlobError::Mismatch {
            expected: *digest,
            actual,
        });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(diff_ids: &[DiffId]) -> ImageConfig {
        let mut config = ImageConfig::new(&Platform::linux("amd64"));
        config.rootfs.diff_ids = diff_ids.to_vec();
        config
    }

    #[test]
    fn composing_twice_gives_the_same_digest() {
        let tar = Digest::of("tar");
        let compose = || {
            let layers = vec![Descriptor::new(MediaType::OciLayer, tar, 3)];
            Image::compose(&config(&[DiffId::new(tar)]), layers, BTreeMap::new()).unwrap()
        };
        assert_eq!(compose().digest(), compose().digest());
        assert_eq!(compose().chain_id(), Some(ChainId::base(&DiffId::new(tar))));
        assert_eq!(
            compose().digest().to_string(),
            "sha256:876d40ca58410444a43dfae6831d8cc8312be860a7603219d0fc03c4c5773254",
            "a changed digest is a decision to review"
        );
    }

    #[test]
    fn s53_parts_that_do_not_belong_together_are_refused() {
        let (tar, other) = (Digest::of("tar"), Digest::of("other"));
        let layer = |kind, digest| vec![Descriptor::new(kind, digest, 3)];
        let refused = |config: &ImageConfig, layers| {
            matches!(
                Image::compose(config, layers, BTreeMap::new()),
                Err(ImageError::Inconsistent { .. })
            )
        };
        assert!(refused(&config(&[]), layer(MediaType::OciLayer, tar)));
        assert!(refused(
            &config(&[DiffId::new(other)]),
            layer(MediaType::OciLayer, tar)
        ));
        assert!(refused(
            &config(&[DiffId::new(tar)]),
            layer(MediaType::Other("application/octet-stream".into()), tar)
        ));
        let image = Image::compose(&config(&[]), vec![], BTreeMap::new()).unwrap();
        let swapped = Image::from_parts(
            image.manifest_bytes().to_vec(),
            config(&[DiffId::new(tar)]).to_bytes(),
        );
        assert!(matches!(
            swapped,
            Err(ImageError::Blob(BlobError::Mismatch { .. }))
        ));
    }
}
