//! Signatures of images with a key, as cosign makes and reads them: a payload that names the image's digest, and a signature of its
//! bytes, in an artifact under the tag `sha256-HEX.sig` (cosign's specs/SIGNATURE_SPEC.md).
//!
//! Invariant: what is verified is the bytes that were fetched, before they are parsed; only then is asked what they say.

mod key;
mod sealed;
mod verify;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::auth::{decode_base64, encode_base64};
use crate::digest::Digest;
use crate::export::Export;
use crate::image::BlobError;
use crate::json::{self, DOCUMENT_MAX};
use crate::manifest::{Descriptor, Document, Manifest};
use crate::media_type::MediaType;
use crate::reference::Reference;
use crate::registry::RegistryError;
pub use key::{KeyError, PublicKey, Signer};
pub use verify::{Place, Signed, VerifyError, verify};

/// The payload.
pub const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// The artifact that holds payloads.
pub const SIGNATURES: &str = "application/vnd.dev.cosign.artifact.sig.v1+json";
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
const KIND: &str = "cosign container image signature";

/// Why something cannot be signed.
#[derive(Debug, thiserror::Error)]
#[error("sign {digest}: {reason}")]
pub struct SignError {
    digest: Digest,
    reason: &'static str,
}

/// containers/image's "simple signing" payload.
#[derive(Debug, Serialize, Deserialize)]
struct Payload {
    critical: Critical,
    optional: Option<Value>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Critical {
    identity: Identity,
    image: Image,
    r#type: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Identity {
    docker_reference: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Image {
    docker_manifest_digest: String,
}

/// A payload and a signature of it.
#[derive(Clone, Debug)]
pub struct Layer {
    pub(crate) descriptor: Descriptor,
    pub(crate) payload: Vec<u8>,
}

/// What a signature calls an image: its repository, without a tag.
#[must_use]
pub fn identity_of(name: &Reference) -> String {
    format!("{}/{}", name.registry(), name.repository())
}

/// The tag of the signatures of an image.
#[must_use]
pub fn tag_of(image: &Digest) -> String {
    format!("sha256-{}.sig", image.hex())
}

impl Signer {
    /// The artifact with a signature of an image and those that it has already; none if this key has signed the same before.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn sign(
        &self,
        identity: &str,
        image: &Descriptor,
        mut layers: Vec<Layer>,
    ) -> Result<Option<Export<'static>>, SignError> {
        let payload = json::write(&Payload {
            critical: Critical {
                identity: Identity {
                    docker_reference: identity.to_owned(),
                },
                image: Image {
                    docker_manifest_digest: image.digest.to_string(),
                },
                r#type: KIND.to_owned(),
            },
            optional: None,
        });
        let own = self.public_key();
        let same = |layer: &Layer| layer.payload == payload && layer.is_signed_by(&own);
        if layers.iter().any(same) {
            return Ok(None);
        }
        let signature = self.signature_of(&payload).ok_or(SignError {
            digest: image.digest,
            reason: "the system gives no random numbers",
        })?;
        let mut descriptor = Descriptor::of(SIMPLE_SIGNING.into(), &payload);
        let annotation = encode_base64(&signature);
        descriptor
            .annotations
            .insert(SIGNATURE.to_owned(), annotation);
        layers.push(Layer {
            descriptor,
            payload,
        });
        Ok(Some(artifact(image, &layers)))
    }
}

/// An image to clients that know no artifacts, as cosign writes it; its layers are the payloads.
fn artifact(image: &Descriptor, layers: &[Layer]) -> Export<'static> {
    let digests = layers
        .iter()
        .map(|layer| layer.descriptor.digest.to_string());
    let config = json::write(&json!({
        "architecture": "",
        "config": {},
        "os": "",
        "rootfs": { "type": "layers", "diff_ids": digests.collect::<Vec<_>>() },
    }));
    let descriptors = layers.iter().map(|layer| layer.descriptor.clone());
    let config_of = Descriptor::of(MediaType::OciConfig, &config);
    let mut manifest = Manifest::new(config_of, descriptors.collect());
    manifest.point_at(SIGNATURES, image);
    let payloads: Vec<&[u8]> = layers.iter().map(|layer| &layer.payload[..]).collect();
    Export::of_documents(&manifest, &payloads, &config).tagged(tag_of(&image.digest))
}

impl Layer {
    fn signature(&self) -> Option<Vec<u8>> {
        let text = self.descriptor.annotations.get(SIGNATURE)?;
        decode_base64(text)
    }

    fn is_signed_by(&self, key: &PublicKey) -> bool {
        let signature = self.signature();
        signature.is_some_and(|signature| key.has_signed(&self.payload, &signature))
    }
}

/// The payloads of an artifact of signatures; `read` gives blobs.
pub(crate) fn layers_of(
    manifest: &[u8],
    read: &mut dyn FnMut(&Descriptor) -> Result<Vec<u8>, RegistryError>,
) -> Result<Vec<Layer>, RegistryError> {
    let Document::Manifest(manifest) = Document::parse(manifest, None)? else {
        return Ok(Vec::new());
    };
    let payloads = manifest.layers.into_iter();
    let payloads = payloads.filter(|layer| layer.media_type.as_str() == SIMPLE_SIGNING);
    let layer = |descriptor: Descriptor| {
        if descriptor.size > DOCUMENT_MAX as u64 {
            return Err(RegistryError::from(BlobError::TooLarge {
                digest: descriptor.digest,
                limit: DOCUMENT_MAX as u64,
            }));
        }
        let payload = read(&descriptor)?;
        Ok(Layer {
            descriptor,
            payload,
        })
    };
    payloads.map(layer).collect()
}

#[cfg(test)]
mod tests;
