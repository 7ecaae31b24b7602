//! An image of the store, open for looking into. The invariant: its layers are read in pieces, never unpacked.

use std::path::Path;

use image::{DiffId, Image, Platform, Store};
use rootfs::View;
use rootfs::closure::Settings;

use crate::failure::{Failure, Kind};

/// An image and its files.
pub(super) struct Opened {
    pub(super) store: Store,
    pub(super) image: Image,
    pub(super) view: View,
}

impl Opened {
    /// The image of a name or id; of an index, the one for the platform, else for this machine.
    pub(super) fn open(
        place: &Path,
        name: &str,
        platform: Option<&Platform>,
    ) -> Result<Self, Failure> {
        let store = Store::open(place)?;
        let digest = store.resolve(name)?;
        let image = match store.index(&digest)? {
            Some(_) => store.image_for(&digest, platform.unwrap_or(&Platform::host()))?,
            None => store.image(&digest)?,
        };
        let diff_ids: Vec<DiffId> = image.layers().iter().map(|layer| layer.diff_id).collect();
        let view = rootfs::trees::readable_view_of(&store, &diff_ids)
            .map_err(|error| Failure::new(Kind::Failed, error))?;
        Ok(Self { store, image, view })
    }

    /// What made each layer, as the image's history has it; nothing where it has another number of layers.
    pub(super) fn instructions(&self) -> Vec<String> {
        let history = self.image.config().history.iter();
        let made: Vec<String> = history
            .filter(|line| !line.empty_layer)
            .map(|line| line.created_by.clone().unwrap_or_default())
            .collect();
        match made.len() == self.image.layers().len() {
            true => made,
            false => vec![String::new(); self.image.layers().len()],
        }
    }

    /// What the image's environment and platform are for its programs.
    pub(super) fn settings(&self) -> Settings {
        settings(&self.image)
    }
}

/// What an image's environment and platform are for its programs.
pub(super) fn settings(image: &Image) -> Settings {
    let mut settings = Settings {
        architecture: Some(image.config().platform().architecture),
        ..Settings::default()
    };
    for variable in &image.config().config.env {
        match variable.split_once('=') {
            Some(("LD_LIBRARY_PATH", value)) => settings.library_path = value.into(),
            Some(("PATH", value)) => settings.path = value.into(),
            _ => {}
        }
    }
    settings
}
