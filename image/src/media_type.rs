//! The media types that mean something to rbuild.
//!
//! Invariant: every text round-trips; what is not known stays [`MediaType::Other`] and is never guessed at.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A media type of the OCI image specification or of Docker's image manifest version 2, schema 2.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MediaType {
    /// An OCI image manifest.
    OciManifest,
    /// An OCI image index.
    OciIndex,
    /// An OCI image configuration.
    OciConfig,
    /// A layer as a plain tar.
    OciLayer,
    /// A layer as a gzipped tar.
    OciLayerGzip,
    /// A layer as a zstd-compressed tar.
    OciLayerZstd,
    /// Docker's image manifest.
    DockerManifest,
    /// Docker's manifest list.
    DockerManifestList,
    /// Docker's image configuration.
    DockerConfig,
    /// Docker's layer as a plain tar.
    DockerLayer,
    /// Docker's layer as a gzipped tar.
    DockerLayerGzip,
    /// Docker's layer as a zstd-compressed tar.
    DockerLayerZstd,
    /// Anything else.
    Other(String),
}

/// How a layer blob is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Compression {
    /// A plain tar.
    None,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

/// In whose media types an image is written. The documents have the same shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// The OCI image specification's.
    Oci,
    /// Docker's image manifest version 2, schema 2, which has no annotations and no zstd.
    Docker,
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "uncompressed",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        })
    }
}

const KNOWN: [(MediaType, &str); 12] = [
    (
        MediaType::OciManifest,
        "application/vnd.oci.image.manifest.v1+json",
    ),
    (
        MediaType::OciIndex,
        "application/vnd.oci.image.index.v1+json",
    ),
    (
        MediaType::OciConfig,
        "application/vnd.oci.image.config.v1+json",
    ),
    (
        MediaType::OciLayer,
        "application/vnd.oci.image.layer.v1.tar",
    ),
    (
        MediaType::OciLayerGzip,
        "application/vnd.oci.image.layer.v1.tar+gzip",
    ),
    (
        MediaType::OciLayerZstd,
        "application/vnd.oci.image.layer.v1.tar+zstd",
    ),
    (
        MediaType::DockerManifest,
        "application/vnd.docker.distribution.manifest.v2+json",
    ),
    (
        MediaType::DockerManifestList,
        "application/vnd.docker.distribution.manifest.list.v2+json",
    ),
    (
        MediaType::DockerConfig,
        "application/vnd.docker.container.image.v1+json",
    ),
    (
        MediaType::DockerLayer,
        "application/vnd.docker.image.rootfs.diff.tar",
    ),
    (
        MediaType::DockerLayerGzip,
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
    ),
    (
        MediaType::DockerLayerZstd,
        "application/vnd.docker.image.rootfs.diff.tar.zstd",
    ),
];

impl MediaType {
    /// Whether this names an index of manifests.
    pub fn is_index(&self) -> bool {
        matches!(self, Self::OciIndex | Self::DockerManifestList)
    }

    /// Whether this names one image's manifest.
    pub fn is_manifest(&self) -> bool {
        matches!(self, Self::OciManifest | Self::DockerManifest)
    }

    /// Whether this names an image configuration.
    pub fn is_config(&self) -> bool {
        matches!(self, Self::OciConfig | Self::DockerConfig)
    }

    /// The compression that a layer of this type has; none when this is no layer type that rbuild reads.
    pub fn layer_compression(&self) -> Option<Compression> {
        match self {
            Self::OciLayer | Self::DockerLayer => Some(Compression::None),
            Self::OciLayerGzip | Self::DockerLayerGzip => Some(Compression::Gzip),
            Self::OciLayerZstd | Self::DockerLayerZstd => Some(Compression::Zstd),
            _ => None,
        }
    }

    /// A layer's type.
    pub fn layer(format: Format, compression: Compression) -> Self {
        match (format, compression) {
            (Format::Oci, Compression::None) => Self::OciLayer,
            (Format::Oci, Compression::Gzip) => Self::OciLayerGzip,
            (Format::Oci, Compression::Zstd) => Self::OciLayerZstd,
            (Format::Docker, Compression::None) => Self::DockerLayer,
            (Format::Docker, Compression::Gzip) => Self::DockerLayerGzip,
            (Format::Docker, Compression::Zstd) => Self::DockerLayerZstd,
        }
    }

    /// Whose it is; what is not Docker's counts as OCI's.
    pub fn format(&self) -> Format {
        match self {
            Self::DockerManifest
            | Self::DockerManifestList
            | Self::DockerConfig
            | Self::DockerLayer
            | Self::DockerLayerGzip
            | Self::DockerLayerZstd => Format::Docker,
            _ => Format::Oci,
        }
    }

    /// The type of the same thing in a format.
    #[must_use]
    pub fn in_format(self, format: Format) -> Self {
        if let Some(compression) = self.layer_compression() {
            return Self::layer(format, compression);
        }
        match (format, self) {
            (Format::Oci, kind) if kind.is_manifest() => Self::OciManifest,
            (Format::Oci, kind) if kind.is_config() => Self::OciConfig,
            (Format::Oci, kind) if kind.is_index() => Self::OciIndex,
            (Format::Docker, kind) if kind.is_manifest() => Self::DockerManifest,
            (Format::Docker, kind) if kind.is_config() => Self::DockerConfig,
            (Format::Docker, kind) if kind.is_index() => Self::DockerManifestList,
            (_, other) => other,
        }
    }

    /// The type's text.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Other(text) => text,
            known => KNOWN
                .iter()
                .find(|(kind, _)| kind == known)
                .map(|(_, text)| *text)
                .expect("every variant is listed"),
        }
    }
}

impl From<&str> for MediaType {
    fn from(text: &str) -> Self {
        KNOWN
            .iter()
            .find(|(_, known)| *known == text)
            .map_or_else(|| Self::Other(text.to_owned()), |(kind, _)| kind.clone())
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for MediaType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for MediaType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(String::deserialize(deserializer)?.as_str().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_type_round_trips() {
        for (kind, text) in KNOWN {
            assert_eq!(MediaType::from(text), kind);
            assert_eq!(kind.as_str(), text);
        }
        assert_eq!(MediaType::from("text/plain").as_str(), "text/plain");
    }

    #[test]
    fn every_known_type_has_a_twin_in_the_other_format() {
        for (kind, text) in KNOWN {
            let (own, other) = if text.contains(".oci.") {
                (Format::Oci, Format::Docker)
            } else {
                (Format::Docker, Format::Oci)
            };
            assert_eq!(kind.clone().in_format(own), kind);
            let twin = kind.clone().in_format(other);
            assert_ne!(twin, kind);
            assert_eq!(twin.in_format(own), kind);
        }
    }
}
