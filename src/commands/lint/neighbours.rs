//! What lies around an examined file and says how it is used: scripts beside it, the project's CI files, the Containerfile of a unit.
//! The invariant: only small regular files of well-known names are read, and one that cannot be read counts as absent.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use containerfile::lint::{self, Neighbour};

use super::files::Input;

/// Larger files are not written by hand.
const LARGEST: u64 = 256 << 10;

/// More scripts in one directory are no longer about one Containerfile.
const MOST: usize = 32;

const SCRIPTS: [&str; 10] = [
    "Makefile",
    "GNUmakefile",
    "makefile",
    "justfile",
    "Justfile",
    "Taskfile.yml",
    "compose.yaml",
    "compose.yml",
    "docker-compose.yaml",
    "docker-compose.yml",
];

const CI_FILES: [&str; 8] = [
    ".gitlab-ci.yml",
    ".woodpecker.yml",
    ".drone.yml",
    ".travis.yml",
    ".circleci/config.yml",
    "azure-pipelines.yml",
    "bitbucket-pipelines.yml",
    "Jenkinsfile",
];

const CI_DIRECTORIES: [&str; 4] = [
    ".github/workflows",
    ".forgejo/workflows",
    ".gitea/workflows",
    ".woodpecker",
];

/// What was read of projects.
#[derive(Default)]
pub(super) struct Neighbours {
    projects: HashMap<PathBuf, Vec<Neighbour>>,
    roots: HashMap<PathBuf, Option<PathBuf>>,
}

impl Neighbours {
    /// The files that rules want to know beside an examined one.
    pub(super) fn of(&mut self, input: &Input, text: &str) -> Vec<Neighbour> {
        let Input::File(path) = input else {
            return Vec::new();
        };
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let name = path.file_name().map(|name| name.to_string_lossy());
        if name.is_some_and(|name| lint::is_unit(&name, text)) {
            return ["Containerfile", "Dockerfile"]
                .iter()
                .filter_map(|name| read(&directory.join(name), directory))
                .collect();
        }
        let wanted = ["_VERSION", "EXPOSE", "HEALTHCHECK", "expose", "healthcheck"];
        if !wanted.iter().any(|word| text.contains(word)) {
            return Vec::new();
        }
        let mut found = scripts(directory);
        found.extend_from_slice(self.ci_files(directory));
        found
    }

    fn ci_files(&mut self, directory: &Path) -> &[Neighbour] {
        let root = self
            .roots
            .entry(directory.to_owned())
            .or_insert_with(|| project(directory));
        match root {
            Some(root) => self
                .projects
                .entry(root.clone())
                .or_insert_with(|| ci_files(root)),
            None => &[],
        }
    }
}

/// The work tree that a directory is in.
fn project(directory: &Path) -> Option<PathBuf> {
    let absolute = directory.canonicalize().ok()?;
    let mut above = absolute.ancestors();
    above
        .find(|above| above.join(".git").exists())
        .map(Path::to_owned)
}

fn ci_files(root: &Path) -> Vec<Neighbour> {
    let mut paths: Vec<PathBuf> = CI_FILES.iter().map(|name| root.join(name)).collect();
    for directory in CI_DIRECTORIES {
        paths.extend(listed(&root.join(directory), |name| {
            name.ends_with(".yml") || name.ends_with(".yaml")
        }));
    }
    paths.iter().filter_map(|path| read(path, root)).collect()
}

fn scripts(directory: &Path) -> Vec<Neighbour> {
    let paths = listed(directory, |name| {
        SCRIPTS.contains(&name) || name.ends_with(".sh")
    });
    paths
        .iter()
        .filter_map(|path| read(path, directory))
        .collect()
}

/// The files of a directory whose names are wanted, in the order of their names.
fn listed(directory: &Path, wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries
        .filter(|entry| entry.file_name().to_str().is_some_and(&wanted))
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    paths.truncate(MOST);
    paths
}

/// A file, called by its path below a directory.
fn read(path: &Path, below: &Path) -> Option<Neighbour> {
    let metadata = fs::metadata(path).ok()?;
    if !metadata.is_file() || metadata.len() > LARGEST {
        return None;
    }
    let text: Arc<str> = fs::read_to_string(path).ok()?.into();
    let name = path.strip_prefix(below).unwrap_or(path);
    Some(Neighbour {
        name: name.to_string_lossy().into_owned(),
        text,
    })
}
