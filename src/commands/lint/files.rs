//! Which files are examined, and how they are read and changed. The invariant: whatever a file holds, reading it ends with a text or
//! with a finding; a changed file is whole, or still the old one.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use containerfile::{Diagnostic, Span, lint};

use super::super::containerfile::{LARGEST, read_file, read_stdin};
use crate::failure::{Failure, Kind};

/// The section of a unit stands near its beginning.
const UNIT_BEGINS: u64 = 64 << 10;

/// What is read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Input {
    Stdin,
    File(PathBuf),
}

/// What a file holds.
pub(super) enum Text {
    Good(String),
    /// What can be shown of it, and what is wrong.
    Bad(String, Box<Diagnostic>),
}

/// The files that the arguments mean: named ones whatever they are called, and in directories what is called like a Containerfile,
/// or like a unit of Quadlet and has the section of one.
pub(super) fn find(paths: &[PathBuf], stdin: bool) -> Result<Vec<Input>, Failure> {
    if stdin {
        return Ok(vec![Input::Stdin]);
    }
    let here = [PathBuf::from(".")];
    let paths = if paths.is_empty() { &here } else { paths };
    let mut found = BTreeSet::new();
    for path in paths {
        if path.as_os_str() == "-" {
            found.insert(Input::Stdin);
        } else if path.is_dir() {
            let before = found.len();
            walk(path, &mut found)?;
            if found.len() == before && paths.len() == 1 {
                return Err(Failure::failed(format!(
                    "find a Containerfile or a Dockerfile in or below {}",
                    path.display()
                ))
                .hint("name one"));
            }
        } else {
            found.insert(Input::File(path.clone()));
        }
    }
    Ok(found.into_iter().collect())
}

/// Links to directories are not followed, so a walk ends.
fn walk(directory: &Path, found: &mut BTreeSet<Input>) -> Result<(), Failure> {
    let mut waiting = vec![directory.to_owned()];
    while let Some(directory) = waiting.pop() {
        let failed = |error| failed(&format!("list {}", directory.display()), error);
        for entry in fs::read_dir(&directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let path = match directory.as_os_str() == "." {
                true => PathBuf::from(&name),
                false => directory.join(&name),
            };
            let kind = entry.file_type().map_err(failed)?;
            if kind.is_dir() {
                waiting.push(path);
            } else if (name.to_str())
                .is_some_and(|name| is_containerfile(name) || is_unit(name, &path))
                && path.is_file()
            {
                found.insert(Input::File(path));
            }
        }
    }
    Ok(())
}

/// Others use such names too, so the text must look like one.
fn is_unit(name: &str, path: &Path) -> bool {
    let begins = |path: &Path| -> std::io::Result<String> {
        let mut begins = Vec::new();
        fs::File::open(path)?
            .take(UNIT_BEGINS)
            .read_to_end(&mut begins)?;
        Ok(String::from_utf8_lossy(&begins).into_owned())
    };
    lint::may_be_unit(name)
        && path.is_file()
        && begins(path).is_ok_and(|text| lint::is_unit(name, &text))
}

/// `Containerfile`, `Containerfile.dev`, `app.Containerfile`, `app.dockerfile`, and so for Dockerfile; not their ignore files.
fn is_containerfile(name: &str) -> bool {
    let ignore = name.ends_with(".containerignore") || name.ends_with(".dockerignore");
    let is = |kind: &str| {
        let before = name
            .strip_prefix(kind)
            .is_some_and(|rest| rest.starts_with('.') && rest.len() > 1);
        let after = name
            .strip_suffix(kind)
            .is_some_and(|rest| rest.ends_with('.') && rest.len() > 1);
        name == kind || before || after
    };
    !ignore
        && (is("Containerfile")
            || is("Dockerfile")
            || (name.len() > 11 && name.ends_with(".dockerfile")))
}

impl Input {
    /// What findings call it.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Stdin => "-".to_owned(),
            Self::File(path) => path.to_string_lossy().into_owned(),
        }
    }

    /// Reads it.
    pub(super) fn read(&self) -> Result<Text, Failure> {
        let bytes = match self {
            Self::Stdin => read_stdin()?,
            Self::File(path) => read_file(path)?,
        };
        let Some(bytes) = bytes else {
            let message = format!("the file is larger than {} MiB", LARGEST >> 20);
            return Ok(Text::Bad(
                String::new(),
                Box::new(unreadable(Span::default(), message)),
            ));
        };
        Ok(match String::from_utf8(bytes) {
            Ok(text) => Text::Good(text),
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                let shown = String::from_utf8_lossy(error.as_bytes()).into_owned();
                let span = Span::new(at, at + char::REPLACEMENT_CHARACTER.len_utf8());
                Text::Bad(shown, Box::new(unreadable(span, "this is not UTF-8")))
            }
        })
    }
}

fn unreadable(span: Span, message: impl Into<String>) -> Diagnostic {
    Diagnostic {
        rule: Some("RB000"),
        ..Diagnostic::error(span, message)
    }
}

/// Puts a new text in the place of a file, links followed, its mode kept.
pub(super) fn replace(path: &Path, text: &str) -> Result<(), Failure> {
    let failed = |error| failed(&format!("write {}", path.display()), error);
    let target = path.canonicalize().map_err(failed)?;
    let mode = fs::metadata(&target).map_err(failed)?.permissions();
    put(&target, text, Some(mode)).map_err(failed)
}

/// The same for a file that need not be there.
pub(super) fn replace_or_create(path: &Path, text: &str) -> Result<(), Failure> {
    match path.exists() {
        true => replace(path, text),
        false => put(path, text, None)
            .map_err(|error| failed(&format!("write {}", path.display()), error)),
    }
}

/// Writes beside the target, and renames.
fn put(target: &Path, text: &str, mode: Option<fs::Permissions>) -> std::io::Result<()> {
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let beside = target.with_file_name(name);
    let written = || {
        let mut file = fs::File::create_new(&beside)?;
        file.write_all(text.as_bytes())?;
        if let Some(mode) = mode {
            file.set_permissions(mode)?;
        }
        file.sync_all()?;
        fs::rename(&beside, target)
    };
    written().inspect_err(|_| {
        let _ = fs::remove_file(&beside);
    })
}

fn failed(what: &str, error: std::io::Error) -> Failure {
    Failure::new(
        Kind::Failed,
        anyhow::Error::new(error).context(what.to_owned()),
    )
}

#[cfg(test)]
mod tests {
    use super::is_containerfile;

    #[test]
    fn containerfiles_are_known_by_their_names() {
        for name in [
            "Containerfile",
            "Dockerfile",
            "app.Containerfile",
            "Containerfile.dev",
            "Dockerfile.alpine",
            "x.dockerfile",
        ] {
            assert!(is_containerfile(name), "{name}");
        }
        for name in [
            "Containerfiles",
            "containerfile",
            ".dockerfile",
            "Containerfile.containerignore",
            "Dockerfile.dockerignore",
            "Containerfile.",
            "a.md",
        ] {
            assert!(!is_containerfile(name), "{name}");
        }
    }
}
