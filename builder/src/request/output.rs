//! Where an image goes, and how it is written there. The invariant: an output says all that decides its bytes beside the image.

use std::collections::BTreeMap;
use std::path::PathBuf;

use image::{Format, Packing, Platform, Reference};

/// `-o`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// The local store.
    Store(ImageOutput),
    /// A registry, under every name.
    Registry(ImageOutput),
    /// An OCI layout directory.
    OciLayout(PathBuf, ImageOutput),
    /// A tar of an OCI layout; `None` is standard output.
    OciArchive(Option<PathBuf>, ImageOutput),
    /// The archive that `docker load` takes.
    DockerArchive(Option<PathBuf>, ImageOutput),
    /// The files of the image, in a directory.
    Local(PathBuf),
    /// The files of the image, in one tar.
    Tar(Option<PathBuf>),
}

/// An image as one output gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageOutput {
    /// Its names; without any, those of the build.
    pub names: Vec<Reference>,
    /// What is done to it.
    pub recipe: Recipe,
}

/// What is done to an image on its way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// How its layers are compressed.
    pub packing: Packing,
    /// In whose media types; without one, the build's.
    pub format: Option<Format>,
    /// Remarks that only this output gets.
    pub annotations: Vec<Annotation>,
}

impl ImageOutput {
    /// The names under which this output has the image.
    pub fn names<'n>(&'n self, of_build: &'n [Reference]) -> &'n [Reference] {
        if self.names.is_empty() {
            of_build
        } else {
            &self.names
        }
    }
}

impl Output {
    /// How an image is written, where one is.
    pub fn image(&self) -> Option<&ImageOutput> {
        match self {
            Self::Store(image)
            | Self::Registry(image)
            | Self::OciLayout(_, image)
            | Self::OciArchive(_, image)
            | Self::DockerArchive(_, image) => Some(image),
            Self::Local(_) | Self::Tar(_) => None,
        }
    }

    /// Whether it is a stream on standard output, which then can hold nothing else.
    pub fn is_stdout(&self) -> bool {
        matches!(
            self,
            Self::OciArchive(None, _) | Self::DockerArchive(None, _) | Self::Tar(None)
        )
    }
}

/// A remark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Annotation {
    /// On what.
    pub level: AnnotationLevel,
    /// For which platform's image; without one, for all.
    pub platform: Option<Platform>,
    /// Its key.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// What an annotation is of, in buildx's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnnotationLevel {
    /// The image's manifest.
    Manifest,
    /// The entry of the manifest in an index.
    ManifestDescriptor,
    /// The index of several platforms' images.
    Index,
    /// The entry of that index in a layout's own index.
    IndexDescriptor,
}

/// The annotations of a level, of a platform's image where it is an image's; the last of a name counts.
pub(crate) fn annotations_of<'a>(
    all: impl IntoIterator<Item = &'a Annotation>,
    level: AnnotationLevel,
    platform: Option<&Platform>,
) -> BTreeMap<String, String> {
    all.into_iter()
        .filter(|one| one.level == level)
        .filter(|one| one.platform.is_none() || one.platform.as_ref() == platform)
        .map(|one| (one.name.clone(), one.value.clone()))
        .collect()
}
