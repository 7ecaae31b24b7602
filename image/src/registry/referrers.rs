//! What refers to an image in a repository: listing it, and keeping the list where the registry keeps none (OCI distribution
//! specification 1.1, "Listing Referrers" and "Pushing Manifests with Subject").
//!
//! Invariant: a list that is there is added to, never replaced; what was listed stays listed.

use reqwest::header::HeaderMap;

use super::documents::Session;
use super::push::Uploader;
use super::remote::next_page;
use super::{Access, Direction, RegistryError, install_crypto};
use crate::attachment::referrers_tag;
use crate::digest::Digest;
use crate::manifest::{Descriptor, Document, Index};
use crate::media_type::MediaType;
use crate::signature::{Layer, layers_of, tag_of};

/// Set by registries that list referrers themselves.
pub(super) const LISTED: &str = "oci-subject";
const PAGES_MAX: usize = 100;

impl Session<'_> {
    /// The manifest or index under a tag; `None` where there is none.
    pub(super) fn tagged(
        &mut self,
        tag: &str,
    ) -> Result<Option<(Vec<u8>, Descriptor)>, RegistryError> {
        let subject = format!("manifest {tag}");
        let url = self.url(&format!("manifests/{tag}"));
        let (headers, bytes) = match self.get_persistently(&subject, &url) {
            Err(RegistryError::Status { status: 404, .. }) => return Ok(None),
            other => other?,
        };
        let digest = Digest::of(&bytes);
        if let Some(announced) = self.announced(&headers)? {
            self.compare(&subject, announced, digest)?;
        }
        let media_type = match Document::parse(&bytes, None)? {
            Document::Manifest(manifest) => manifest.media_type(),
            Document::Index(index) => index.media_type.unwrap_or(MediaType::OciIndex),
        };
        let descriptor = Descriptor::new(media_type, digest, bytes.len() as u64);
        Ok(Some((bytes, descriptor)))
    }

    /// What refers to a manifest or index, as the registry says, or else the list under its tag.
    pub(super) fn referrers(&mut self, to: &Digest) -> Result<Vec<Descriptor>, RegistryError> {
        let subject = format!("what refers to {to}");
        let mut next = Some(self.url(&format!("referrers/{to}")));
        let mut found = Vec::new();
        for _ in 0..PAGES_MAX {
            let Some(url) = next else { return Ok(found) };
            let (headers, bytes): (HeaderMap, _) = match self.get_persistently(&subject, &url) {
                Err(RegistryError::Status { status: 404, .. }) => return self.listed_by_tag(to),
                other => other?,
            };
            if let Document::Index(index) = Document::parse(&bytes, None)? {
                found.extend(index.manifests);
            }
            next = next_page(&headers, &url);
        }
        Ok(found)
    }

    /// The signatures that an image has, under their tag.
    pub(super) fn signed(&mut self, image: &Digest) -> Result<Vec<Layer>, RegistryError> {
        match self.tagged(&tag_of(image))? {
            None => Ok(Vec::new()),
            Some((manifest, _)) => layers_of(&manifest, &mut |blob| self.config(blob)),
        }
    }

    fn listed_by_tag(&mut self, to: &Digest) -> Result<Vec<Descriptor>, RegistryError> {
        let Some((bytes, _)) = self.tagged(&referrers_tag(to))? else {
            return Ok(Vec::new());
        };
        match Document::parse(&bytes, None)? {
            Document::Index(index) => Ok(index.manifests),
            Document::Manifest(_) => Ok(Vec::new()),
        }
    }
}

impl Uploader<'_> {
    /// Adds to the list under the tag, for a registry that keeps none.
    pub(super) fn list_by_tag(
        &mut self,
        to: &Digest,
        referrer: &Descriptor,
    ) -> Result<(), RegistryError> {
        let mut listed = self.session.listed_by_tag(to)?;
        if listed.iter().any(|one| one.digest == referrer.digest) {
            return Ok(());
        }
        listed.push(referrer.clone());
        let bytes = Index::new(listed).to_bytes();
        let descriptor = Descriptor::of(MediaType::OciIndex, &bytes);
        self.manifest(&referrers_tag(to), &descriptor, &bytes)?;
        Ok(())
    }
}

/// What refers to a manifest or index of a repository.
///
/// # Errors
/// When the registry cannot be asked.
pub fn referrers(access: Access<'_>, to: &Digest) -> Result<Vec<Descriptor>, RegistryError> {
    install_crypto();
    Session::new(access, Direction::Pull)?.referrers(to)
}
