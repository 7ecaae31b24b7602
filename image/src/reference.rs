//! Names of images in registries, as Docker and Podman users write them.
//!
//! Invariant: every part matches the grammar of distribution's `reference` package, so that it may be put into a URL.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::{Digest, ParseDigestError};

/// The registry that names without one mean.
pub const DEFAULT_REGISTRY: &str = "docker.io";
const DEFAULT_TAG: &str = "latest";
/// distribution's `NameTotalLengthMax`.
const NAME_MAX: usize = 255;

/// Registry, repository, and what is meant there; always complete (`debian` is `docker.io/library/debian:latest`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    registry: String,
    repository: String,
    version: Version,
}

/// What of a repository is meant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// Whatever the tag points at now.
    Tag(Tag),
    /// Exactly these bytes.
    Digest(Digest),
    /// Exactly these bytes; the tag is only a remark.
    Both(Tag, Digest),
}

/// A tag: up to 128 characters of `[A-Za-z0-9_.-]`, not starting with a dot or dash.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(String);

/// Why a text is no image name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseReferenceError {
    /// Nothing was given.
    #[error("parse image name: it is empty")]
    Empty,
    /// 64 hex digits are an id, never a name.
    #[error("parse image name {0:?}: 64 hex digits are an image id, not a name")]
    LooksLikeId(String),
    /// The repository breaks the grammar.
    #[error(
        "parse image name {0:?}: the repository must be lower-case letters and digits, separated by single '.', '_', '__', '-' or '/'"
    )]
    Repository(String),
    /// The registry is not `HOST[:PORT]`.
    #[error("parse image name {0:?}: the registry must be HOST[:PORT]")]
    Registry(String),
    /// The tag breaks the grammar.
    #[error(
        "parse image name {0:?}: the tag must be 1 to 128 of [A-Za-z0-9_.-], not starting with '.' or '-'"
    )]
    Tag(String),
    /// Registry and repository together are too long.
    #[error("parse image name {0:?}: it is longer than {NAME_MAX} characters")]
    TooLong(String),
    /// The part behind `@` is no digest.
    #[error("parse image name {name:?}")]
    Digest {
        /// The whole name.
        name: String,
        /// Why.
        source: ParseDigestError,
    },
}

impl Reference {
    /// A name from the program's own source.
    ///
    /// # Panics
    /// When the literal is no image name.
    pub fn from_static(name: &'static str) -> Self {
        name.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    /// The registry's host and port, `docker.io` for Docker Hub.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The host that answers for the registry: Docker Hub's API is not at `docker.io`.
    pub fn registry_host(&self) -> &str {
        if self.registry == DEFAULT_REGISTRY {
            "registry-1.docker.io"
        } else {
            &self.registry
        }
    }

    /// The repository in the registry, `library/debian`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// What of the repository is meant.
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// The tag, when one is given.
    pub fn tag(&self) -> Option<&str> {
        match &self.version {
            Version::Tag(tag) | Version::Both(tag, _) => Some(&tag.0),
            Version::Digest(_) => None,
        }
    }

    /// The digest, when the name is pinned.
    pub fn digest(&self) -> Option<&Digest> {
        match &self.version {
            Version::Digest(digest) | Version::Both(_, digest) => Some(digest),
            Version::Tag(_) => None,
        }
    }

    /// The same name, pinned to a digest; a tag stays as a remark.
    #[must_use]
    pub fn pinned(&self, digest: Digest) -> Self {
        let version = match &self.version {
            Version::Tag(tag) | Version::Both(tag, _) => Version::Both(tag.clone(), digest),
            Version::Digest(_) => Version::Digest(digest),
        };
        Self {
            version,
            ..self.clone()
        }
    }

    /// As Docker shows it: without `docker.io/` and `library/`.
    pub fn familiar(&self) -> String {
        let name = match (
            self.registry.as_str(),
            self.repository.strip_prefix("library/"),
        ) {
            (DEFAULT_REGISTRY, Some(official)) if !official.contains('/') => official.to_owned(),
            (DEFAULT_REGISTRY, _) => self.repository.clone(),
            _ => format!("{}/{}", self.registry, self.repository),
        };
        format!("{name}{}", self.version)
    }
}

impl FromStr for Reference {
    type Err = ParseReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let shown = || text.chars().take(100).collect::<String>();
        if text.is_empty() {
            return Err(ParseReferenceError::Empty);
        }
        if text.len() == 64
            && text
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        {
            return Err(ParseReferenceError::LooksLikeId(shown()));
        }
        let (named, digest) = match text.split_once('@') {
            Some((named, digest)) => {
                let digest = digest
                    .parse()
                    .map_err(|source| ParseReferenceError::Digest {
                        name: shown(),
                        source,
                    })?;
                (named, Some(digest))
            }
            None => (text, None),
        };
        // A colon behind the last slash starts the tag; one before it belongs to the registry's port.
        let after_slash = named.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match named[after_slash..].split_once(':') {
            Some((last, tag)) => (&named[..after_slash + last.len()], Some(tag)),
            None => (named, None),
        };
        let tag = tag
            .map(|tag| Tag::checked(tag).ok_or_else(|| ParseReferenceError::Tag(shown())))
            .transpose()?;
        let (registry, repository) = split_registry(name);
        if !is_registry(&registry) {
            return Err(ParseReferenceError::Registry(shown()));
        }
        if !repository.split('/').all(is_path_component) {
            return Err(ParseReferenceError::Repository(shown()));
        }
        if registry.len() + 1 + repository.len() > NAME_MAX {
            return Err(ParseReferenceError::TooLong(shown()));
        }
        let version = match (tag, digest) {
            (Some(tag), Some(digest)) => Version::Both(tag, digest),
            (Some(tag), None) => Version::Tag(tag),
            (None, Some(digest)) => Version::Digest(digest),
            (None, None) => Version::Tag(Tag(DEFAULT_TAG.to_owned())),
        };
        Ok(Self {
            registry,
            repository,
            version,
        })
    }
}

/// Docker's rule (distribution `splitDockerDomain`): the first part is a registry when it has a dot, a colon or an
/// upper-case letter, or is `localhost`.
fn split_registry(name: &str) -> (String, String) {
    let (registry, repository) = match name.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.bytes().any(|b| b.is_ascii_uppercase()) =>
        {
            (first, rest)
        }
        _ => (DEFAULT_REGISTRY, name),
    };
    let registry = match registry {
        "index.docker.io" | "registry-1.docker.io" => DEFAULT_REGISTRY,
        other => other,
    };
    let official =
        registry == DEFAULT_REGISTRY && !repository.contains('/') && !repository.is_empty();
    let repository = if official {
        format!("library/{repository}")
    } else {
        repository.to_owned()
    };
    (registry.to_owned(), repository)
}

fn is_registry(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => {
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            match rest {
                "" => return true,
                rest => match rest.strip_prefix(':') {
                    Some(port) => ("ipv6", Some(port)),
                    None => return false,
                },
            }
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    host.split('.').all(label)
        && port.is_none_or(|port| {
            port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok()
        })
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_path_component(text: &str) -> bool {
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    let ends = bytes.first().is_some_and(alphanumeric) && bytes.last().is_some_and(alphanumeric);
    ends && bytes
        .split(alphanumeric)
        .filter(|separator| !separator.is_empty())
        .all(|separator| {
            matches!(separator, b"." | b"_" | b"__") || separator.iter().all(|byte| *byte == b'-')
        })
}

impl Tag {
    pub(crate) fn checked(text: &str) -> Option<Self> {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let first = *text.as_bytes().first()?;
        (text.len() <= 128
            && word(first)
            && text
                .bytes()
                .all(|byte| word(byte) || byte == b'.' || byte == b'-'))
        .then(|| Self(text.to_owned()))
    }

    /// The tag's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(Tag(tag)) => write!(f, ":{tag}"),
            Self::Digest(digest) => write!(f, "@{digest}"),
            Self::Both(Tag(tag), digest) => write!(f, ":{tag}@{digest}"),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}{}", self.registry, self.repository, self.version)
    }
}

impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn short_names_mean_docker_hub() {
        for (text, full, familiar) in [
            ("debian", "docker.io/library/debian:latest", "debian:latest"),
            ("debian:12", "docker.io/library/debian:12", "debian:12"),
            (
                "docker.io/debian",
                "docker.io/library/debian:latest",
                "debian:latest",
            ),
            ("index.docker.io/a/b", "docker.io/a/b:latest", "a/b:latest"),
            ("a/b:t", "docker.io/a/b:t", "a/b:t"),
            ("localhost/a", "localhost/a:latest", "localhost/a:latest"),
            (
                "localhost:5000/a:1",
                "localhost:5000/a:1",
                "localhost:5000/a:1",
            ),
            (
                "gcr.io/distroless/static",
                "gcr.io/distroless/static:latest",
                "gcr.io/distroless/static:latest",
            ),
            ("[::1]:5000/a", "[::1]:5000/a:latest", "[::1]:5000/a:latest"),
            (
                "a__b-c.d",
                "docker.io/library/a__b-c.d:latest",
                "a__b-c.d:latest",
            ),
        ] {
            let reference: Reference = text.parse().unwrap();
            assert_eq!(reference.to_string(), full);
            assert_eq!(reference.familiar(), familiar);
            assert_eq!(full.parse::<Reference>().unwrap(), reference);
        }
    }

    #[test]
    fn a_digest_pins_and_keeps_the_tag_as_a_remark() {
        let both: Reference = format!("debian:12@sha256:{HEX}").parse().unwrap();
        assert_eq!(both.tag(), Some("12"));
        assert_eq!(both.digest().unwrap().hex(), HEX);
        let alone: Reference = format!("debian@sha256:{HEX}").parse().unwrap();
        assert_eq!((alone.tag(), alone.digest()), (None, both.digest()));
        assert_eq!(
            Reference::from_static("debian:12").pinned(*both.digest().unwrap()),
            both
        );
    }

    #[test]
    fn s52_names_that_are_not_names_are_refused() {
        for bad in [
            "",
            HEX,
            "Debian",
            "a//b",
            "/a",
            "a/",
            "a:",
            ":a",
            "a:-x",
            "a:.x",
            "a b",
            "../a",
            "a/../b",
            "a@",
            "a@sha256:x",
            "a@sha512:0",
            "gcr.io/",
            "gcr.io/A",
            "-x.io/a",
            "x.io:port/a",
            "x.io:99999/a",
            "a___b",
            "a.-b",
            "a?b",
            "a%2fb",
            "user@host.io/a",
            "http://x.io/a",
            "[::1/a",
            "[zz]:1/a",
            "a\n",
            "é",
        ] {
            assert!(bad.parse::<Reference>().is_err(), "{bad:?} was accepted");
        }
        assert!(
            format!("a:{}", "t".repeat(129))
                .parse::<Reference>()
                .is_err()
        );
        assert!(
            "a/".repeat(130)
                .trim_end_matches('/')
                .parse::<Reference>()
                .is_err()
        );
    }
}
