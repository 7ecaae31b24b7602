//! Artifacts about an image, on their way out with it.
//!
//! Invariant: an artifact's blobs are documents in memory; what it is about is named by its manifest alone.

use super::{Blob, Export};
use crate::attachment::{Attachment, EMPTY};
use crate::manifest::{Descriptor, Manifest};

impl Export<'static> {
    /// The artifact of a document about `subject`.
    #[must_use]
    pub fn attached(attachment: &Attachment, subject: &Descriptor) -> Self {
        let manifest = attachment.manifest(subject);
        Self::of_documents(&manifest, &[&attachment.content], EMPTY)
    }

    /// An artifact of a manifest and its blobs.
    pub(crate) fn of_documents(manifest: &Manifest, layers: &[&[u8]], config: &[u8]) -> Self {
        let bytes = manifest.to_bytes();
        let mut blobs: Vec<Blob<'static>> = layers.iter().map(|layer| Blob::of(layer)).collect();
        blobs.push(Blob::of(config));
        Self {
            descriptor: manifest.referrer(&bytes),
            manifest: Blob::of(&bytes),
            blobs,
            tag: None,
        }
    }
}

impl Export<'_> {
    /// The export under a tag of its own, as signatures are.
    #[must_use]
    pub fn tagged(mut self, tag: String) -> Self {
        self.tag = Some(tag);
        self
    }

    /// The tag of its own.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }
}
