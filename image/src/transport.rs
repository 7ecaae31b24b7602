//! Where an image is, as skopeo's and podman's users write it (containers-transports(5)).
//!
//! Invariant: every text is one transport or refused; no text means two.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::reference::{ParseReferenceError, Reference};

/// A place of one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// `docker://NAME`: a registry.
    Registry(Reference),
    /// `oci:DIRECTORY[:NAME]`: an OCI image layout.
    OciDirectory {
        /// The layout.
        path: PathBuf,
        /// Which of its images.
        name: Option<String>,
    },
    /// `oci-archive:FILE[:NAME]`: an OCI image layout in a tar archive.
    OciArchive {
        /// The archive.
        path: PathBuf,
        /// Which of its images.
        name: Option<String>,
    },
    /// `docker-archive:FILE[:NAME]`: what `docker save` writes.
    DockerArchive {
        /// The archive.
        path: PathBuf,
        /// Which of its images.
        name: Option<Reference>,
    },
    /// `dir:DIRECTORY`: manifest and blobs as files.
    Directory(PathBuf),
    /// `store:NAME`: rbuild's own store.
    Store(String),
}

/// Why a text names no place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseTransportError {
    /// There is no transport in front, or an unknown one.
    #[error(
        "understand {0:?}: expected docker://NAME, oci:DIRECTORY, oci-archive:FILE, docker-archive:FILE, dir:DIRECTORY or store:NAME"
    )]
    Unknown(String),
    /// A transport of other programs' stores.
    #[error("understand {text:?}: {reason}")]
    Foreign {
        /// What was given.
        text: String,
        /// Why not.
        reason: &'static str,
    },
    /// Nothing is behind the transport.
    #[error("understand {0:?}: nothing is named behind the transport")]
    Empty(String),
    /// The name is none.
    #[error(transparent)]
    Reference(#[from] ParseReferenceError),
}

const PODMANS: &str = "podman's storage belongs to podman, whose own ids its layers are unpacked with; `podman save --format oci-archive -o FILE NAME` writes what oci-archive:FILE reads";
const DOCKERS: &str =
    "rbuild talks to no daemon; `docker save -o FILE NAME` writes what docker-archive:FILE reads";

impl FromStr for Transport {
    type Err = ParseTransportError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let shown = || text.chars().take(100).collect::<String>();
        let (transport, rest) = text
            .split_once(':')
            .ok_or_else(|| ParseTransportError::Unknown(shown()))?;
        let foreign = |reason| ParseTransportError::Foreign {
            text: shown(),
            reason,
        };
        match transport {
            "containers-storage" => return Err(foreign(PODMANS)),
            "docker-daemon" => return Err(foreign(DOCKERS)),
            "docker" | "oci" | "oci-archive" | "docker-archive" | "dir" | "store" => {}
            _ => return Err(ParseTransportError::Unknown(shown())),
        }
        // Only what stands behind a slash may hold a colon in docker://.
        let (path, name) = match rest.split_once(':') {
            Some((path, name)) if !name.is_empty() => (path, Some(name)),
            Some((path, _)) => (path, None),
            None => (rest, None),
        };
        if rest.is_empty() || path.is_empty() {
            return Err(ParseTransportError::Empty(shown()));
        }
        let (path, owned) = (PathBuf::from(path), name.map(str::to_owned));
        Ok(match transport {
            "docker" => {
                let name = rest
                    .strip_prefix("//")
                    .ok_or_else(|| foreign("a registry is written docker://NAME"))?;
                Self::Registry(name.parse()?)
            }
            "oci" => Self::OciDirectory { path, name: owned },
            "oci-archive" => Self::OciArchive { path, name: owned },
            "docker-archive" => Self::DockerArchive {
                path,
                name: name.map(str::parse).transpose()?,
            },
            "dir" => Self::Directory(rest.into()),
            _ => Self::Store(rest.to_owned()),
        })
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |f: &mut fmt::Formatter<'_>, kind: &str, path: &PathBuf, name: Option<&str>| {
            write!(f, "{kind}:{}", path.display())?;
            name.map_or(Ok(()), |name| write!(f, ":{name}"))
        };
        match self {
            Self::Registry(name) => write!(f, "docker://{name}"),
            Self::OciDirectory { path, name } => named(f, "oci", path, name.as_deref()),
            Self::OciArchive { path, name } => named(f, "oci-archive", path, name.as_deref()),
            Self::DockerArchive { path, name } => {
                let name = name.as_ref().map(Reference::familiar);
                named(f, "docker-archive", path, name.as_deref())
            }
            Self::Directory(path) => named(f, "dir", path, None),
            Self::Store(name) => write!(f, "store:{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_transport_is_read_and_written() {
        for text in [
            "docker://docker.io/library/debian:12",
            "docker://localhost:5000/app:latest",
            "oci:/srv/layout:v1",
            "oci:layout",
            "oci-archive:a.tar:localhost/app:1",
            "docker-archive:a.tar:app:1",
            "docker-archive:a.tar",
            "dir:/srv/with:colon",
            "store:app:1",
        ] {
            let parsed: Transport = text.parse().unwrap();
            assert_eq!(parsed.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_transport_is_refused_with_a_reason() {
        let said = |text: &str| text.parse::<Transport>().unwrap_err().to_string();
        assert!(said("debian:12").contains("docker://"));
        assert!(said("debian").contains("docker://"));
        assert!(said("docker:debian").contains("docker://NAME"));
        assert!(said("oci:").contains("nothing"));
        assert!(said("oci::x").contains("nothing"));
        assert!(said("docker://UPPER").contains("lower-case"));
        assert!(said("containers-storage:app").contains("podman save"));
        assert!(said("docker-daemon:app:1").contains("docker save"));
    }
}
