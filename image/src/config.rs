//! The image configuration: what runs, on which platform, and from which layers.
//!
//! Invariant: reading and writing again loses nothing (Docker's own fields are kept in `other`), and equal values give equal
//! bytes. `oci-spec` guarantees neither: it drops Docker's fields and writes maps in random order.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::digest::{DiffId, ImageId};
use crate::json::{self, DocumentError, null_is_default};
use crate::platform::Platform;

const WHAT: &str = "image configuration";

/// A set in Go's clothes: the keys matter, the values are `{}`.
pub type Names = BTreeMap<String, Empty>;

/// The value of a [`Names`] entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}

/// An OCI image configuration, with Docker's additions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// When it was made, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Who made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// The processor, in Go's words.
    #[serde(default)]
    pub architecture: String,
    /// The operating system.
    #[serde(default)]
    pub os: String,
    /// The processor's variant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// What a container of it runs.
    #[serde(default, deserialize_with = "null_is_default")]
    pub config: ContainerConfig,
    /// The layers.
    pub rootfs: RootFs,
    /// How it was made, oldest first.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub history: Vec<History>,
    /// Everything else, kept as it was.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// The part of the configuration that a container starts with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerConfig {
    /// `USER[:GROUP]`, names or numbers; empty is root.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub user: String,
    /// `PORT[/PROTOCOL]`.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub exposed_ports: Names,
    /// `NAME=VALUE`, in order.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub env: Vec<String>,
    /// What always runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// What runs, or the entry point's arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// Paths of volumes.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub volumes: Names,
    /// Where it starts.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub working_dir: String,
    /// Labels.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub labels: BTreeMap<String, String>,
    /// The signal that stops it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// Docker: how it is checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// Docker: instructions for images built from this one.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub on_build: Vec<String>,
    /// Docker: the shell of shell-form instructions.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub shell: Vec<String>,
    /// Everything else (`ArgsEscaped`, `StopTimeout`, …), kept as it was.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// Docker's health check; times are nanoseconds, 0 inherits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Healthcheck {
    /// `[]` inherits, `["NONE"]` disables, `["CMD", …]`, `["CMD-SHELL", COMMAND]`.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub test: Vec<String>,
    /// Time between checks.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub interval: i64,
    /// Time that one check may take.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub timeout: i64,
    /// Time at the start in which failures do not count.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub start_period: i64,
    /// Time between checks in the start period.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub start_interval: i64,
    /// Failures in a row that make it unhealthy.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retries: i64,
    /// Everything else, kept as it was.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes fields by reference"
)]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// The layers of an image by their uncompressed digests, lowest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Lowest first.
    #[serde(default, deserialize_with = "null_is_default")]
    pub diff_ids: Vec<DiffId>,
}

impl Default for RootFs {
    fn default() -> Self {
        Self {
            kind: "layers".to_owned(),
            diff_ids: Vec::new(),
        }
    }
}

/// One line of the image's history.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// When, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// By which instruction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// By whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// A remark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// It made no layer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
    /// Everything else, kept as it was.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

impl ImageConfig {
    /// An empty configuration for a platform.
    pub fn new(platform: &Platform) -> Self {
        Self {
            architecture: platform.architecture.clone(),
            os: platform.os.clone(),
            variant: platform.variant.clone(),
            ..Self::default()
        }
    }

    /// Reads and checks a configuration.
    ///
    /// # Errors
    /// When it is ambiguous, of another shape, or when its history does not account for its layers.
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        let known = [
            "architecture",
            "os",
            "config",
            "rootfs",
            "history",
            "created",
            "author",
            "variant",
        ];
        let config: Self = json::parse(WHAT, bytes, &known)?;
        config.check()?;
        Ok(config)
    }

    pub(crate) fn check(&self) -> Result<(), DocumentError> {
        let invalid = |reason: String| Err(DocumentError::Invalid { what: WHAT, reason });
        if self.rootfs.kind != "layers" {
            return invalid(format!(
                "rootfs type {:?} is not \"layers\"",
                self.rootfs.kind
            ));
        }
        let made = self
            .history
            .iter()
            .filter(|entry| !entry.empty_layer)
            .count();
        let layers = self.rootfs.diff_ids.len();
        if !self.history.is_empty() && made != layers {
            return invalid(format!(
                "the history made {made} layers, but there are {layers}"
            ));
        }
        Ok(())
    }

    /// The document's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        json::write(self)
    }

    /// The image id that these values give when written by us.
    pub fn id(&self) -> ImageId {
        ImageId::new(crate::digest::Digest::of(self.to_bytes()))
    }

    /// The platform it is for.
    pub fn platform(&self) -> Platform {
        Platform {
            architecture: self.architecture.clone(),
            os: self.os.clone(),
            variant: self.variant.clone(),
            os_version: None,
            os_features: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCKER: &str = r#"{"architecture":"amd64","config":{"Hostname":"","User":"65532","ExposedPorts":{"80/tcp":{}},
        "Env":["PATH=/bin"],"Cmd":null,"Entrypoint":["/x"],"Healthcheck":{"Test":["CMD","true"],"Interval":5,"New":1},
        "ArgsEscaped":true,"OnBuild":["RUN x"],"Shell":["/bin/bash","-c"],"StopTimeout":3,"Volumes":null,"Labels":null,
        "StopSignal":"SIGTERM"},"container_config":{"Tty":false},"docker_version":"20.10","os":"linux",
        "history":[{"created_by":"a","empty_layer":true}],"rootfs":{"type":"layers","diff_ids":null}}"#;

    #[test]
    fn docker_fields_survive_a_round_trip() {
        let config = ImageConfig::parse(DOCKER.as_bytes()).unwrap();
        let bytes = config.to_bytes();
        assert_eq!(ImageConfig::parse(&bytes).unwrap(), config);
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(value["config"]["ArgsEscaped"], true);
        assert_eq!(value["config"]["StopTimeout"], 3);
        assert_eq!(value["config"]["Healthcheck"]["New"], 1);
        assert_eq!(value["config"]["OnBuild"][0], "RUN x");
        assert_eq!(value["config"]["Shell"][0], "/bin/bash");
        assert_eq!(value["docker_version"], "20.10");
    }

    #[test]
    fn equal_configurations_have_equal_bytes() {
        let mut one = ImageConfig::new(&Platform::linux("amd64"));
        let mut two = one.clone();
        for name in ["a", "b", "c", "d"] {
            one.config.labels.insert(name.into(), name.into());
        }
        for name in ["d", "b", "c", "a"] {
            two.config.labels.insert(name.into(), name.into());
        }
        assert_eq!(one.to_bytes(), two.to_bytes());
        let expected = concat!(
            r#"{"architecture":"amd64","os":"linux","config":{"Labels":{"a":"a","b":"b","c":"c","d":"d"}},"#,
            r#""rootfs":{"type":"layers","diff_ids":[]}}"#
        );
        assert_eq!(String::from_utf8(one.to_bytes()).unwrap(), expected);
    }

    #[test]
    fn history_must_account_for_the_layers() {
        let text = DOCKER.replace(r#","empty_layer":true"#, "");
        assert!(matches!(
            ImageConfig::parse(text.as_bytes()),
            Err(DocumentError::Invalid { .. })
        ));
    }

    #[test]
    fn s52_a_diff_id_that_is_no_digest_is_refused() {
        let text = DOCKER.replace(r#""diff_ids":null"#, r#""diff_ids":["sha256:../../x"]"#);
        assert!(matches!(
            ImageConfig::parse(text.as_bytes()),
            Err(DocumentError::Malformed { .. })
        ));
    }
}
