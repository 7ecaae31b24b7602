//! What is mounted in a container beside its image, as it is asked for on a command line. The invariant: a target is absolute
//! and below the root, and an option that is accepted is obeyed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::name::{Name, ParseNameError};

/// `SOURCE:TARGET[:OPTIONS]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// A path of the host.
    pub source: PathBuf,
    /// An absolute path inside.
    pub target: String,
    /// Whether it is read-only.
    pub read_only: bool,
    /// Whether it, and all that is in it, is given to the container's user first.
    pub chown: bool,
}

/// A directory of the store that outlives containers, by name: `NAME:TARGET[:OPTIONS]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedVolume {
    /// Its name.
    pub name: Name,
    /// An absolute path inside.
    pub target: String,
    /// Whether it is read-only.
    pub read_only: bool,
    /// Whether it, and all that is in it, is given to the container's user first.
    pub chown: bool,
    /// Whether it begins with what the image has there.
    pub copy: bool,
}

/// What `--volume` and `--mount` ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestedMount {
    /// `type=bind`.
    Bind(Volume),
    /// `type=volume`.
    Named(NamedVolume),
    /// `type=tmpfs`.
    Tmpfs(Tmpfs),
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
    /// Whether it is read-only.
    pub read_only: bool,
}

/// A text that describes no mount.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseMountError {
    /// Too few or too many parts.
    #[error("understand the volume {0:?}: it is SOURCE:TARGET or SOURCE:TARGET:OPTION[,OPTION]")]
    Volume(String),
    /// An option that there is not.
    #[error(
        "understand the volume {volume:?}: there is no option {option:?}, only ro, rw, U, z, Z, rbind, private, rprivate, nosuid and nodev"
    )]
    VolumeOption {
        /// The whole.
        volume: String,
        /// The option.
        option: String,
    },
    /// A build has no named volumes.
    #[error("use the volume source {0:?}: only paths are supported here (write ./{0})")]
    Named(String),
    /// The name of a volume.
    #[error(transparent)]
    Name(ParseNameError),
    /// A target has no meaning relative to anything.
    #[error("mount at {0:?}: the target must be an absolute path without `..`, and not / itself")]
    Target(String),
    /// A `--mount` that means nothing.
    #[error("understand --mount {text}: {why}")]
    Mount {
        /// The whole.
        text: String,
        /// What is wrong.
        why: String,
    },
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
        let mut volume = Self {
            source: PathBuf::from(source),
            target: target(path)?,
            read_only: false,
            chown: false,
        };
        for option in options.split(',') {
            match option {
                "ro" => volume.read_only = true,
                "U" => volume.chown = true,
                // No container has an SELinux label of its own, so nothing has to be labelled for it; the others are so anyhow.
                "rw" | "z" | "Z" | "rbind" | "private" | "rprivate" | "nosuid" | "nodev" => {}
                option => {
                    let (volume, option) = (text.to_owned(), option.to_owned());
                    return Err(ParseMountError::VolumeOption { volume, option });
                }
            }
        }
        Ok(volume)
    }
}

/// `--volume`: a source without a slash is the name of a volume.
impl FromStr for RequestedMount {
    type Err = ParseMountError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (source, rest) = text.split_once(':').unwrap_or((text, ""));
        if source.is_empty() || source.contains('/') || source.starts_with('.') {
            return text.parse().map(Self::Bind);
        }
        let name = source.parse().map_err(ParseMountError::Name)?;
        // These options say something of named volumes only.
        let (path, options) = rest.split_once(':').unwrap_or((rest, ""));
        let own = |option: &&str| !matches!(*option, "copy" | "nocopy");
        let others: Vec<&str> = options.split(',').filter(own).collect();
        let shown = match others[..] {
            [] | [""] => format!("./{source}:{path}"),
            _ => format!("./{source}:{path}:{}", others.join(",")),
        };
        let volume: Volume = shown.parse()?;
        Ok(Self::Named(NamedVolume {
            name,
            target: volume.target,
            read_only: volume.read_only,
            chown: volume.chown,
            copy: !options.split(',').any(|option| option == "nocopy"),
        }))
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
            read_only: false,
        };
        for option in options.split(',').filter(|option| !option.is_empty()) {
            match option.split_once('=').ok_or_else(wrong)? {
                ("size", value) => tmpfs.size = Some(bytes(value).ok_or_else(wrong)?),
                ("mode", value) => tmpfs.mode = octal(value).ok_or_else(wrong)?,
                _ => return Err(wrong()),
            }
        }
        Ok(tmpfs)
    }
}

impl RequestedMount {
    /// Understands the fields of `--mount`; `text` is the whole, for messages.
    ///
    /// # Errors
    /// [`ParseMountError::Mount`], or a target that is none.
    pub fn of_fields(text: &str, fields: &[(String, String)]) -> Result<Self, ParseMountError> {
        let wrong = |why: String| ParseMountError::Mount {
            text: text.to_owned(),
            why,
        };
        let mut known = BTreeMap::new();
        for (key, value) in fields {
            if known.insert(field(key), value.as_str()).is_some() {
                return Err(wrong(format!("{key} is given twice")));
            }
        }
        let mut fields = Fields { known, text };
        let path = fields
            .take("target")
            .ok_or_else(|| wrong("there is no target".to_owned()))?;
        let path = target(path)?;
        let read_only = fields.flag("ro")?;
        let mount = match fields.take("type") {
            Some("bind") => {
                let source = fields.take("source").filter(|source| !source.is_empty());
                let source = source.ok_or_else(|| wrong("there is no source".to_owned()))?;
                fields.expect("bind-propagation", &["private", "rprivate"])?;
                fields.expect("relabel", &["shared", "private"])?;
                Self::Bind(Volume {
                    source: source.into(),
                    target: path,
                    read_only,
                    chown: fields.flag("u")?,
                })
            }
            Some("tmpfs") => {
                let (size, mode) = (fields.take("tmpfs-size"), fields.take("tmpfs-mode"));
                let bad = |what: &str, value: &str| wrong(format!("{value} is no {what}"));
                Self::Tmpfs(Tmpfs {
                    target: path,
                    size: size
                        .map(|value| bytes(value).ok_or_else(|| bad("size", value)))
                        .transpose()?,
                    mode: mode.map_or(Ok(0o1777), |value| {
                        octal(value).ok_or_else(|| bad("mode", value))
                    })?,
                    read_only,
                })
            }
            Some("volume") => {
                let source = fields.take("source").filter(|source| !source.is_empty());
                let source = source.ok_or_else(|| wrong("there is no source".to_owned()))?;
                Self::Named(NamedVolume {
                    name: source.parse().map_err(ParseMountError::Name)?,
                    target: path,
                    read_only,
                    chown: fields.flag("u")?,
                    copy: !fields.flag("volume-nocopy")?,
                })
            }
            Some(other) => {
                let why = format!("type={other} is none of bind, volume and tmpfs");
                return Err(wrong(why));
            }
            None => return Err(wrong("there is no type".to_owned())),
        };
        match fields.known.keys().next() {
            Some(key) => Err(wrong(format!("{key} means nothing for this type"))),
            None => Ok(mount),
        }
    }
}

/// The one name of a field that has several.
fn field(key: &str) -> &str {
    match key {
        "src" => "source",
        "dst" | "destination" => "target",
        "readonly" => "ro",
        "chown" => "u",
        "nocopy" => "volume-nocopy",
        other => other,
    }
}

/// The fields of `--mount` that nobody has asked for yet.
struct Fields<'f> {
    known: BTreeMap<&'f str, &'f str>,
    text: &'f str,
}

impl<'f> Fields<'f> {
    fn take(&mut self, key: &str) -> Option<&'f str> {
        self.known.remove(key)
    }

    fn wrong(&self, why: String) -> ParseMountError {
        ParseMountError::Mount {
            text: self.text.to_owned(),
            why,
        }
    }

    fn flag(&mut self, key: &str) -> Result<bool, ParseMountError> {
        match self.take(key) {
            None | Some("false" | "0") => Ok(false),
            Some("true" | "1") => Ok(true),
            Some(other) => Err(self.wrong(format!("{key}={other} is neither true nor false"))),
        }
    }

    /// A field that may say only what is so anyhow.
    fn expect(&mut self, key: &str, values: &[&str]) -> Result<(), ParseMountError> {
        match self.take(key) {
            Some(value) if !values.contains(&value) => {
                Err(self.wrong(format!("{key}={value} is not supported")))
            }
            _ => Ok(()),
        }
    }
}

fn octal(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let mode = digits
        .then(|| u32::from_str_radix(text, 8).ok())
        .flatten()?;
    (mode <= 0o7777).then_some(mode)
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
            "/a:/b:exec",
            "/a:/b:",
        ] {
            assert!(text.parse::<Volume>().is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn options_of_volumes_are_podmans_as_far_as_they_can_be_obeyed() {
        let volume = |options: &str| format!("/a:/b:{options}").parse::<Volume>().unwrap();
        assert!(volume("z,ro").read_only && !volume("Z,rprivate").read_only);
        assert!(volume("U").chown && !volume("rw").chown);
    }

    #[test]
    fn a_mount_is_a_bind_or_a_tmpfs() {
        let mount = |text: &str| {
            let pairs = text.split(',').map(|field| {
                let (key, value) = field.split_once('=').unwrap_or((field, "true"));
                (key.to_owned(), value.to_owned())
            });
            RequestedMount::of_fields(text, &pairs.collect::<Vec<_>>())
        };
        assert_eq!(
            mount("type=bind,src=./d,dst=/d,readonly,u=1,relabel=shared"),
            Ok(RequestedMount::Bind(Volume {
                source: "./d".into(),
                target: "/d".into(),
                read_only: true,
                chown: true,
            }))
        );
        assert_eq!(
            mount("type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=0700,ro=false"),
            Ok(RequestedMount::Tmpfs(Tmpfs {
                target: "/t".into(),
                size: Some(1 << 20),
                mode: 0o700,
                read_only: false,
            }))
        );
        for text in [
            "type=bind,dst=/d",
            "type=bind,src=d",
            "type=bind,src=d,dst=d",
            "src=d,dst=/d",
            "type=volume,src=a/b,dst=/d",
            "type=volume,dst=/d",
            "type=bind,src=d,dst=/d,ro=maybe",
            "type=bind,src=d,dst=/d,tmpfs-size=1",
            "type=bind,src=d,dst=/d,bind-propagation=shared",
            "type=bind,src=d,src=e,dst=/d",
            "type=tmpfs,dst=/d,src=x",
            "type=tmpfs,dst=/d,tmpfs-mode=9",
        ] {
            assert!(mount(text).is_err(), "{text} was accepted");
        }
    }

    #[test]
    fn a_source_without_a_slash_names_a_volume() {
        let volume = |text: &str| text.parse::<RequestedMount>();
        let named = |read_only, copy| {
            Ok(RequestedMount::Named(NamedVolume {
                name: "data".parse().unwrap(),
                target: "/d".to_owned(),
                read_only,
                chown: false,
                copy,
            }))
        };
        assert_eq!(volume("data:/d"), named(false, true));
        assert_eq!(volume("data:/d:ro,nocopy,Z"), named(true, false));
        for path in ["./data:/d", "/data:/d", ".:/d", "..:/d"] {
            assert!(
                matches!(volume(path), Ok(RequestedMount::Bind(_))),
                "{path}"
            );
        }
        for bad in [
            "data",
            "data:",
            "data:d",
            "data:/d:exec",
            "data:/d:ro:x",
            "da@ta:/d",
            ":/d",
        ] {
            assert!(volume(bad).is_err(), "{bad}");
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
