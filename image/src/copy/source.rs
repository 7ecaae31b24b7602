//! Places whose documents and blobs are read as they are.
//!
//! Invariant: a document is given out only when it has the digest that was asked for.

use std::sync::Arc;

use super::CopyError;
use crate::digest::Digest;
use crate::directory::Directory;
use crate::image::{BlobError, BlobSource, ImageError, read_document};
use crate::layout::{Layout, REF_NAME};
use crate::manifest::{Descriptor, Document};
use crate::media_type::MediaType;
use crate::reference::Reference;
use crate::registry::Remote;
use crate::signature::tag_of;

/// Something that has documents and blobs.
pub(super) enum Source {
    Remote(Arc<Remote>),
    Layout(Arc<Layout>, Digest),
    Directory(Arc<Directory>),
}

impl Source {
    /// What the place means.
    pub(super) fn top(&self) -> Result<(Vec<u8>, Descriptor), CopyError> {
        let (bytes, digest) = match self {
            Self::Remote(remote) => return Ok(remote.document(None)?),
            Self::Layout(layout, digest) => (read_document(&**layout, digest)?, *digest),
            Self::Directory(directory) => {
                let bytes = directory.top()?;
                let digest = Digest::of(&bytes);
                (bytes, digest)
            }
        };
        let media_type = match Document::parse(&bytes, None).map_err(ImageError::from)? {
            Document::Manifest(manifest) => manifest.media_type(),
            Document::Index(index) => index.media_type.unwrap_or(MediaType::OciIndex),
        };
        let descriptor = Descriptor::new(media_type, digest, bytes.len() as u64);
        Ok((bytes, descriptor))
    }

    /// A manifest or index that an index lists.
    pub(super) fn manifest(&self, listed: &Descriptor) -> Result<Vec<u8>, CopyError> {
        let bytes = match self {
            Self::Remote(remote) => return Ok(remote.document(Some(listed))?.0),
            Self::Layout(layout, _) => return Ok(read_document(&**layout, &listed.digest)?),
            Self::Directory(directory) => directory.manifest(&listed.digest)?,
        };
        let actual = Digest::of(&bytes);
        if actual != listed.digest {
            let expected = listed.digest;
            return Err(BlobError::Mismatch { expected, actual }.into());
        }
        Ok(bytes)
    }

    /// The artifacts that refer to a manifest or index, with the tags that they have, and signatures that have a tag alone.
    pub(super) fn referrers(
        &self,
        to: &Digest,
    ) -> Result<Vec<(Descriptor, Option<String>)>, CopyError> {
        let signatures = tag_of(to);
        Ok(match self {
            Self::Directory(_) => Vec::new(),
            Self::Layout(layout, _) => {
                let entries = layout.referrers(to)?.into_iter();
                let tagged = |mut entry: Descriptor| {
                    let tag = entry.annotations.remove(REF_NAME);
                    (entry, tag)
                };
                entries.map(tagged).collect()
            }
            Self::Remote(remote) => {
                let mut found: Vec<_> = remote
                    .referrers(to)?
                    .into_iter()
                    .map(|entry| (entry, None))
                    .collect();
                if let Some((_, signed)) = remote.tagged(&signatures)? {
                    found.retain(|(entry, _)| entry.digest != signed.digest);
                    found.push((signed, Some(signatures)));
                }
                found
            }
        })
    }

    pub(super) fn blobs(&self) -> Arc<dyn BlobSource + Send + Sync> {
        match self {
            Self::Remote(remote) => Arc::clone(remote) as _,
            Self::Layout(layout, _) => Arc::clone(layout) as _,
            Self::Directory(directory) => Arc::clone(directory) as _,
        }
    }

    pub(super) fn place(&self) -> Option<Reference> {
        match self {
            Self::Remote(remote) => Some(remote.reference().clone()),
            Self::Layout(..) | Self::Directory(_) => None,
        }
    }
}
