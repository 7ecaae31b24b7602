//! Arguments that stand in files. The invariant: a line is an argument as it would stand on the command line, or an error with its
//! number.

use std::path::Path;

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
