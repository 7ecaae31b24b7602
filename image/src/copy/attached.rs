//! Artifacts that refer to images, on their way with them.
//!
//! Invariant: what is copied keeps its digest; what is made anew names the image as it arrives.

use std::collections::BTreeSet;

use super::CopyError;
use super::source::Source;
use crate::attachment::Attachment;
use crate::digest::Digest;
use crate::export::{Export, Shipment};
use crate::image::{BlobError, ImageError, read_document};
use crate::manifest::Document;
use crate::registry::RegistryError;
use crate::signature::{SignError, Signer, layers_of};

/// Artifacts of artifacts, and so on: more than any image has.
const MOST: usize = 1000;

/// The artifacts that refer to what is copied, and those that refer to them.
pub(super) fn of(
    source: &Source,
    mut subjects: Vec<Digest>,
) -> Result<Vec<Export<'static>>, CopyError> {
    let blobs = source.blobs();
    let mut seen: BTreeSet<Digest> = BTreeSet::new();
    let mut found = Vec::new();
    while let Some(subject) = subjects.pop() {
        for (entry, tag) in source.referrers(&subject)? {
            if !seen.insert(entry.digest) || seen.len() > MOST {
                continue;
            }
            subjects.push(entry.digest);
            let bytes = source.manifest(&entry)?;
            // A signature of which only the tag is known says itself what it is.
            let listed = match Document::parse(&bytes, None).map_err(ImageError::from)? {
                Document::Manifest(manifest) => manifest.referrer(&bytes),
                Document::Index(_) => entry,
            };
            let place = source.place();
            let export = Export::verbatim(&blobs, &bytes, listed, place.as_ref())?;
            found.push(match tag {
                Some(tag) => export.tagged(tag),
                None => export,
            });
        }
    }
    Ok(found)
}

/// An image's documents as artifacts that refer to what it is packed as.
pub fn about(attachments: &[Attachment], name: &str, export: &Export<'_>) -> Vec<Export<'static>> {
    let subject = export.descriptor();
    let own = attachments.iter();
    own.map(|one| Export::attached(&one.about(name, &subject.digest), subject))
        .collect()
}

/// Signatures of all that a shipment has, with those among `known`.
///
/// # Errors
/// When the system has no randomness.
pub fn signatures(
    signer: &Signer,
    identity: &str,
    shipment: &Shipment<'_, '_>,
    known: &[Export<'_>],
) -> Result<Vec<Export<'static>>, SignError> {
    let mut made = Vec::new();
    for subject in shipment.subjects() {
        let tag = crate::signature::tag_of(&subject.digest);
        let old = known.iter().find(|export| export.tag() == Some(&*tag));
        let layers = old.and_then(|export| {
            let mut read = |wanted: &crate::manifest::Descriptor| {
                let blob = export
                    .content()
                    .find(|blob| *blob.digest() == wanted.digest);
                let blob = blob.ok_or(BlobError::Missing(wanted.digest))?;
                read_document(&One(&blob), &wanted.digest).map_err(RegistryError::from)
            };
            layers_of(export.manifest_bytes(), &mut read).ok()
        });
        made.extend(signer.sign(identity, subject, layers.unwrap_or_default())?);
    }
    Ok(made)
}

/// A blob as a place of blobs.
struct One<'b, 'e>(&'b crate::export::ExportBlob<'e>);

impl crate::image::BlobSource for One<'_, '_> {
    fn open(&self, digest: &Digest) -> Result<Box<dyn std::io::Read + Send>, BlobError> {
        self.0.open().map_err(|error| BlobError::Read {
            digest: *digest,
            source: std::io::Error::other(error),
        })
    }
}
