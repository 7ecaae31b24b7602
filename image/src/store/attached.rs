//! Documents about images of the store, which go with them to registries and layouts.
//!
//! Invariant: a record names artifacts whose blobs are on the disk; it goes with its image.

use std::fs;
use std::io::{ErrorKind, Read as _};

use super::error::At;
use super::{Store, StoreError, StoreErrorKind, make_private};
use crate::attachment::{Attachment, EMPTY};
use crate::digest::Digest;
use crate::image::{BlobError, Image};
use crate::manifest::{Document, Manifest};

const RECORDS: &str = "attached";
/// A bill of materials of 50,000 files has half of this.
const LARGEST: u64 = 64 << 20;

impl Store {
    /// Keeps documents with an image, in place of those that it had.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn attach(&self, image: &Image, attachments: &[Attachment]) -> Result<(), StoreError> {
        let mut record = String::new();
        for attachment in attachments {
            self.put(EMPTY)?;
            self.put(&attachment.content)?;
            let manifest = attachment.manifest(&image.descriptor());
            record += &format!("{}\n", self.put(&manifest.to_bytes())?);
        }
        self.settle()?;
        make_private(&self.join(RECORDS))?;
        let name = format!("{RECORDS}/{}", image.digest().hex());
        self.write_record(&name, record.as_bytes())
    }

    /// The documents that are kept with an image.
    ///
    /// # Errors
    /// When the record or a document is damaged.
    pub fn attachments(&self, image: &Digest) -> Result<Vec<Attachment>, StoreError> {
        let manifests = self.attached_manifests(image)?.into_iter();
        manifests
            .map(|(_, manifest)| {
                let media_type = manifest.artifact_type().unwrap_or_default().to_owned();
                let mut content = Vec::new();
                if let Some(layer) = manifest.layers.first() {
                    self.hold(&layer.digest)?;
                    let blob = self.open_blob(&layer.digest)?;
                    let read = blob.take(LARGEST).read_to_end(&mut content);
                    read.map_err(|source| BlobError::Read {
                        digest: layer.digest,
                        source,
                    })?;
                }
                Ok(Attachment {
                    media_type,
                    annotations: manifest.annotations,
                    content,
                })
            })
            .collect()
    }

    fn attached_manifests(&self, image: &Digest) -> Result<Vec<(Digest, Manifest)>, StoreError> {
        let path = self.join(RECORDS).join(image.hex());
        let record = match fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.at("read", &path)?,
        };
        let damaged = || StoreError::from(StoreErrorKind::DamagedRecord { path: path.clone() });
        let manifest = |line: &str| {
            let digest: Digest = line.parse().map_err(|_| damaged())?;
            let bytes = self.read_document(&digest)?;
            match Document::parse(&bytes, None) {
                Ok(Document::Manifest(manifest)) => Ok((digest, *manifest)),
                _ => Err(damaged()),
            }
        };
        record.lines().map(manifest).collect()
    }

    /// The blobs of an image's documents, as far as they are whole.
    pub(super) fn attached_blobs(&self, image: &Digest) -> Vec<Digest> {
        let manifests = self.attached_manifests(image).unwrap_or_default();
        let blobs = manifests.into_iter().flat_map(|(digest, manifest)| {
            let own = manifest.layers.into_iter().chain([manifest.config]);
            own.map(|blob| blob.digest).chain([digest])
        });
        blobs.collect()
    }

    pub(super) fn forget_attached(&self, image: &Digest) -> Result<(), StoreError> {
        let path = self.join(RECORDS).join(image.hex());
        match fs::remove_file(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            other => other.at("remove", &path),
        }
    }
}
