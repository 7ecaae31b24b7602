//! `.rbuild.toml`: what a project decides about its findings. The invariant: the nearest file from the examined one upwards counts,
//! alone, and a word in it that means nothing is an error.

use std::collections::{BTreeMap, HashMap};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use containerfile::Severity;
use containerfile::lint::{self, LabelForm, Limits};
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
    /// The labels that images must have, and their forms.
    pub(super) labels: BTreeMap<String, LabelForm>,
    /// Whether there may be no other label.
    pub(super) strict_labels: bool,
    /// Where rules draw their lines.
    pub(super) limits: Limits,
    /// Whether ShellCheck is called where it is installed; it is unless something is said.
    pub(super) shellcheck: Option<bool>,
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
    shellcheck: Option<bool>,
    #[serde(default)]
    severity: BTreeMap<String, Level>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    strict_labels: bool,
    #[serde(default)]
    rules: Rules,
}

/// Options of rules.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    #[serde(rename = "RB106")]
    ids: Option<Ids>,
    #[serde(rename = "RB401")]
    ports: Option<Ports>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Ids {
    highest_id: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Ports {
    first_port: u16,
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
        let directory = match input {
            Input::File(path) => path
                .parent()
                .filter(|parent| !parent.as_os_str().is_empty()),
            Input::Stdin => None,
        };
        self.of_directory(directory.unwrap_or(Path::new(".")))
    }

    fn of_directory(&mut self, directory: &Path) -> Result<Config, Failure> {
        if let Some(fixed) = &self.fixed {
            return Ok(fixed.clone());
        }
        if let Some(known) = self.found.get(directory) {
            return Ok(known.clone());
        }
        // Where it cannot be told, reading the Containerfile says why.
        let absolute = directory.canonicalize().unwrap_or_default();
        let mut config = Config::default();
        for above in absolute.ancestors() {
            let path = above.join(NAME);
            refuse_special(&path)?;
            if let Some(found) = read(&path)? {
                config = found;
                break;
            }
        }
        ignored_for_others(directory, &mut config);
        self.found.insert(directory.to_owned(), config.clone());
        Ok(config)
    }
}

/// Turns off what dockle and Trivy are told to ignore by files beside the examined one: a name in each line, comments after `#`.
fn ignored_for_others(directory: &Path, config: &mut Config) {
    for name in [".dockleignore", ".trivyignore"] {
        let path = directory.join(name);
        let small = std::fs::metadata(&path)
            .is_ok_and(|metadata| metadata.is_file() && metadata.len() <= LARGEST);
        let text = small.then(|| std::fs::read_to_string(&path).ok()).flatten();
        for line in text.iter().flat_map(|text| text.lines()) {
            let name = line.split(['#', ' ', '\t']).next().unwrap_or_default();
            for rule in lint::rules_named(name) {
                config.severities.entry(rule.id).or_insert(None);
            }
        }
    }
}

/// What is found rather than named must be a file: a fifo would be waited for, and anybody can put one above a project.
fn refuse_special(path: &Path) -> Result<(), Failure> {
    let special = |metadata: std::fs::Metadata| !metadata.is_file() && !metadata.is_dir();
    match std::fs::metadata(path).is_ok_and(special) {
        true => Err(Failure::failed(format!(
            "read {}: it is no regular file",
            path.display()
        ))),
        false => Ok(()),
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
        strict_labels: file.lint.strict_labels,
        shellcheck: file.lint.shellcheck,
        ..Config::default()
    };
    for (label, form) in file.lint.labels {
        let known = LabelForm::named(&form).ok_or_else(|| {
            let all = LabelForm::ALL.map(|(name, _)| name).join(", ");
            format!("{form:?}, of the label {label}, is none of {all}")
        })?;
        config.labels.insert(label, known);
    }
    if let Some(ids) = file.lint.rules.ids {
        config.limits.highest_id = ids.highest_id;
    }
    if let Some(ports) = file.lint.rules.ports {
        config.limits.first_port = ports.first_port;
    }
    let severities = file
        .lint
        .severity
        .iter()
        .map(|(name, level)| (name, Some(*level)));
    let disabled = file.lint.disabled.iter().map(|name| (name, None));
    for (name, level) in severities.chain(disabled) {
        let id = lint::id(name).ok_or_else(|| format!("there is no rule {name:?}"))?;
        if id == "RB000" {
            return Err("RB000 is what no builder can read: it is always an error".to_owned());
        }
        let severity = level.map(|level| match level {
            Level::Error => Severity::Error,
            Level::Warning => Severity::Warning,
            Level::Info => Severity::Info,
        });
        if config.severities.insert(id, severity).is_some() {
            return Err(format!("{id} is named twice"));
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
        let text = "[lint]\nstrict-labels = true\n[lint.labels]\n\"a.b\" = \"semver\"\n[lint.rules.RB106]\nhighest-id = 7\n[lint.rules.RB401]\nfirst-port = 80\n";
        let config = parse(text).unwrap();
        assert_eq!(
            config.labels,
            [("a.b".to_owned(), LabelForm::Semver)].into()
        );
        assert!(config.strict_labels);
        assert_eq!(
            (config.limits.highest_id, config.limits.first_port),
            (7, 80)
        );
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
            ("[lint.labels]\nx = \"number\"", "number"),
            ("[lint.rules.RB103]\nx = 1", "RB103"),
            ("[lint.rules.RB401]\nfirst-port = 70000", "70000"),
            ("[lints]", "lints"),
            ("[lint", "line 1"),
        ] {
            let said = parse(text).unwrap_err();
            assert!(said.contains(why), "{text:?}: {said}");
        }
    }
}
