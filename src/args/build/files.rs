//! Arguments that stand in files. The invariant: a line is an argument as it would stand on the command line, or an error with its
//! number.

use std::path::{Path, PathBuf};

use builder::ClosureRules;

use crate::failure::{Failure, Kind};
use crate::surroundings::Surroundings;

/// `--build-arg-file`: `NAME=VALUE` or `NAME` lines; empty ones and those that begin with `#` say nothing (buildah).
pub(super) fn build_args(
    path: &Path,
    here: &Surroundings,
) -> Result<Vec<(String, String)>, Failure> {
    let name = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| {
        let what = format!("read --build-arg-file {name}");
        Failure::new(Kind::Usage, anyhow::Error::new(error).context(what))
    })?;
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.split_once('=') {
            Some(("", _)) => {
                let number = number + 1;
                return Err(Failure::usage(format!(
                    "{name}, line {number}: expected NAME=VALUE or NAME"
                )));
            }
            Some((key, value)) => found.push((key.to_owned(), value.to_owned())),
            None => found.extend(here.variable(line)?.map(|value| (line.to_owned(), value))),
        }
    }
    Ok(found)
}

/// `--closure-rules`: the files of a directory in the order of their names.
pub(super) fn closure_rules(directories: &[PathBuf]) -> Result<ClosureRules, Failure> {
    let mut rules = ClosureRules::default();
    for directory in directories {
        let unreadable = |error: std::io::Error| {
            let what = format!("read --closure-rules {}", directory.display());
            Failure::new(Kind::Usage, anyhow::Error::new(error).context(what))
        };
        let mut files = Vec::new();
        for entry in std::fs::read_dir(directory).map_err(unreadable)? {
            files.push(entry.map_err(unreadable)?.path());
        }
        files.retain(|path| path.extension().is_some_and(|ending| ending == "rule"));
        files.sort();
        if files.is_empty() {
            let name = directory.display();
            return Err(Failure::usage(format!(
                "--closure-rules {name}: there is no file *.rule in it"
            )));
        }
        for path in files {
            let text = std::fs::read_to_string(&path).map_err(unreadable)?;
            rules.add(text).map_err(|error| {
                let what = format!("understand {}", path.display());
                Failure::new(Kind::Usage, anyhow::Error::new(error).context(what))
            })?;
        }
    }
    Ok(rules)
}
