//! What is asked of a run, as data. The invariant: nothing here refers to the caller's surroundings; values that come from
//! an environment or a working directory were filled in before, and the whole of it travels to the session as it is.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use image::Platform;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::userns::UsernsMode;

/// A container to be run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRequest {
    /// The image: a name, an id, the beginning of an id, or a digest.
    pub image: String,
    /// Which image of an index; this machine's by default.
    pub platform: Option<Platform>,
    /// Directories of programs, in which an emulator of a foreign processor is looked for.
    pub program_dirs: Vec<PathBuf>,
    /// What runs.
    pub program: Program,
    /// What is mounted beside the image.
    pub mounts: Mounts,
    /// The network.
    pub network: Network,
    /// Which id inside is the invoking user.
    pub userns: UsernsMode,
    /// Capabilities to have, by name; there are none by default.
    pub cap_add: Vec<String>,
    /// Capabilities to take away again, by name.
    pub cap_drop: Vec<String>,
    /// The host name; the beginning of the image's digest by default.
    pub hostname: Option<String>,
    /// Standard input.
    pub stdin: Stdin,
}

/// What runs, where it differs from the image's configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// In place of the image's CMD; empty leaves it.
    pub args: Vec<String>,
    /// In place of the image's ENTRYPOINT, and without its CMD. An empty text means no entry point.
    pub entrypoint: Option<String>,
    /// Variables over those of the image.
    pub env: Vec<(String, String)>,
    /// In place of the image's WORKDIR.
    pub workdir: Option<String>,
    /// In place of the image's USER.
    pub user: Option<String>,
}

/// What is mounted beside the image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mounts {
    /// Directories and files of the host.
    pub volumes: Vec<Volume>,
    /// Empty file systems in memory.
    pub tmpfs: Vec<Tmpfs>,
    /// Whether the image's file system is read-only.
    pub read_only: bool,
}

/// Standard input of a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stdin {
    /// `/dev/null`.
    #[default]
    Null,
    /// What the caller's gives. `terminal` says that it is a terminal, whose foreground the container then needs.
    Caller {
        /// Whether it is a terminal.
        terminal: bool,
    },
}

/// The network of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// Only `lo`.
    #[default]
    None,
    /// The host's.
    Host,
    /// An own one that pasta connects.
    Pasta {
        /// The program.
        program: PathBuf,
    },
}

/// `SOURCE:TARGET[:ro]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// A path of the host.
    pub source: PathBuf,
    /// An absolute path inside.
    pub target: String,
    /// Whether it is read-only.
    pub read_only: bool,
}

/// `TARGET[:size=BYTES,mode=MODE]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tmpfs {
    /// An absolute path inside.
    pub target: String,
    /// The most that it holds, in bytes.
    pub size: Option<u64>,
    /// The mode of its root.
    pub mode: u32,
}

/// A text that describes no mount.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseMountError {
    /// Too few or too many parts.
    #[error(
        "understand the volume {0:?}: it is SOURCE:TARGET, SOURCE:TARGET:ro or SOURCE:TARGET:rw"
    )]
    Volume(String),
    /// An option that there is not.
    #[error("understand the volume {volume:?}: there is no option {option:?}, only ro and rw")]
    VolumeOption {
        /// The whole.
        volume: String,
        /// The option.
        option: String,
    },
    /// Docker would make a named volume of it.
    #[error(
        "use the volume source {0:?}: only paths are supported, no named volumes (write ./{0})"
    )]
    Named(String),
    /// A target has no meaning relative to anything.
    #[error("mount at {0:?}: the target must be an absolute path without `..`, and not / itself")]
    Target(String),
    /// Not what tmpfs(5) takes.
    #[error(
        "understand --tmpfs {0:?}: it is TARGET or TARGET:size=BYTES,mode=OCTAL; k, m and g stand for powers of 1024"
    )]
    Tmpfs(String),
}

impl FromStr for Volume {
    type Err = ParseMountError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<&str> = text.split(':').collect();
        let (source, path, options) = match parts[..] {
            [source, path] => (source, path, "rw"),
            [source, path, options] => (source, path, options),
            _ => return Err(ParseMountError::Volume(text.to_owned())),
        };
        if source.is_empty() {
            return Err(ParseMountError::Volume(text.to_owned()));
        }
        if !source.contains('/') && source != "." && source != ".." {
            return Err(ParseMountError::Named(source.to_owned()));
        }
        let read_only = match options {
            "ro" => true,
            "rw" => false,
            option => {
                let (volume, option) = (text.to_owned(), option.to_owned());
                return Err(ParseMountError::VolumeOption { volume, option });
            }
        };
        Ok(Self {
            source: PathBuf::from(source),
            target: target(path)?,
            read_only,
        })
    }
}

impl Volume {
    /// The same volume with a source that is relative to `directory` made absolute.
    #[must_use]
    pub fn based_on(self, directory: &Path) -> Self {
        Self {
            source: directory.join(&self.source),
            ..self
        }
    }
}

impl FromStr for Tmpfs {
    type Err = ParseMountError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseMountError::Tmpfs(text.to_owned());
        let (path, options) = text.split_once(':').unwrap_or((text, ""));
        let mut tmpfs = Self {
            target: target(path)?,
            size: None,
            mode: 0o1777,
        };
        for option in options.split(',').filter(|option| !option.is_empty()) {
            match option.split_once('=').ok_or_else(wrong)? {
                ("size", value) => tmpfs.size = Some(bytes(value).ok_or_else(wrong)?),
                ("mode", value) => {
                    let mode = u32::from_str_radix(value, 8)
                        .ok()
                        .filter(|mode| *mode <= 0o7777);
                    tmpfs.mode = mode.ok_or_else(wrong)?;
                }
                _ => return Err(wrong()),
            }
        }
        Ok(tmpfs)
    }
}

fn target(path: &str) -> Result<String, ParseMountError> {
    let climbs = path.split('/').any(|name| name == "..");
    let root = path.split('/').all(|name| name.is_empty() || name == ".");
    if !path.starts_with('/') || climbs || root || path.contains('\0') {
        return Err(ParseMountError::Target(path.to_owned()));
    }
    Ok(path.to_owned())
}

fn bytes(text: &str) -> Option<u64> {
    let factor = match text.as_bytes().last()? {
        b'k' | b'K' => 1 << 10,
        b'm' | b'M' => 1 << 20,
        b'g' | b'G' => 1 << 30,
        _ => 1,
    };
    let digits = if factor == 1 {
        text
    } else {
        &text[..text.len() - 1]
    };
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain
        .then(|| digits.parse::<u64>().ok())
        .flatten()?
        .checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_are_read() {
        let volume: Volume = "./data:/var/lib/x:ro".parse().unwrap();
        assert_eq!(
            (volume.target.as_str(), volume.read_only),
            ("/var/lib/x", true)
        );
        assert_eq!(
            volume.based_on(Path::new("/home/u")).source,
            Path::new("/home/u/./data")
        );
        assert!(!"/a:/b".parse::<Volume>().unwrap().read_only);
    }

    #[test]
    fn what_is_no_volume_is_refused() {
        for text in [
            "",
            "/a",
            "/a:b",
            "/a:/",
            "/a:/.",
            "/a:/b/../..",
            ":/b",
            "/a:/b:ro:x",
            "name:/b",
            "/a:/b:z",
            "/a:/b:",
        ] {
            assert!(text.parse::<Volume>().is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn tmpfs_takes_size_and_mode() {
        let plain: Tmpfs = "/tmp".parse().unwrap();
        assert_eq!((plain.size, plain.mode), (None, 0o1777));
        let sized: Tmpfs = "/run:size=64m,mode=755".parse().unwrap();
        assert_eq!((sized.size, sized.mode), (Some(64 << 20), 0o755));
        for text in [
            "tmp",
            "/tmp:size=",
            "/tmp:size=-1",
            "/tmp:mode=9",
            "/tmp:exec",
            "/tmp:size=99999999999g",
        ] {
            assert!(text.parse::<Tmpfs>().is_err(), "{text:?} was accepted");
        }
    }
}
