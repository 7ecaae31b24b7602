//! Indexes in the store: one name for the images of several platforms.
//!
//! Invariant: every image of an index has a record of its own, which stays for as long as that of the index does.

use std::collections::BTreeSet;

use super::records::Kind;
use super::{Store, StoreError, StoreErrorKind};
use crate::digest::Digest;
use crate::image::{Image, ImageError};
use crate::manifest::{Document, Index};
use crate::platform::Platform;
use crate::reference::Reference;

/// An index in the store and its names.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredIndex {
    /// The index's digest, which is its id too.
    pub digest: Digest,
    /// The names that point at it.
    pub names: Vec<Reference>,
}

impl Store {
    /// Records an index of images that are in the store already, and points the names at it.
    ///
    /// # Errors
    /// When one of its images is missing or something cannot be written; then there is no new record.
    pub fn add_index(&self, index: &Index, names: &[Reference]) -> Result<Digest, StoreError> {
        for entry in &index.manifests {
            self.image(&entry.digest)?;
        }
        let digest = self.put(&index.to_bytes())?;
        self.settle()?;
        self.write_kind(&digest, Kind::Index)?;
        names
            .iter()
            .try_for_each(|name| self.write_name(name, &digest))?;
        Ok(digest)
    }

    /// Points a name at an image of the store, beside the images of other platforms that the name has: these become an index, so
    /// that a platform more takes none away.
    ///
    /// # Errors
    /// When the image is missing or something cannot be written.
    pub fn tag_beside(&self, name: &Reference, image: &Image) -> Result<(), StoreError> {
        let platform = image.config().platform();
        let known = match self.lookup(name)? {
            None => Vec::new(),
            Some(digest) => match self.index(&digest) {
                Ok(Some(index)) => index.manifests,
                Ok(None) => self
                    .image(&digest)
                    .map(|one| one.entry())
                    .into_iter()
                    .collect(),
                // What is damaged is replaced.
                Err(_) => Vec::new(),
            },
        };
        let mut entries: Vec<_> = known
            .into_iter()
            .filter(|entry| entry.platform.as_ref().is_some_and(|of| *of != platform))
            .filter(|entry| self.image(&entry.digest).is_ok())
            .collect();
        if entries.is_empty() {
            return self.tag(name, image.digest());
        }
        entries.push(image.entry());
        entries.sort_by(|a, b| a.platform.cmp(&b.platform));
        self.add_index(&Index::new(entries), std::slice::from_ref(name))
            .map(drop)
    }

    /// All indexes, with their names, sorted by digest.
    ///
    /// # Errors
    /// When the records cannot be read.
    pub fn indexes(&self) -> Result<Vec<StoredIndex>, StoreError> {
        let names = self.names()?;
        let records = self.records()?.into_iter();
        Ok(records
            .filter(|(_, kind)| *kind == Kind::Index)
            .map(|(digest, _)| StoredIndex {
                digest,
                names: super::records::names_of(&names, &digest),
            })
            .collect())
    }

    /// Reads and holds an index; `None` is an image.
    ///
    /// # Errors
    /// When there is neither in the store, or it is damaged.
    pub fn index(&self, digest: &Digest) -> Result<Option<Index>, StoreError> {
        if self.kind(digest)? != Kind::Index {
            return Ok(None);
        }
        self.hold(digest)?;
        self.read_index(digest).map(Some)
    }

    /// The image that a record means on a platform: itself, or the one that its index has for the platform.
    ///
    /// # Errors
    /// When it is not in the store, damaged, or an index without the platform.
    pub fn image_for(&self, digest: &Digest, platform: &Platform) -> Result<Image, StoreError> {
        let Some(index) = self.index(digest)? else {
            return self.image(digest);
        };
        let entry = index.select(platform).ok_or_else(|| {
            let (wanted, offered) = (platform.to_string(), index.platforms().join(", "));
            ImageError::NoPlatform {
                digest: *digest,
                wanted,
                offered,
            }
        })?;
        self.image(&entry.digest)
    }

    /// The images that some index has.
    ///
    /// # Errors
    /// When the records cannot be read. Of a damaged index nothing is known, and nothing is returned.
    pub fn indexed(&self) -> Result<BTreeSet<Digest>, StoreError> {
        let indexes = self.indexes()?.into_iter();
        Ok(indexes
            .filter_map(|stored| self.read_index(&stored.digest).ok())
            .flat_map(|index| index.manifests.into_iter().map(|entry| entry.digest))
            .collect())
    }

    /// Reads an index without holding it.
    pub(super) fn read_index(&self, digest: &Digest) -> Result<Index, StoreError> {
        let bytes = self.read_document(digest)?;
        match Document::parse(&bytes, None).map_err(ImageError::from)? {
            Document::Index(index) => Ok(index),
            Document::Manifest(_) => Err(ImageError::NoIndex(*digest).into()),
        }
    }

    /// Removes an index, its names, and those of its images that have no name and are in no other index.
    ///
    /// # Errors
    /// When a record cannot be read or removed.
    pub fn remove_index(&self, digest: &Digest) -> Result<(), StoreError> {
        let members = self.read_index(digest).map(|index| index.manifests);
        self.remove_image(digest)?;
        let (names, elsewhere) = (self.names()?, self.indexed()?);
        // Of a damaged index nobody knows the images; without names, `prune --all` finds them.
        for entry in members.into_iter().flatten() {
            let named = names.iter().any(|(_, target)| *target == entry.digest);
            if !named && !elsewhere.contains(&entry.digest) {
                self.remove_image(&entry.digest)?;
            }
        }
        Ok(())
    }

    /// Refuses an image that an index has: it goes with the index.
    ///
    /// # Errors
    /// [`StoreErrorKind::InIndex`], or when the records cannot be read.
    pub fn check_in_no_index(&self, digest: &Digest) -> Result<(), StoreError> {
        for stored in self.indexes()? {
            let index = self.read_index(&stored.digest);
            if index.is_ok_and(|index| index.manifests.iter().any(|e| e.digest == *digest)) {
                return Err(StoreErrorKind::InIndex {
                    image: *digest,
                    index: stored
                        .names
                        .first()
                        .map_or_else(|| stored.digest.to_string(), Reference::familiar),
                }
                .into());
            }
        }
        Ok(())
    }
}
