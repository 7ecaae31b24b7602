//! `-o`: where the result goes. The invariant: every destination is known before the build starts.

use std::path::PathBuf;
use std::str::FromStr;

use builder::Output;
use thiserror::Error;

/// Why a text is no output.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum ParseOutputError {
    /// The type is unknown.
    #[error("the type {0:?} is none of oci, docker, local, tar, store")]
    Type(String),
    /// There is no type.
    #[error("there is no type=; expected type=oci|docker|local|tar|store[,dest=PATH]")]
    NoType,
    /// An option of another builder, or a misspelt one.
    #[error("the option {0:?} is not supported; there are type and dest")]
    Key(String),
    /// Given twice.
    #[error("the option {0:?} is given twice")]
    Twice(&'static str),
    /// The type writes into a directory or file, which one is not said.
    #[error("type={0} needs dest=PATH")]
    NoDestination(&'static str),
    /// A directory cannot be a stream.
    #[error("type={0} writes a directory, which cannot go to standard output")]
    DirectoryToStdout(&'static str),
    /// The store has its own place.
    #[error("type=store takes no dest; --root names another store")]
    StoreDestination,
}

/// An output as written on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OutputArg(pub Output);

impl FromStr for OutputArg {
    type Err = ParseOutputError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // docker and buildah: a bare path is a directory, a bare dash a tar on standard output.
        match text {
            "-" => return Ok(Self(Output::Tar(None))),
            bare if !bare.is_empty() && !bare.contains('=') => {
                return Ok(Self(Output::Local(bare.into())));
            }
            _ => {}
        }
        let (mut kind, mut dest) = (None, None);
        for field in text.split(',') {
            let (key, value) = field.split_once('=').unwrap_or((field, ""));
            let (slot, name) = match key {
                "type" => (&mut kind, "type"),
                "dest" => (&mut dest, "dest"),
                _ => return Err(ParseOutputError::Key(key.to_owned())),
            };
            if slot.replace(value).is_some() {
                return Err(ParseOutputError::Twice(name));
            }
        }
        let kind = kind.ok_or(ParseOutputError::NoType)?;
        Destination::of(dest).output(kind).map(Self)
    }
}

enum Destination {
    None,
    Stdout,
    Path(PathBuf),
}

impl Destination {
    fn of(dest: Option<&str>) -> Self {
        match dest {
            None | Some("") => Self::None,
            Some("-") => Self::Stdout,
            Some(path) => Self::Path(path.into()),
        }
    }

    fn output(self, kind: &str) -> Result<Output, ParseOutputError> {
        match kind {
            "store" | "image" => match self {
                Self::None => Ok(Output::Store),
                Self::Stdout | Self::Path(_) => Err(ParseOutputError::StoreDestination),
            },
            "oci" => Ok(match self {
                // As in docker: what has no extension of an archive is a directory.
                Self::Path(path) if is_archive(&path) => Output::OciArchive(Some(path)),
                Self::Path(path) => Output::OciLayout(path),
                Self::Stdout => Output::OciArchive(None),
                Self::None => return Err(ParseOutputError::NoDestination("oci")),
            }),
            "docker" => self.file("docker").map(Output::DockerArchive),
            "tar" => self.file("tar").map(Output::Tar),
            "local" => match self {
                Self::Path(path) => Ok(Output::Local(path)),
                Self::Stdout => Err(ParseOutputError::DirectoryToStdout("local")),
                Self::None => Err(ParseOutputError::NoDestination("local")),
            },
            other => Err(ParseOutputError::Type(other.to_owned())),
        }
    }

    fn file(self, kind: &'static str) -> Result<Option<PathBuf>, ParseOutputError> {
        match self {
            Self::Path(path) => Ok(Some(path)),
            Self::Stdout => Ok(None),
            Self::None => Err(ParseOutputError::NoDestination(kind)),
        }
    }
}

fn is_archive(path: &std::path::Path) -> bool {
    path.extension().is_some_and(|extension| extension == "tar")
}

/// Whether the output is a stream on standard output, which then can hold nothing else.
pub(crate) fn is_stdout(output: &Output) -> bool {
    matches!(
        output,
        Output::OciArchive(None) | Output::DockerArchive(None) | Output::Tar(None)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Output, ParseOutputError> {
        text.parse::<OutputArg>().map(|output| output.0)
    }

    #[test]
    fn every_type_with_and_without_a_destination() {
        let path = PathBuf::from;
        let good = [
            ("type=oci,dest=d", Output::OciLayout(path("d"))),
            (
                "type=oci,dest=d.tar",
                Output::OciArchive(Some(path("d.tar"))),
            ),
            ("type=oci,dest=-", Output::OciArchive(None)),
            ("dest=a/b,type=local", Output::Local(path("a/b"))),
            (
                "type=docker,dest=d.tar",
                Output::DockerArchive(Some(path("d.tar"))),
            ),
            ("type=docker,dest=-", Output::DockerArchive(None)),
            ("type=tar,dest=x", Output::Tar(Some(path("x")))),
            ("-", Output::Tar(None)),
            ("out", Output::Local(path("out"))),
            ("type=store", Output::Store),
        ];
        for (text, expected) in good {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
        let bad = [
            ("type=registry", ParseOutputError::Type("registry".into())),
            ("type=oci", ParseOutputError::NoDestination("oci")),
            (
                "type=local,dest=-",
                ParseOutputError::DirectoryToStdout("local"),
            ),
            ("type=oci,dest=a,dest=b", ParseOutputError::Twice("dest")),
            (
                "type=oci,compression=zstd",
                ParseOutputError::Key("compression".into()),
            ),
            ("type=store,dest=x", ParseOutputError::StoreDestination),
            ("dest=x", ParseOutputError::NoType),
            ("", ParseOutputError::Key(String::new())),
        ];
        for (text, expected) in bad {
            assert_eq!(parse(text), Err(expected), "{text}");
        }
    }
}
