//! `.rbuild.toml`: what a project decides about its findings. The invariant: the nearest file from the examined one upwards counts,
//! alone, and a word in it that means nothing is an error.

use std::collections::{BTreeMap, HashMap};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use containerfile::Severity;
use containerfile::lint;
use serde::Deserialize;

use super::files::Input;
use crate::failure::{Failure, Kind};

const NAME: &str = ".rbuild.toml";

/// A configuration file is small.
const LARGEST: u64 = 1 << 20;

/// What one file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Config {
    /// Rules with another severity; `None` for those that are off.
    pub(super) severities: BTreeMap<&'static str, Option<Severity>>,
    /// The registries that images may come from; empty for any.
    pub(super) trusted_registries: Vec<String>,
}

/// The configurations that were read.
pub(super) struct Configs {
    /// The one of `--config`, for all files.
    fixed: Option<Config>,
    found: HashMap<PathBuf, Config>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    lint: Lint,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Lint {
    #[serde(default)]
    disabled: Vec<String>,
    #[serde(default)]
    trusted_registries: Vec<String>,
    #[serde(default)]
    severity: BTreeMap<String, Level>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Error,
    Warning,
    Info,
}

impl Configs {
    /// Reads the file of `--config`, if one is named.
    pub(super) fn new(named: Option<&Path>) -> Result<Self, Failure> {
        let read = |path: &Path| {
            read(path)?.ok_or_else(|| Failure::usage(format!("find {}", path.display())))
        };
        Ok(Self {
            fixed: named.map(read).transpose()?,
            found: HashMap::new(),
        })
    }

    /// What counts for a file; for standard input it is looked for from the working directory.
    pub(super) fn of(&mut self, input: &Input) -> Result<Config, Failure> {
        if let Some(fixed) = &self.fixed {
            return Ok(fixed.clone());
        }
        let directory = match input {
            Input::File(path) => path
                .parent()
                .filter(|parent| !parent.as_os_str().is_empty()),
            Input::Stdin => None,
        };
        let directory = directory.unwrap_or(Path::new("."));
        if let Some(known) = self.found.get(directory) {
            return Ok(known.clone());
        }
        // Where it cannot be told, reading the Containerfile says why.
        let absolute = directory.canonicalize().unwrap_or_default();
        let mut config = Config::default();
        for above in absolute.ancestors() {
            if let Some(found) = read(&above.join(NAME))? {
                config = found;
                break;
            }
        }
        self.found.insert(directory.to_owned(), config.clone());
        Ok(config)
    }
}

fn read(path: &Path) -> Result<Option<Config>, Failure> {
    let what = || format!("read {}", path.display());
    let bytes = match std::fs::metadata(path).map(|metadata| metadata.len()) {
        Ok(length) if length > LARGEST => {
            return Err(Failure::usage(format!(
                "{}: it is larger than 1 MiB",
                what()
            )));
        }
        Ok(_) => std::fs::read(path),
        Err(error) => Err(error),
    };
    let bytes = match bytes {
        Ok(bytes) => bytes,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => {
            return Err(Failure::new(
                Kind::Failed,
                anyhow::Error::new(error).context(what()),
            ));
        }
    };
    let text = String::from_utf8(bytes)
        .map_err(|_| Failure::usage(format!("{}: it is not UTF-8", what())))?;
    parse(&text)
        .map(Some)
        .map_err(|why| Failure::usage(format!("{}: {}", what(), why.trim_end())))
}

fn parse(text: &str) -> Result<Config, String> {
    let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
    let mut config = Config {
        trusted_registries: file.lint.trusted_registries,
        ..Config::default()
    };
    let severities = file
        .lint
        .severity
        .iter()
        .map(|(name, level)| (name, Some(*level)));
    let disabled = file.lint.disabled.iter().map(|name| (name, None));
    for (name, level) in severities.chain(disabled) {
        let rule = lint::rule(name).ok_or_else(|| format!("there is no rule {name:?}"))?;
        if rule.id == "RB000" {
            return Err("RB000 is what no builder can read: it is always an error".to_owned());
        }
        let severity = level.map(|level| match level {
            Level::Error => Severity::Error,
            Level::Warning => Severity::Warning,
            Level::Info => Severity::Info,
        });
        if config.severities.insert(rule.id, severity).is_some() {
            return Err(format!("{} is named twice", rule.id));
        }
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_known_by_any_name() {
        let text = "[lint]\ndisabled = [\"DL3057\"]\ntrusted-registries = [\"quay.io\"]\n[lint.severity]\nrb201 = \"error\"\n";
        let config = parse(text).unwrap();
        assert_eq!(
            config.severities,
            [("RB201", Some(Severity::Error)), ("RB501", None)].into()
        );
        assert_eq!(config.trusted_registries, ["quay.io"]);
        assert_eq!(parse("").unwrap(), Config::default());
    }

    #[test]
    fn what_means_nothing_is_an_error() {
        for (text, why) in [
            ("[lint]\ndisabled = [\"RB999\"]", "RB999"),
            ("[lint]\ndisabled = [\"RB000\"]", "RB000"),
            (
                "[lint]\ndisabled = [\"RB103\", \"DL3066\"]",
                "RB103 is named twice",
            ),
            ("[lint.severity]\nRB103 = \"fatal\"", "fatal"),
            ("[lint]\nignored = []", "ignored"),
            ("[lints]", "lints"),
            ("[lint", "line 1"),
        ] {
            let said = parse(text).unwrap_err();
            assert!(said.contains(why), "{text:?}: {said}");
        }
    }
}
