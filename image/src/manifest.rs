//! Manifests and indexes: which blobs an image is made of.
//!
//! Invariant: a document is a manifest or an index, never both, whatever it is called outside (CVE-2021-41190).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::digest::Digest;
use crate::image::Image;
use crate::json::{self, DocumentError, null_is_default};
use crate::media_type::{Format, MediaType};
use crate::platform::Platform;

const WHAT: &str = "manifest";
/// The most layers or index entries that are accepted; overlayfs takes 500 lower directories.
const ENTRIES_MAX: usize = 1000;

/// A pointer to a blob: what it is, its digest and its size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the blob is.
    pub media_type: MediaType,
    /// Its content's digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// In an index: the platform that the manifest is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Remarks.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
    /// Everything else (`urls`, `data`, `artifactType`), kept as it was and never followed.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// One image's manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// The document's own type; absent in some OCI manifests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<MediaType>,
    /// The image configuration.
    pub config: Descriptor,
    /// The layers, lowest first.
    pub layers: Vec<Descriptor>,
    /// Remarks.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
    /// Everything else, kept as it was.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// A list of manifests, one for each platform.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// The document's own type; absent in some OCI indexes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<MediaType>,
    /// The manifests.
    pub manifests: Vec<Descriptor>,
    /// Remarks.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
    /// Everything else, kept as it was.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// What a name in a registry or layout points at.
#[derive(Clone, Debug, PartialEq)]
pub enum Document {
    /// One image.
    Manifest(Box<Manifest>),
    /// Images for several platforms.
    Index(Index),
}

impl Descriptor {
    /// A descriptor without remarks.
    pub fn new(media_type: MediaType, digest: Digest, size: u64) -> Self {
        Self {
            media_type,
            digest,
            size,
            platform: None,
            annotations: BTreeMap::new(),
            other: BTreeMap::new(),
        }
    }

    /// The descriptor of bytes in memory.
    pub fn of(media_type: MediaType, bytes: &[u8]) -> Self {
        Self::new(media_type, Digest::of(bytes), bytes.len() as u64)
    }
}

fn invalid<T>(reason: impl Into<String>) -> Result<T, DocumentError> {
    Err(DocumentError::Invalid {
        what: WHAT,
        reason: reason.into(),
    })
}

impl Document {
    /// Reads a manifest or index; `declared` is the type it was announced with (Content-Type, descriptor).
    ///
    /// # Errors
    /// When it is ambiguous, neither or both, or another type than its own or the declared one.
    pub fn parse(bytes: &[u8], declared: Option<&MediaType>) -> Result<Self, DocumentError> {
        let known = [
            "schemaVersion",
            "mediaType",
            "config",
            "layers",
            "manifests",
            "annotations",
        ];
        let value: Value = json::parse(WHAT, bytes, &known)?;
        let document = match (
            value.get("manifests").is_some(),
            value.get("layers").or(value.get("config")).is_some(),
        ) {
            (true, true) => return invalid("it is both a manifest and an index"),
            (false, false) => return invalid("it is neither a manifest nor an index"),
            (true, false) => Self::Index(read(value)?),
            (false, true) => Self::Manifest(Box::new(read(value)?)),
        };
        document.check(declared)?;
        Ok(document)
    }

    fn check(&self, declared: Option<&MediaType>) -> Result<(), DocumentError> {
        let (version, own, entries, fits): (_, _, _, fn(&MediaType) -> bool) = match self {
            Self::Manifest(m) => (
                m.schema_version,
                m.media_type.as_ref(),
                &m.layers,
                MediaType::is_manifest,
            ),
            Self::Index(i) => (
                i.schema_version,
                i.media_type.as_ref(),
                &i.manifests,
                MediaType::is_index,
            ),
        };
        if version != 2 {
            return invalid(format!("schema version {version} is not 2"));
        }
        for media_type in own.iter().chain(declared.iter()) {
            if !fits(media_type) {
                return invalid(format!(
                    "its content does not fit its media type {:?}",
                    media_type.as_str()
                ));
            }
        }
        if let (Some(own), Some(declared)) = (own, declared)
            && own != declared
        {
            return invalid(format!("it says {own}, but was announced as {declared}"));
        }
        if entries.len() > ENTRIES_MAX {
            return invalid(format!(
                "it has {} entries, more than the limit of {ENTRIES_MAX}",
                entries.len()
            ));
        }
        Ok(())
    }
}

fn read<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, DocumentError> {
    serde_json::from_value(value).map_err(|source| DocumentError::Malformed { what: WHAT, source })
}

impl Manifest {
    /// An OCI manifest of the given blobs.
    pub fn new(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(MediaType::OciManifest),
            config,
            layers,
            annotations: BTreeMap::new(),
            other: BTreeMap::new(),
        }
    }

    /// The type that the document is announced with.
    pub fn media_type(&self) -> MediaType {
        self.media_type.clone().unwrap_or(MediaType::OciManifest)
    }

    /// The document's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        json::write(self)
    }
}

impl Index {
    /// An OCI index of the given manifests.
    pub fn new(manifests: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(MediaType::OciIndex),
            manifests,
            annotations: BTreeMap::new(),
            other: BTreeMap::new(),
        }
    }

    /// The document's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        json::write(self)
    }

    /// An index of images of one format, each with its platform.
    pub fn of<'a>(images: impl IntoIterator<Item = &'a Image>) -> Self {
        let images: Vec<&Image> = images.into_iter().collect();
        let format = images.first().map_or(Format::Oci, |image| image.format());
        Self {
            media_type: Some(MediaType::OciIndex.in_format(format)),
            ..Self::new(images.iter().map(|image| image.entry()).collect())
        }
    }

    /// The digest of the document.
    pub fn digest(&self) -> Digest {
        Digest::of(self.to_bytes())
    }

    /// The manifest that fits the platform best; of equals the first.
    ///
    /// An entry without a platform fits only where it is the only one.
    pub fn select(&self, platform: &Platform) -> Option<&Descriptor> {
        let images = || {
            self.manifests
                .iter()
                .filter(|entry| entry.media_type.is_manifest() || entry.media_type.is_index())
        };
        let best = images()
            .filter_map(|entry| Some((platform.fit(entry.platform.as_ref()?)?, entry)))
            .min_by_key(|(distance, _)| *distance)
            .map(|(_, entry)| entry);
        best.or_else(|| {
            let mut all = images();
            all.next()
                .filter(|entry| entry.platform.is_none() && all.next().is_none())
        })
    }

    /// The platforms that there are, for messages.
    pub fn platforms(&self) -> Vec<String> {
        self.manifests
            .iter()
            .filter_map(|entry| entry.platform.as_ref())
            .map(Platform::to_string)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const D: &str = r#""digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0"#;

    fn parse(text: &str, declared: Option<MediaType>) -> Result<Document, DocumentError> {
        Document::parse(text.as_bytes(), declared.as_ref())
    }

    fn manifest(extra: &str) -> String {
        format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"application/vnd.oci.image.config.v1+json",{D}}},"layers":[]{extra}}}"#
        )
    }

    #[test]
    fn s51_a_document_that_is_both_is_refused() {
        assert!(parse(&manifest(""), None).is_ok());
        assert!(parse(&manifest(r#","manifests":[]"#), None).is_err());
        assert!(parse(r#"{"schemaVersion":2,"manifests":[],"config":{}}"#, None).is_err());
        assert!(parse(r#"{"schemaVersion":2}"#, None).is_err());
        assert!(parse(&manifest(r#","schemaVersion":2"#), None).is_err());
        assert!(parse(&manifest(r#","Manifests":[]"#), None).is_err());
    }

    #[test]
    fn s51_a_type_that_contradicts_is_refused() {
        assert!(parse(&manifest(""), Some(MediaType::OciIndex)).is_err());
        assert!(parse(&manifest(""), Some(MediaType::DockerManifest)).is_ok());
        let own = manifest(r#","mediaType":"application/vnd.oci.image.manifest.v1+json""#);
        assert!(parse(&own, Some(MediaType::OciManifest)).is_ok());
        assert!(parse(&own, Some(MediaType::DockerManifest)).is_err());
        assert!(
            parse(
                &manifest(r#","mediaType":"application/vnd.oci.image.index.v1+json""#),
                None
            )
            .is_err()
        );
    }

    #[test]
    fn f28_too_many_layers_are_refused_before_any_download() {
        let layer = format!(r#"{{"mediaType":"x",{D}}}"#);
        let many = vec![layer.as_str(); ENTRIES_MAX + 1].join(",");
        assert!(
            parse(
                &manifest("").replace(r#""layers":[]"#, &format!(r#""layers":[{many}]"#)),
                None
            )
            .is_err()
        );
    }

    #[test]
    fn index_selects_the_best_platform() {
        let entry = |platform: Option<&str>, size| Descriptor {
            platform: platform.map(|text| text.parse().unwrap()),
            ..Descriptor::new(MediaType::OciManifest, Digest::of(b""), size)
        };
        let index = Index::new(vec![
            entry(Some("unknown/unknown"), 0),
            entry(Some("linux/arm/v6"), 1),
            entry(Some("linux/arm/v7"), 2),
            entry(Some("linux/amd64"), 3),
        ]);
        let size = |text: &str| index.select(&text.parse().unwrap()).map(|entry| entry.size);
        assert_eq!(size("linux/arm/v7"), Some(2));
        assert_eq!(size("linux/arm/v6"), Some(1));
        assert_eq!(size("linux/x86_64"), Some(3));
        assert_eq!(size("linux/s390x"), None);
        assert_eq!(
            Index::new(vec![entry(None, 9)])
                .select(&Platform::host())
                .map(|entry| entry.size),
            Some(9)
        );
    }

    #[test]
    fn unknown_fields_survive() {
        let text = manifest(r#","subject":{"a":1}"#);
        let Document::Manifest(manifest) = parse(&text, None).unwrap() else {
            panic!("a manifest")
        };
        assert!(
            String::from_utf8(manifest.to_bytes())
                .unwrap()
                .contains(r#""subject":{"a":1}"#)
        );
    }
}
