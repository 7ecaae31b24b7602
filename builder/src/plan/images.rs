//! The images that a plan still needs. Invariant: a wanted image is a complete reference for one platform, so that looking it up
//! needs nothing else.

use std::path::PathBuf;

use containerfile::Span;
use image::{Platform, Reference};

/// Where an image is looked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ImageSource {
    /// The local store or a registry.
    Name(Reference),
    /// An OCI layout directory, from `--build-context`.
    OciLayout {
        /// The layout.
        directory: PathBuf,
        /// A tag, or `sha256:...`.
        version: Option<String>,
    },
}

/// What identifies an image of a build: two uses of the same key are the same image.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageKey {
    /// Where it is looked for.
    pub source: ImageSource,
    /// For which machine.
    pub platform: Platform,
}

/// An image that a stage starts from or copies from, still to be looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedImage {
    /// Which.
    pub key: ImageKey,
    /// The name as shown to people.
    pub name: String,
    /// The place that asks for it.
    pub span: Span,
    /// The name as the file has it, which may have been meant to be a stage's; `None` for a named context.
    pub written: Option<String>,
}
