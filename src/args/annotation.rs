//! `--annotation` and `annotation.KEY=VALUE` of `-o`, in buildx's words. The invariant: a word in front of a colon is a level only
//! where buildx knows it as one.

use builder::{Annotation, AnnotationLevel};
use image::Platform;
use thiserror::Error;

/// Why a text is no annotation.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum ParseAnnotationError {
    /// There is no name or no value.
    #[error("the annotation {0}: expected [LEVEL[PLATFORM]:]NAME=VALUE")]
    Pair(String),
    /// The level is unknown.
    #[error(
        "the annotation level {0:?} is none of manifest, manifest-descriptor, index, index-descriptor"
    )]
    Level(String),
    /// The platform is none.
    #[error("the annotation's platform {platform:?}: {reason}")]
    Platform {
        /// What was given.
        platform: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// `[LEVEL[PLATFORM][,LEVEL...]:]NAME=VALUE`; without a level it is of the manifest.
pub(crate) fn flag(text: &str) -> Result<Vec<Annotation>, ParseAnnotationError> {
    let pair = || ParseAnnotationError::Pair(text.to_owned());
    let (key, value) = text.split_once('=').ok_or_else(pair)?;
    let (levels, name) = match key.split_once(':') {
        // A name may hold a colon itself, as a URL does: only words of levels are levels.
        Some((levels, name)) if levels.split(',').all(is_level) => (levels, name),
        _ => ("manifest", key),
    };
    if name.is_empty() {
        return Err(pair());
    }
    levels
        .split(',')
        .map(|level| of(level, name, value.to_owned()))
        .collect()
}

/// `annotation[-LEVEL[PLATFORM]].NAME`.
pub(crate) fn option(key: &str, value: String) -> Result<Annotation, ParseAnnotationError> {
    let pair = || ParseAnnotationError::Pair(format!("{key}={value}"));
    let (level, name) = key
        .strip_prefix("annotation")
        .and_then(|rest| rest.split_once('.'))
        .filter(|(_, name)| !name.is_empty())
        .ok_or_else(pair)?;
    let level = match level {
        "" => "manifest",
        level => level.strip_prefix('-').ok_or_else(pair)?,
    };
    of(level, name, value.clone())
}

fn is_level(word: &str) -> bool {
    let word = word.split('[').next().unwrap_or_default();
    matches!(
        word,
        "manifest" | "manifest-descriptor" | "index" | "index-descriptor"
    )
}

fn of(level: &str, name: &str, value: String) -> Result<Annotation, ParseAnnotationError> {
    let (word, platform) = match level
        .strip_suffix(']')
        .and_then(|rest| rest.split_once('['))
    {
        Some((word, platform)) => (word, Some(platform)),
        None => (level, None),
    };
    let level = match word {
        "manifest" => AnnotationLevel::Manifest,
        "manifest-descriptor" => AnnotationLevel::ManifestDescriptor,
        "index" => AnnotationLevel::Index,
        "index-descriptor" => AnnotationLevel::IndexDescriptor,
        other => return Err(ParseAnnotationError::Level(other.to_owned())),
    };
    let platform = platform
        .map(|text| {
            text.parse::<Platform>()
                .map_err(|error| ParseAnnotationError::Platform {
                    platform: text.to_owned(),
                    reason: error.to_string(),
                })
        })
        .transpose()?;
    Ok(Annotation {
        level,
        platform,
        name: name.to_owned(),
        value,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<String> {
        let all = flag(text).expect(text);
        let show = |one: Annotation| format!("{:?} {}={}", one.level, one.name, one.value);
        all.into_iter().map(show).collect()
    }

    #[test]
    fn levels_stand_in_front_of_the_name() {
        assert_eq!(shown("a=b=c"), ["Manifest a=b=c"]);
        assert_eq!(shown("a="), ["Manifest a="]);
        assert_eq!(
            shown("manifest,manifest-descriptor:a=b"),
            ["Manifest a=b", "ManifestDescriptor a=b"]
        );
        assert_eq!(
            shown("index,index-descriptor:a=b"),
            ["Index a=b", "IndexDescriptor a=b"]
        );
        assert_eq!(shown("https://x.io/a=b"), ["Manifest https://x.io/a=b"]);
        let one = flag("manifest[linux/arm64]:a=b").expect("one").remove(0);
        assert_eq!(one.platform, Some(Platform::linux("arm64")));
    }

    #[test]
    fn what_cannot_apply_is_an_error() {
        for (text, named) in [
            ("a", "NAME=VALUE"),
            ("=b", "NAME=VALUE"),
            ("manifest:=b", "NAME=VALUE"),
            ("manifest[nowhere at all]:a=b", "nowhere at all"),
        ] {
            let error = flag(text).expect_err(text).to_string();
            assert!(error.contains(named), "{text}: {error}");
        }
    }
}
