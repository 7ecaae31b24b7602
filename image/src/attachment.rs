//! Documents about an image that are kept beside it: OCI artifacts with a `subject` (OCI image specification 1.1, "Guidelines for
//! Artifact Usage").
//!
//! Invariant: an artifact is a function of its document and its subject, so attaching the same twice gives the same manifest.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::digest::Digest;
use crate::manifest::{Descriptor, Manifest};
use crate::media_type::MediaType;

/// The content of a configuration that means nothing.
pub(crate) const EMPTY: &[u8] = b"{}";
const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";
/// An in-toto statement, which names its subject itself.
pub const IN_TOTO: &str = "application/vnd.in-toto+json";
const PREDICATE: &str = "in-toto.io/predicate-type";

/// A document about an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Its media type, and that of the artifact.
    pub media_type: String,
    /// Remarks of the artifact's manifest.
    pub annotations: BTreeMap<String, String>,
    /// The document.
    pub content: Vec<u8>,
}

impl Attachment {
    /// A document.
    #[must_use]
    pub fn new(media_type: &str, content: Vec<u8>) -> Self {
        Self {
            media_type: media_type.to_owned(),
            annotations: BTreeMap::new(),
            content,
        }
    }

    /// An in-toto statement, version 1, whose subject is not known yet.
    #[must_use]
    pub fn statement(predicate_type: &str, predicate: &Value) -> Self {
        let statement = json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [],
            "predicateType": predicate_type,
            "predicate": predicate,
        });
        Self {
            media_type: IN_TOTO.to_owned(),
            annotations: BTreeMap::from([(PREDICATE.to_owned(), predicate_type.to_owned())]),
            content: crate::json::write(&statement),
        }
    }

    /// The document about the image as it is called and digested somewhere; only statements say that themselves.
    #[must_use]
    pub fn about(&self, name: &str, digest: &Digest) -> Self {
        let mut own = self.clone();
        if self.media_type == IN_TOTO
            && let Ok(mut statement) = serde_json::from_slice::<Value>(&self.content)
            && statement.is_object()
        {
            statement["subject"] = json!([{ "name": name, "digest": { "sha256": digest.hex() } }]);
            own.content = crate::json::write(&statement);
        }
        own
    }

    /// The artifact's manifest.
    pub(crate) fn manifest(&self, subject: &Descriptor) -> Manifest {
        let mut config = Descriptor::of(EMPTY_TYPE.into(), EMPTY);
        config.other.insert("data".to_owned(), "e30=".into());
        let mut layer = Descriptor::of(self.media_type.as_str().into(), &self.content);
        layer.annotations.clone_from(&self.annotations);
        let mut manifest = Manifest::new(config, vec![layer]);
        manifest.annotations.clone_from(&self.annotations);
        manifest.point_at(&self.media_type, subject);
        manifest
    }
}

impl Manifest {
    /// Makes it an artifact about something.
    pub(crate) fn point_at(&mut self, artifact_type: &str, subject: &Descriptor) {
        // A pointer has no remarks: they are those of another list.
        let subject = Descriptor::new(subject.media_type.clone(), subject.digest, subject.size);
        let subject = serde_json::to_value(subject).unwrap_or_default();
        self.other
            .insert("artifactType".to_owned(), artifact_type.into());
        self.other.insert("subject".to_owned(), subject);
    }

    /// What it is about.
    pub fn subject(&self) -> Option<Descriptor> {
        serde_json::from_value(self.other.get("subject")?.clone()).ok()
    }

    /// What kind of artifact it is; an image is none.
    pub fn artifact_type(&self) -> Option<&str> {
        self.other.get("artifactType")?.as_str()
    }

    /// As a list of referrers has it.
    pub(crate) fn referrer(&self, bytes: &[u8]) -> Descriptor {
        let mut descriptor = Descriptor::of(self.media_type(), bytes);
        let kind = self.artifact_type();
        let kind = kind.unwrap_or(self.config.media_type.as_str());
        descriptor
            .other
            .insert("artifactType".to_owned(), kind.into());
        descriptor.annotations.clone_from(&self.annotations);
        descriptor
    }
}

impl Descriptor {
    /// What kind of artifact it leads to; an image is none.
    pub fn artifact_type(&self) -> Option<&str> {
        self.other.get("artifactType")?.as_str()
    }
}

/// The tag of the list of an image's referrers, where a registry keeps none (OCI distribution specification 1.1, "Referrers Tag
/// Schema").
pub(crate) fn referrers_tag(subject: &Digest) -> String {
    format!("sha256-{}", subject.hex())
}

/// The media type of manifests of artifacts.
pub(crate) fn is_artifact(descriptor: &Descriptor) -> bool {
    descriptor.media_type == MediaType::OciManifest && descriptor.artifact_type().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_names_the_image_that_it_goes_with() {
        let statement = Attachment::statement("https://x/y", &json!({ "a": 1 }));
        let digest = Digest::of("image");
        let own = statement.about("q.io/app", &digest);
        let read: Value = serde_json::from_slice(&own.content).unwrap();
        assert_eq!(read["subject"][0]["digest"]["sha256"], digest.hex());
        assert_eq!(read["predicate"]["a"], 1);
        // A bill of materials is about the configuration, whatever the manifest.
        let bill = Attachment::new("application/spdx+json", b"{}".to_vec());
        assert_eq!(bill.about("q.io/app", &digest), bill);
    }

    #[test]
    fn an_artifact_points_at_its_subject_and_says_its_type() {
        let subject = Descriptor::of(MediaType::OciManifest, b"image");
        let manifest = Attachment::new("application/spdx+json", b"{}".to_vec()).manifest(&subject);
        let bytes = manifest.to_bytes();
        let text = String::from_utf8(bytes.clone()).unwrap();
        assert!(
            text.contains(r#""artifactType":"application/spdx+json""#),
            "{text}"
        );
        assert_eq!(manifest.subject().map(|to| to.digest), Some(subject.digest));
        assert_eq!(
            manifest.referrer(&bytes).artifact_type(),
            Some("application/spdx+json")
        );
        assert!(is_artifact(&manifest.referrer(&bytes)));
        // The digest of `{}` that the specification gives.
        assert_eq!(
            manifest.config.digest.to_string(),
            "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
        );
    }
}
