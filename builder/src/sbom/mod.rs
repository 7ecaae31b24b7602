//! Software bills of materials of an image: what is in it, as SPDX or CycloneDX JSON. Invariant: a document is a function of the image
//! and its name; no clock, no place and no compression of layers has a part in it, so it is about the image's id.

mod cyclonedx;
mod licences;
mod spdx;

use std::collections::BTreeMap;

use image::{DiffId, Image, ImageId, Platform, Store};
use rootfs::inventory::Inventory;

use crate::times::{from_rfc3339, rfc3339};

/// In which form a bill is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SbomFormat {
    /// SPDX 2.3 as JSON.
    Spdx,
    /// CycloneDX 1.6 as JSON.
    CycloneDx,
}

impl SbomFormat {
    /// The document's media type, which is also the type of the artifact that holds it.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Spdx => "application/spdx+json",
            Self::CycloneDx => "application/vnd.cyclonedx+json",
        }
    }
}

/// Why there is no bill.
#[derive(Debug, thiserror::Error)]
#[error("list what is in {name}")]
pub struct SbomError {
    name: String,
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// What an image is made of, ready to be written.
#[derive(Debug)]
pub struct Bill {
    name: String,
    id: ImageId,
    platform: Platform,
    /// When the image was made.
    created: String,
    inventory: Inventory,
}

impl Bill {
    /// Reads an image of the store; `name` is what the document calls it.
    ///
    /// # Errors
    /// When a layer is missing or damaged.
    pub fn of(store: &Store, image: &Image, name: &str) -> Result<Self, SbomError> {
        let failed = |source| SbomError {
            name: name.to_owned(),
            source,
        };
        let diff_ids: Vec<DiffId> = image.layers().iter().map(|layer| layer.diff_id).collect();
        let view = rootfs::trees::readable_view_of(store, &diff_ids)
            .map_err(|error| failed(error.into()))?;
        let created = image.config().created.as_deref().and_then(from_rfc3339);
        Ok(Self {
            name: name.to_owned(),
            id: image.id(),
            platform: image.config().platform(),
            created: rfc3339(created.unwrap_or(0)),
            inventory: Inventory::of(&view).map_err(|error| failed(error.into()))?,
        })
    }

    /// What was there and could not be read.
    #[must_use]
    pub fn unread(&self) -> &[String] {
        &self.inventory.unread
    }

    /// How many packages it lists.
    #[must_use]
    pub fn packages(&self) -> usize {
        self.inventory.packages.len()
    }

    /// The files of each package, and those of none, as positions.
    fn by_owner(&self) -> BTreeMap<Option<usize>, Vec<usize>> {
        let mut owned: BTreeMap<Option<usize>, Vec<usize>> = BTreeMap::new();
        for (at, file) in self.inventory.files.iter().enumerate() {
            owned.entry(file.owner).or_default().push(at);
        }
        owned
    }

    /// The document.
    #[must_use]
    pub fn write(&self, format: SbomFormat) -> Vec<u8> {
        let written = match format {
            SbomFormat::Spdx => serde_json::to_vec(&spdx::document(self)),
            SbomFormat::CycloneDx => serde_json::to_vec(&cyclonedx::document(self)),
        };
        written.expect("documents have string keys and no failing serializers")
    }
}

/// The program that writes the documents.
const TOOL: &str = concat!("rbuild-", env!("CARGO_PKG_VERSION"));

#[cfg(test)]
mod tests;
