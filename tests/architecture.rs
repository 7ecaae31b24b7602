//! The rules of ARCHITECTURE.md that a compiler does not hold: who may know whom, and what a library may not touch. The
//! invariant: a new edge or a new reach into the surroundings is a decision in a table here, never an accident.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Every crate and the crates of ours that it may depend on.
const EDGES: [(&str, &[&str]); 7] = [
    ("image", &[]),
    ("containerfile", &[]),
    ("rootfs", &["image"]),
    ("sandbox", &[]),
    ("builder", &["containerfile", "image", "rootfs", "sandbox"]),
    ("runner", &["image", "rootfs", "sandbox"]),
    (
        ".",
        &[
            "builder",
            "containerfile",
            "image",
            "rootfs",
            "runner",
            "sandbox",
        ],
    ),
];

/// What only `src/` does: libraries are handed values and report events.
const SURROUNDINGS: [&str; 7] = [
    "env::var",
    "env::vars",
    "home_dir",
    "SystemTime::now",
    "println!",
    "eprintln!",
    "env::current_dir",
];

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The names in the `[dependencies]` table of a manifest. Ours are all written `name.workspace = true`.
fn dependencies(manifest: &str) -> BTreeSet<&str> {
    manifest
        .lines()
        .skip_while(|line| *line != "[dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split(['.', '=', ' ']).next())
        .filter(|name| !name.is_empty())
        .collect()
}

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a source directory") {
        let path = entry.expect("an entry of it").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The part of a file that is not tests.
fn shipped(text: &str) -> &str {
    text.split("\n#[cfg(test)]").next().unwrap_or(text)
}

#[test]
fn dependencies_point_downwards_only() {
    let ours: BTreeSet<&str> = EDGES.iter().map(|(name, _)| *name).collect();
    for (name, allowed) in EDGES {
        let path = repository().join(name).join("Cargo.toml");
        let manifest = fs::read_to_string(&path).expect("a manifest");
        let known: BTreeSet<&str> = dependencies(&manifest)
            .into_iter()
            .filter(|dependency| ours.contains(dependency))
            .collect();
        let allowed: BTreeSet<&str> = allowed.iter().copied().collect();
        let excess: Vec<_> = known.difference(&allowed).collect();
        assert!(
            excess.is_empty(),
            "{} depends on {excess:?}",
            path.display()
        );
    }
}

#[test]
fn libraries_do_not_look_around_and_do_not_print() {
    let mut complaints = Vec::new();
    for (name, _) in EDGES.iter().filter(|(name, _)| *name != ".") {
        let mut files = Vec::new();
        sources(&repository().join(name).join("src"), &mut files);
        for file in files {
            if file.file_name().is_some_and(|name| name == "tests.rs") {
                continue;
            }
            let text = fs::read_to_string(&file).expect("a source file");
            let shown = file
                .strip_prefix(repository())
                .unwrap_or(&file)
                .display()
                .to_string();
            for word in SURROUNDINGS {
                let used = shipped(&text)
                    .lines()
                    .any(|line| !line.trim_start().starts_with("//") && line.contains(word));
                if used {
                    complaints.push(format!("{shown} uses {word}"));
                }
            }
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn unsafe_code_is_in_one_file() {
    let mut files = Vec::new();
    for (name, _) in EDGES.iter().filter(|(name, _)| *name != ".") {
        sources(&repository().join(name).join("src"), &mut files);
    }
    sources(&repository().join("src"), &mut files);
    let with_unsafe: Vec<String> = files
        .into_iter()
        .filter(|file| {
            let text = fs::read_to_string(file).expect("a source file");
            text.contains("unsafe {") || text.contains("unsafe fn")
        })
        .map(|file| {
            file.strip_prefix(repository())
                .unwrap_or(&file)
                .display()
                .to_string()
        })
        .collect();
    assert_eq!(with_unsafe, ["sandbox/src/sys.rs"]);
}

#[test]
fn every_source_file_opens_with_what_it_is() {
    let mut files = Vec::new();
    for (name, _) in EDGES.iter().filter(|(name, _)| *name != ".") {
        sources(&repository().join(name).join("src"), &mut files);
    }
    sources(&repository().join("src"), &mut files);
    let silent: Vec<_> = files
        .iter()
        .filter(|file| {
            !fs::read_to_string(file)
                .expect("a source file")
                .starts_with("//!")
        })
        .collect();
    assert!(silent.is_empty(), "no module comment: {silent:?}");
}

#[test]
fn the_documents_stand_alone() {
    for document in [
        "README.md",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "SECURITY.md",
        "CONTRIBUTING.md",
    ] {
        let text = fs::read_to_string(repository().join(document)).expect("a document");
        assert!(
            !text.contains("../shared"),
            "{document} refers to a directory that users do not have"
        );
    }
}
