//! Whether an image is signed with a key, under a name.
//!
//! Invariant: one signature that is right in every respect suffices, and none that is wrong in any counts; of several that are wrong
//! the one that came furthest is told.

use super::{KIND, Layer, Payload, PublicKey, SIGNATURES, identity_of, layers_of, tag_of};
use crate::digest::Digest;
use crate::image::{BlobError, BlobSource, read_document};
use crate::json;
use crate::layout::{Layout, LayoutError};
use crate::manifest::Descriptor;
use crate::reference::Reference;
use crate::registry::{RegistryError, Remote};

/// Why an image is not verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// Nobody signed it.
    #[error("verify {digest}: it has no signature")]
    Unsigned {
        /// The image.
        digest: Digest,
    },
    /// Others signed it.
    #[error("verify {digest}: none of its {count} signatures was made with this key")]
    OtherKey {
        /// The image.
        digest: Digest,
        /// How many there are.
        count: usize,
    },
    /// The key signed something that is no statement about an image.
    #[error("verify {digest}: what was signed with this key is no statement about an image")]
    NoStatement {
        /// The image.
        digest: Digest,
    },
    /// The signature is of another image.
    #[error("verify {digest}: what was signed with this key is {signed:?}, another image")]
    OtherDigest {
        /// The image.
        digest: Digest,
        /// What the signature is of.
        signed: String,
    },
    /// The signature is of the image under another name.
    #[error("verify {digest}: this key signed it as {signed:?}, not as {wanted:?}")]
    OtherIdentity {
        /// The image.
        digest: Digest,
        /// What the signature calls it.
        signed: String,
        /// What was asked for.
        wanted: String,
    },
    /// The registry cannot be asked.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The layout cannot be read.
    #[error(transparent)]
    Layout(#[from] LayoutError),
}

/// Where images and their signatures are.
pub enum Place<'p> {
    /// A repository.
    Registry(&'p Remote),
    /// A layout.
    Layout(&'p Layout),
}

/// A signature that is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// What it calls the image.
    pub identity: String,
    /// The image.
    pub digest: Digest,
}

/// How far a signature came.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    Key,
    Statement,
    Digest(String),
    Identity(String),
}

/// Looks for a signature of an image that the key made and that calls it `identity`.
///
/// # Errors
/// When there is none; the error says what comes nearest.
pub fn verify(
    place: &Place<'_>,
    digest: &Digest,
    key: &PublicKey,
    identity: &str,
) -> Result<Signed, VerifyError> {
    let layers = place.layers(digest)?;
    let mut worst = None;
    for layer in &layers {
        match examine(layer, digest, key, identity) {
            Ok(signed) => return Ok(signed),
            Err(fault) => worst = worst.max(Some(fault)),
        }
    }
    let digest = *digest;
    Err(match worst {
        None => VerifyError::Unsigned { digest },
        Some(Fault::Key) => VerifyError::OtherKey {
            digest,
            count: layers.len(),
        },
        Some(Fault::Statement) => VerifyError::NoStatement { digest },
        Some(Fault::Digest(signed)) => VerifyError::OtherDigest { digest, signed },
        Some(Fault::Identity(signed)) => VerifyError::OtherIdentity {
            digest,
            signed,
            wanted: identity.to_owned(),
        },
    })
}

pub(super) fn examine(
    layer: &Layer,
    digest: &Digest,
    key: &PublicKey,
    identity: &str,
) -> Result<Signed, Fault> {
    if !layer.is_signed_by(key) {
        return Err(Fault::Key);
    }
    let payload: Result<Payload, _> = json::parse("signed payload", &layer.payload, &["critical"]);
    let payload = payload.map_err(|_| Fault::Statement)?.critical;
    if payload.r#type != KIND {
        return Err(Fault::Statement);
    }
    let signed = payload.image.docker_manifest_digest;
    if signed != digest.to_string() {
        return Err(Fault::Digest(signed));
    }
    let called = payload.identity.docker_reference;
    if !is_repository(&called, identity) {
        return Err(Fault::Identity(called));
    }
    Ok(Signed {
        identity: called,
        digest: *digest,
    })
}

/// cosign calls an image by its repository, containers/image by its whole name.
fn is_repository(called: &str, identity: &str) -> bool {
    let name: Option<Reference> = called.parse().ok();
    called == identity || name.is_some_and(|name| identity_of(&name) == identity)
}

impl Place<'_> {
    /// All payloads with their signatures: under the tag, and of artifacts that refer to the image.
    fn layers(&self, digest: &Digest) -> Result<Vec<Layer>, VerifyError> {
        let mut layers: Vec<Layer> = Vec::new();
        for manifest in self.manifests(digest)? {
            let found = layers_of(&manifest, &mut |blob: &Descriptor| self.blob(blob))?;
            for layer in found {
                let same = |known: &Layer| known.descriptor == layer.descriptor;
                if !layers.iter().any(same) {
                    layers.push(layer);
                }
            }
        }
        Ok(layers)
    }

    fn manifests(&self, digest: &Digest) -> Result<Vec<Vec<u8>>, VerifyError> {
        let is_signature = |one: &&Descriptor| one.artifact_type() == Some(SIGNATURES);
        let tag = tag_of(digest);
        match self {
            Self::Registry(remote) => {
                let tagged = remote.tagged(&tag)?;
                let mut found: Vec<_> = tagged.into_iter().map(|(bytes, _)| bytes).collect();
                for referrer in remote.referrers(digest)?.iter().filter(is_signature) {
                    found.push(remote.document(Some(referrer))?.0);
                }
                Ok(found)
            }
            Self::Layout(layout) => {
                let entries = layout.entries().iter();
                let named = entries.filter(|entry| {
                    let name = entry.annotations.get(crate::layout::REF_NAME);
                    name.is_some_and(|name| *name == tag)
                });
                let read = |entry: &Descriptor| read_document(*layout, &entry.digest);
                let found: Result<Vec<_>, BlobError> = named.map(read).collect();
                Ok(found.map_err(RegistryError::from)?)
            }
        }
    }

    fn blob(&self, wanted: &Descriptor) -> Result<Vec<u8>, RegistryError> {
        match self {
            Self::Registry(remote) => remote.small_blob(wanted),
            Self::Layout(layout) => Ok(read_document(*layout as &dyn BlobSource, &wanted.digest)?),
        }
    }
}
