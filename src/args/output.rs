//! `-o`: where the result goes, in buildx's words. The invariant: every destination is known before the build starts, and an option
//! that means nothing for its type is an error.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

use builder::{Annotation, ImageOutput, Output, Recipe};
use image::{Compression, Format, Packing, Reference};
use thiserror::Error;

use super::annotation::{self, ParseAnnotationError};

/// Why a text is no output.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum ParseOutputError {
    /// The type is unknown.
    #[error("the type {0:?} is none of oci, docker, local, tar, store, image, registry, cacheonly")]
    Type(String),
    /// There is no type.
    #[error(
        "there is no type=; expected type=oci|docker|local|tar|store|registry[,dest=PATH][,...]"
    )]
    NoType,
    /// An option of another type or builder, or a misspelt one.
    #[error("type={kind} has no option {option:?}")]
    Option {
        /// The type.
        kind: String,
        /// The option.
        option: String,
    },
    /// Given twice.
    #[error("the option {0:?} is given twice")]
    Twice(String),
    /// A quoted field has no end.
    #[error("a quotation mark is not closed")]
    Quote,
    /// The value makes no sense.
    #[error("{option}={value}: expected {expected}")]
    Value {
        /// The option.
        option: &'static str,
        /// What was given.
        value: String,
        /// What would have made sense.
        expected: &'static str,
    },
    /// The compression has no such level.
    #[error("compression-level: {0}")]
    Level(String),
    /// A name is none.
    #[error("name={name}: {reason}")]
    Name {
        /// What was given.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An annotation is none.
    #[error(transparent)]
    Annotation(#[from] ParseAnnotationError),
    /// The type writes into a directory or file, which one is not said.
    #[error("type={0} needs dest=PATH")]
    NoDestination(&'static str),
    /// A directory cannot be a stream.
    #[error("type={0} writes a directory, which cannot go to standard output")]
    DirectoryToStdout(&'static str),
    /// The store has its own place.
    #[error("type={0} takes no dest; --root names another store, name= another name")]
    NoPlace(String),
    /// It is an archive by definition.
    #[error("type=docker is always an archive; type=oci,tar=false writes a directory")]
    DockerDirectory,
    /// The store keeps plain tars.
    #[error("{0} needs push=true: the store keeps its layers uncompressed")]
    StoredPlain(&'static str),
    /// It is decided for the whole build.
    #[error(
        "rewrite-timestamp is a flag of the whole build, --rewrite-timestamp: all outputs have the same layers"
    )]
    RewriteTimestamp,
    /// Removing what is there is not offered.
    #[error(
        "mode=delete would remove what is in the directory; remove it yourself, or name a new one"
    )]
    ModeDelete,
}

/// An output as written on the command line: `type=image,push=true` is two, `type=cacheonly` none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OutputArg(pub Vec<Output>);

/// An image as it is, under the build's names: gzip is what every registry and every tool takes.
pub(crate) const fn plain() -> ImageOutput {
    ImageOutput {
        names: Vec::new(),
        recipe: Recipe {
            packing: Packing::GZIP,
            format: None,
            annotations: Vec::new(),
        },
    }
}

impl FromStr for OutputArg {
    type Err = ParseOutputError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // docker and buildah: a bare path is a directory, a bare dash a tar on standard output.
        match text {
            "-" => return Ok(Self(vec![Output::Tar(None)])),
            bare if !bare.is_empty() && !bare.contains('=') => {
                return Ok(Self(vec![Output::Local(bare.into())]));
            }
            _ => {}
        }
        let mut fields = Fields::of(text)?;
        let kind = fields.take("type").ok_or(ParseOutputError::NoType)?;
        let outputs = outputs(&kind, &mut fields)?;
        fields.end(&kind)?;
        Ok(Self(outputs))
    }
}

fn outputs(kind: &str, fields: &mut Fields) -> Result<Vec<Output>, ParseOutputError> {
    let destination = Destination::of(fields.take("dest"));
    match kind {
        "store" | "image" => stored(kind, &destination, fields),
        "registry" => {
            destination.none(kind)?;
            Ok(vec![Output::Registry(image_output(fields)?)])
        }
        "oci" => oci(destination, fields).map(|output| vec![output]),
        "docker" => {
            if fields.boolean("tar")? == Some(false) {
                return Err(ParseOutputError::DockerDirectory);
            }
            let names = fields.names()?;
            let image = ImageOutput { names, ..plain() };
            Ok(vec![Output::DockerArchive(
                destination.file("docker")?,
                image,
            )])
        }
        "tar" => Ok(vec![Output::Tar(destination.file("tar")?)]),
        "local" => {
            match fields.take("mode").as_deref() {
                None | Some("copy") => {}
                Some("delete") => return Err(ParseOutputError::ModeDelete),
                Some(other) => return Err(wrong("mode", other, "copy")),
            }
            destination
                .directory("local")
                .map(|path| vec![Output::Local(path)])
        }
        "cacheonly" => {
            destination.none(kind)?;
            Ok(Vec::new())
        }
        other => Err(ParseOutputError::Type(other.to_owned())),
    }
}

/// The image in the store, and in a registry too with `push=true`.
fn stored(
    kind: &str,
    destination: &Destination,
    fields: &mut Fields,
) -> Result<Vec<Output>, ParseOutputError> {
    destination.none(kind)?;
    let push = fields.boolean("push")?.unwrap_or(false);
    let packed = ["compression", "compression-level", "force-compression"]
        .into_iter()
        .find(|option| fields.has(option));
    if let Some(option) = packed.filter(|_| !push) {
        return Err(ParseOutputError::StoredPlain(option));
    }
    let image = image_output(fields)?;
    let mut outputs = vec![Output::Store(image.clone())];
    outputs.extend(push.then_some(Output::Registry(image)));
    Ok(outputs)
}

fn oci(destination: Destination, fields: &mut Fields) -> Result<Output, ParseOutputError> {
    let image = image_output(fields)?;
    let tar = fields.boolean("tar")?;
    Ok(match destination {
        // What has no extension of an archive is a directory, unless the option says otherwise.
        Destination::Path(path) if tar.unwrap_or_else(|| is_archive(&path)) => {
            Output::OciArchive(Some(path), image)
        }
        Destination::Path(path) => Output::OciLayout(path, image),
        Destination::Stdout if tar == Some(false) => {
            return Err(ParseOutputError::DirectoryToStdout("oci"));
        }
        Destination::Stdout => Output::OciArchive(None, image),
        Destination::None => return Err(ParseOutputError::NoDestination("oci")),
    })
}

/// The options of everything that writes an image.
fn image_output(fields: &mut Fields) -> Result<ImageOutput, ParseOutputError> {
    let names = fields.names()?;
    let compression = match fields.take("compression").as_deref() {
        None | Some("gzip") => Compression::Gzip,
        Some("zstd") => Compression::Zstd,
        Some("uncompressed") => Compression::None,
        Some(other) => return Err(wrong("compression", other, "gzip, zstd or uncompressed")),
    };
    let level = fields
        .take("compression-level")
        .map(|value| {
            value
                .parse()
                .map_err(|_| wrong("compression-level", &value, "a number"))
        })
        .transpose()?;
    let packing = Packing::new(compression, level)
        .map_err(|error| ParseOutputError::Level(error.to_string()))?;
    // Layers are packed anew for every output, so that false, which only permits to keep others' compression, is obeyed too.
    let _ = fields.boolean("force-compression")?;
    let format = fields
        .boolean("oci-mediatypes")?
        .map(|oci| if oci { Format::Oci } else { Format::Docker });
    let annotations = fields.annotations()?;
    Ok(ImageOutput {
        names,
        recipe: Recipe {
            packing,
            format,
            annotations,
        },
    })
}

fn wrong(option: &'static str, value: &str, expected: &'static str) -> ParseOutputError {
    ParseOutputError::Value {
        option,
        value: value.to_owned(),
        expected,
    }
}

/// `KEY=VALUE` fields that nobody has taken yet.
struct Fields(BTreeMap<String, String>);

impl Fields {
    fn of(text: &str) -> Result<Self, ParseOutputError> {
        let mut fields = BTreeMap::new();
        for field in split(text)? {
            let (key, value) = field.split_once('=').unwrap_or((&field, ""));
            if fields.insert(key.to_owned(), value.to_owned()).is_some() {
                return Err(ParseOutputError::Twice(key.to_owned()));
            }
        }
        Ok(Self(fields))
    }

    fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    fn take(&mut self, key: &str) -> Option<String> {
        self.0.remove(key)
    }

    fn boolean(&mut self, key: &'static str) -> Result<Option<bool>, ParseOutputError> {
        match self.take(key).as_deref() {
            None => Ok(None),
            Some("true" | "1") => Ok(Some(true)),
            Some("false" | "0") => Ok(Some(false)),
            Some(other) => Err(wrong(key, other, "true or false")),
        }
    }

    /// `name=A`, or `"name=A,B"`.
    fn names(&mut self) -> Result<Vec<Reference>, ParseOutputError> {
        let Some(names) = self.take("name") else {
            return Ok(Vec::new());
        };
        let parse = |name: &str| {
            let fail = |reason: String| ParseOutputError::Name {
                name: name.to_owned(),
                reason,
            };
            let parsed: Reference = name
                .parse()
                .map_err(|error: image::ParseReferenceError| fail(error.to_string()))?;
            match parsed.digest() {
                Some(_) => Err(fail("a name for a new image cannot have a digest".into())),
                None => Ok(parsed),
            }
        };
        names.split(',').map(parse).collect()
    }

    /// `annotation.KEY=VALUE`, `annotation-LEVEL.KEY=VALUE`, `annotation-LEVEL[PLATFORM].KEY=VALUE`.
    fn annotations(&mut self) -> Result<Vec<Annotation>, ParseOutputError> {
        let (ours, others) = std::mem::take(&mut self.0)
            .into_iter()
            .partition(|(key, _)| key.starts_with("annotation"));
        self.0 = others;
        let parse = |(key, value): (String, String)| Ok(annotation::option(&key, value)?);
        BTreeMap::into_iter(ours).map(parse).collect()
    }

    fn end(self, kind: &str) -> Result<(), ParseOutputError> {
        match self.0.into_keys().next() {
            None => Ok(()),
            Some(option) if option == "rewrite-timestamp" => {
                Err(ParseOutputError::RewriteTimestamp)
            }
            Some(option) => Err(ParseOutputError::Option {
                kind: kind.to_owned(),
                option,
            }),
        }
    }
}

/// Fields between commas; one in quotation marks may hold commas, and two quotation marks mean one (RFC 4180).
fn split(text: &str) -> Result<Vec<String>, ParseOutputError> {
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let mut field = String::new();
        if let Some(mut quoted) = rest.strip_prefix('"') {
            loop {
                let (part, after) = quoted.split_once('"').ok_or(ParseOutputError::Quote)?;
                field.push_str(part);
                match after.strip_prefix('"') {
                    Some(more) => {
                        field.push('"');
                        quoted = more;
                    }
                    None => {
                        rest = after;
                        break;
                    }
                }
            }
        }
        let (part, after) = match rest.split_once(',') {
            Some((part, after)) => (part, Some(after)),
            None => (rest, None),
        };
        field.push_str(part);
        fields.push(field);
        match after {
            Some(after) => rest = after,
            None => return Ok(fields),
        }
    }
}

enum Destination {
    None,
    Stdout,
    Path(PathBuf),
}

impl Destination {
    fn of(dest: Option<String>) -> Self {
        match dest.as_deref() {
            None | Some("") => Self::None,
            Some("-") => Self::Stdout,
            Some(path) => Self::Path(path.into()),
        }
    }

    fn none(&self, kind: &str) -> Result<(), ParseOutputError> {
        match self {
            Self::None => Ok(()),
            Self::Stdout | Self::Path(_) => Err(ParseOutputError::NoPlace(kind.to_owned())),
        }
    }

    fn directory(self, kind: &'static str) -> Result<PathBuf, ParseOutputError> {
        match self {
            Self::Path(path) => Ok(path),
            Self::Stdout => Err(ParseOutputError::DirectoryToStdout(kind)),
            Self::None => Err(ParseOutputError::NoDestination(kind)),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<Output>, ParseOutputError> {
        text.parse::<OutputArg>().map(|output| output.0)
    }

    fn refused(text: &str) -> String {
        parse(text).expect_err(text).to_string()
    }

    #[test]
    fn every_type_with_and_without_a_destination() {
        let path = PathBuf::from;
        let archive = |name: &str| Output::OciArchive(Some(name.into()), plain());
        let good = [
            ("type=oci,dest=d", Output::OciLayout(path("d"), plain())),
            ("type=oci,dest=d.tar", archive("d.tar")),
            ("type=oci,dest=d,tar=true", archive("d")),
            (
                "type=oci,dest=d.tar,tar=false",
                Output::OciLayout(path("d.tar"), plain()),
            ),
            ("type=oci,dest=-", Output::OciArchive(None, plain())),
            ("dest=a/b,type=local", Output::Local(path("a/b"))),
            ("dest=a/b,type=local,mode=copy", Output::Local(path("a/b"))),
            ("type=local,\"dest=a,b\"", Output::Local(path("a,b"))),
            (
                "type=docker,dest=d.tar",
                Output::DockerArchive(Some(path("d.tar")), plain()),
            ),
            ("type=docker,dest=-", Output::DockerArchive(None, plain())),
            ("type=tar,dest=x", Output::Tar(Some(path("x")))),
            ("-", Output::Tar(None)),
            ("out", Output::Local(path("out"))),
            ("type=store", Output::Store(plain())),
            ("type=registry", Output::Registry(plain())),
        ];
        for (text, expected) in good {
            assert_eq!(parse(text), Ok(vec![expected]), "{text}");
        }
        assert_eq!(parse("type=cacheonly"), Ok(Vec::new()));
        assert_eq!(
            parse("type=image,push=true"),
            Ok(vec![Output::Store(plain()), Output::Registry(plain())])
        );
    }

    #[test]
    fn an_image_may_be_packed_named_and_annotated() {
        let outputs = parse(
            "type=registry,\"name=localhost/a,localhost/b:2\",compression=zstd,compression-level=19,\
             force-compression=true,oci-mediatypes=true,annotation.k=v,annotation-manifest[linux/arm64].a.b=c=d",
        )
        .expect("an output");
        let [Output::Registry(image)] = &outputs[..] else {
            panic!("{outputs:?}");
        };
        let names: Vec<String> = image.names.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["localhost/a:latest", "localhost/b:2"]);
        let recipe = &image.recipe;
        assert_eq!(
            recipe.packing,
            Packing::new(Compression::Zstd, Some(19)).expect("a level")
        );
        assert_eq!(recipe.format, Some(Format::Oci));
        let annotations: Vec<_> = recipe
            .annotations
            .iter()
            .map(|one| {
                (
                    one.name.as_str(),
                    one.value.as_str(),
                    one.platform.is_some(),
                )
            })
            .collect();
        assert_eq!(annotations, [("a.b", "c=d", true), ("k", "v", false)]);
    }

    #[test]
    fn what_means_nothing_is_named() {
        for (text, named) in [
            ("type=s3", "s3"),
            ("type=oci", "dest=PATH"),
            ("type=local,dest=-", "standard output"),
            ("type=oci,dest=-,tar=false", "standard output"),
            ("type=oci,dest=a,dest=b", "\"dest\" is given twice"),
            ("type=oci,dest=a,compresion=zstd", "\"compresion\""),
            ("type=local,dest=a,compression=zstd", "\"compression\""),
            ("type=tar,dest=a,name=x", "\"name\""),
            ("type=oci,dest=a,push=true", "\"push\""),
            (
                "type=oci,dest=a,rewrite-timestamp=true",
                "--rewrite-timestamp",
            ),
            ("type=oci,dest=a,compression=estargz", "estargz"),
            ("type=oci,dest=a,compression-level=10", "0 to 9"),
            (
                "type=oci,dest=a,compression=uncompressed,compression-level=1",
                "no levels",
            ),
            ("type=oci,dest=a,tar=maybe", "tar=maybe"),
            ("type=docker,dest=a,tar=false", "type=oci,tar=false"),
            ("type=docker,dest=a,compression=zstd", "\"compression\""),
            ("type=store,dest=x", "no dest"),
            ("type=store,compression=zstd", "push=true"),
            ("type=registry,name=A/B", "name=A/B"),
            ("type=oci,dest=a,annotation.=v", "annotation"),
            ("type=oci,dest=a,annotation-layer.a=v", "layer"),
            ("type=local,dest=a,mode=delete", "mode=delete"),
            ("type=local,\"dest=a", "quotation mark"),
            ("dest=x", "no type="),
            ("", "no type="),
        ] {
            assert!(refused(text).contains(named), "{text}: {}", refused(text));
        }
    }
}
