//! `--cache-from` and `--cache-to` in buildx's words. The invariant: an option that means nothing here is an error that says why.

use std::path::PathBuf;
use std::str::FromStr;

use builder::{CacheDestination, CacheFrom, CacheMode, CacheTo, Caches};
use image::{Compression, Packing, Reference};
use thiserror::Error;

use crate::args::csv::pairs;

/// Caches that machines share.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Shared cache")]
pub(super) struct CacheArgs {
    /// Look for results of steps here too: type=registry,ref=REF, or REF alone, or type=local,src=DIR[,tag=TAG|,digest=DIGEST]; repeatable
    #[arg(long = "cache-from", value_name = "CACHE")]
    from: Vec<CacheFromArg>,
    /// Put results of steps there: type=registry,ref=REF, or REF alone, type=local,dest=DIR[,tag=TAG] or type=inline; mode=max for all stages, compression=gzip|zstd|uncompressed, compression-level=N, ignore-error=true; repeatable
    #[arg(long = "cache-to", value_name = "CACHE")]
    to: Vec<CacheToArg>,
}

impl CacheArgs {
    pub(super) fn settings(self) -> Caches {
        Caches {
            from: self.from.into_iter().map(|from| from.0).collect(),
            to: self.to.into_iter().map(|to| to.0).collect(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct CacheFromArg(CacheFrom);

#[derive(Clone, Debug, PartialEq, Eq)]
struct CacheToArg(CacheTo);

/// Why a text is no cache.
#[derive(Debug, Error, PartialEq, Eq)]
enum ParseCacheError {
    #[error("{0}")]
    Fields(String),
    #[error("the type {0:?} is none of {1}")]
    Type(String, &'static str),
    #[error(
        "type={0} is the cache of a service that rbuild does not speak to; type=registry works wherever images are pushed to"
    )]
    Service(String),
    #[error("there is no {0}=")]
    Missing(&'static str),
    #[error("the option {0:?} is given twice")]
    Twice(String),
    #[error("type={kind} has no option {option:?}")]
    Option { kind: String, option: String },
    #[error("{option}={value}: expected {expected}")]
    Value {
        option: &'static str,
        value: String,
        expected: &'static str,
    },
    #[error("ref={name}: {reason}")]
    Reference { name: String, reason: String },
    #[error("compression-level: {0}")]
    Level(String),
    #[error(
        "registry.insecure: --insecure-registry HOST[:PORT] says so for everything that speaks to it"
    )]
    Insecure,
    #[error("{0}=false: caches are OCI image manifests, which every registry takes")]
    NoManifest(&'static str),
}

impl FromStr for CacheFromArg {
    type Err = ParseCacheError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut fields = Fields::of(text)?;
        let from = match &*fields.kind {
            "registry" => {
                fields.refuse_insecure()?;
                CacheFrom::Registry(fields.reference(true)?)
            }
            "local" => {
                let directory = fields.directory("src")?;
                let tag = fields.take("tag");
                let name = fields.take("digest").or(tag);
                let name = name.unwrap_or_else(|| image::cached::LAYOUT_NAME.to_owned());
                CacheFrom::Local { directory, name }
            }
            other => return Err(unknown(other, "registry, local")),
        };
        fields.end().map(|()| Self(from))
    }
}

impl FromStr for CacheToArg {
    type Err = ParseCacheError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut fields = Fields::of(text)?;
        let place = match &*fields.kind {
            "registry" => {
                fields.refuse_insecure()?;
                CacheDestination::Registry(fields.reference(false)?)
            }
            "local" => {
                let directory = fields.directory("dest")?;
                let name = fields.take("tag");
                let name = name.unwrap_or_else(|| image::cached::LAYOUT_NAME.to_owned());
                CacheDestination::Local { directory, name }
            }
            "inline" => {
                fields.end()?;
                return Ok(Self(CacheTo {
                    place: CacheDestination::Inline,
                    mode: CacheMode::Min,
                    packing: Packing::GZIP,
                    ignore_error: false,
                }));
            }
            other => return Err(unknown(other, "registry, local, inline")),
        };
        for option in ["oci-mediatypes", "image-manifest"] {
            if fields.boolean(option)? == Some(false) {
                return Err(ParseCacheError::NoManifest(option));
            }
        }
        // Layers of a cache are packed by rbuild, so that all have the compression that is asked for.
        let _ = fields.boolean("force-compression")?;
        let to = CacheTo {
            place,
            mode: fields.mode()?,
            packing: fields.packing()?,
            ignore_error: fields.boolean("ignore-error")?.unwrap_or(false),
        };
        fields.end().map(|()| Self(to))
    }
}

fn unknown(kind: &str, known: &'static str) -> ParseCacheError {
    match kind {
        "gha" | "s3" | "azblob" => ParseCacheError::Service(kind.to_owned()),
        _ => ParseCacheError::Type(kind.to_owned(), known),
    }
}

/// What nobody has taken yet.
struct Fields {
    kind: String,
    left: Vec<(String, String)>,
}

impl Fields {
    /// A text without an equals sign is the name of a registry's cache.
    fn of(text: &str) -> Result<Self, ParseCacheError> {
        let mut left = match text.contains('=') {
            true => pairs(text).map_err(ParseCacheError::Fields)?,
            false => vec![
                ("type".to_owned(), "registry".to_owned()),
                ("ref".to_owned(), text.to_owned()),
            ],
        };
        let mut names: Vec<&String> = left.iter().map(|(name, _)| name).collect();
        names.sort();
        if let Some(twice) = names.windows(2).find(|two| two[0] == two[1]) {
            return Err(ParseCacheError::Twice(twice[0].clone()));
        }
        let at = left.iter().position(|(name, _)| name == "type");
        let (_, kind) = left.remove(at.ok_or(ParseCacheError::Missing("type"))?);
        Ok(Self { kind, left })
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let at = self.left.iter().position(|(known, _)| known == name)?;
        Some(self.left.remove(at).1)
    }

    fn boolean(&mut self, option: &'static str) -> Result<Option<bool>, ParseCacheError> {
        self.take(option)
            .map(|value| match &*value {
                "true" | "1" => Ok(true),
                "false" | "0" => Ok(false),
                _ => Err(ParseCacheError::Value {
                    option,
                    value,
                    expected: "true or false",
                }),
            })
            .transpose()
    }

    fn refuse_insecure(&mut self) -> Result<(), ParseCacheError> {
        match self.boolean("registry.insecure")? {
            Some(true) => Err(ParseCacheError::Insecure),
            _ => Ok(()),
        }
    }

    fn reference(&mut self, pinned: bool) -> Result<Reference, ParseCacheError> {
        let name = self.take("ref").ok_or(ParseCacheError::Missing("ref"))?;
        let wrong = |reason: String| ParseCacheError::Reference {
            name: name.clone(),
            reason,
        };
        let parsed = name.parse::<Reference>();
        let reference = parsed.map_err(|error| wrong(error.to_string()))?;
        match reference.digest() {
            Some(_) if !pinned => Err(wrong("a new cache cannot have a digest".to_owned())),
            _ => Ok(reference),
        }
    }

    fn directory(&mut self, option: &'static str) -> Result<PathBuf, ParseCacheError> {
        let path = self.take(option).filter(|path| !path.is_empty());
        path.map(PathBuf::from)
            .ok_or(ParseCacheError::Missing(option))
    }

    fn mode(&mut self) -> Result<CacheMode, ParseCacheError> {
        match self.take("mode").as_deref() {
            None | Some("min") => Ok(CacheMode::Min),
            Some("max") => Ok(CacheMode::Max),
            Some(other) => Err(ParseCacheError::Value {
                option: "mode",
                value: other.to_owned(),
                expected: "min or max",
            }),
        }
    }

    fn packing(&mut self) -> Result<Packing, ParseCacheError> {
        let compression = match self.take("compression").as_deref() {
            None | Some("gzip") => Compression::Gzip,
            Some("zstd") => Compression::Zstd,
            Some("uncompressed") => Compression::None,
            Some(other) => {
                return Err(ParseCacheError::Value {
                    option: "compression",
                    value: other.to_owned(),
                    expected: "gzip, zstd or uncompressed",
                });
            }
        };
        let level = self.take("compression-level").map(|value| {
            value.parse().map_err(|_| ParseCacheError::Value {
                option: "compression-level",
                value,
                expected: "a number",
            })
        });
        Packing::new(compression, level.transpose()?)
            .map_err(|error| ParseCacheError::Level(error.to_string()))
    }

    fn end(&self) -> Result<(), ParseCacheError> {
        match self.left.first() {
            None => Ok(()),
            Some((option, _)) => Err(ParseCacheError::Option {
                kind: self.kind.clone(),
                option: option.clone(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(text: &str) -> Result<CacheFrom, String> {
        let parsed = text.parse::<CacheFromArg>();
        parsed.map(|arg| arg.0).map_err(|error| error.to_string())
    }

    fn to(text: &str) -> Result<CacheTo, String> {
        let parsed = text.parse::<CacheToArg>();
        parsed.map(|arg| arg.0).map_err(|error| error.to_string())
    }

    #[test]
    fn every_spelling_of_buildx_and_buildah() {
        let named = CacheFrom::Registry(Reference::from_static("q.io/app:cache"));
        assert_eq!(from("q.io/app:cache"), Ok(named.clone()));
        assert_eq!(from("type=registry,ref=q.io/app:cache"), Ok(named));
        let local = |name: &str| CacheFrom::Local {
            directory: "/c".into(),
            name: name.to_owned(),
        };
        assert_eq!(from("type=local,src=/c"), Ok(local("latest")));
        assert_eq!(from("type=local,src=/c,tag=x"), Ok(local("x")));
        let plain = to("type=registry,ref=q.io/app:cache").unwrap();
        assert_eq!(to("q.io/app:cache").unwrap(), plain);
        assert_eq!((plain.mode, plain.ignore_error), (CacheMode::Min, false));
        let all = "type=local,dest=/c,mode=max,compression=zstd,compression-level=9,ignore-error=true,\
                   oci-mediatypes=true,image-manifest=true,force-compression=true";
        let all = to(all).unwrap();
        assert_eq!((all.mode, all.ignore_error), (CacheMode::Max, true));
        assert_eq!(
            all.packing,
            Packing::new(Compression::Zstd, Some(9)).unwrap()
        );
        assert_eq!(to("type=inline").unwrap().place, CacheDestination::Inline);
    }

    #[test]
    fn what_means_nothing_here_is_refused_with_the_reason() {
        for (text, reason) in [
            ("type=gha", "type=registry works wherever"),
            ("type=x,ref=a", "none of registry, local"),
            ("type=registry", "there is no ref="),
            ("ref=a", "there is no type="),
            ("type=local,ref=a", "there is no src="),
            ("type=registry,ref=a,mode=max", "no option \"mode\""),
            ("type=registry,ref=a,ref=b", "given twice"),
            (
                "type=registry,ref=a,registry.insecure=true",
                "--insecure-registry",
            ),
            ("type=registry,ref=A", "ref=A"),
        ] {
            let refusal = from(text).expect_err(text);
            assert!(refusal.contains(reason), "{text}: {refusal}");
        }
        for (text, reason) in [
            ("type=s3,bucket=b", "type=registry works wherever"),
            ("type=inline,mode=max", "no option \"mode\""),
            ("type=registry,ref=a,mode=all", "min or max"),
            ("type=registry,ref=a,compression=estargz", "gzip, zstd"),
            ("type=registry,ref=a,compression-level=11", "0 to 9"),
            (
                "type=registry,ref=a,oci-mediatypes=false",
                "every registry takes",
            ),
            (
                "type=registry,ref=a,image-manifest=false",
                "every registry takes",
            ),
            ("type=local,src=d", "there is no dest="),
        ] {
            let refusal = to(text).expect_err(text);
            assert!(refusal.contains(reason), "{text}: {refusal}");
        }
    }
}
