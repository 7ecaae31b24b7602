//! `rbuild init`. The invariant: either every file of a template is written, or nothing was: what is there is never overwritten.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use anyhow::Context as _;
use image::Reference;

use super::templates::{CI, SHARED, TEMPLATES};
use crate::args::init::{InitSettings, What};
use crate::failure::{Failure, Kind};
use crate::show;
use crate::stdout::{print, table};

/// A file to be written: its path below the directory, and its text.
struct Planned {
    path: String,
    text: String,
}

/// Writes what was asked for and prints the paths.
pub(super) fn init(settings: InitSettings) -> Result<(), Failure> {
    let (what, directory, image) = match settings {
        InitSettings::List => return print(&list()),
        InitSettings::Write {
            what,
            directory,
            image,
        } => (what, directory, image),
    };
    let files = plan(what, &image);
    refuse_to_overwrite(&directory, &files)?;
    for file in &files {
        write(&directory.join(&file.path), &file.text)
            .map_err(|error| Failure::new(Kind::Failed, error))?;
    }
    let paths = files.iter().map(|file| directory.join(&file.path));
    let lines = paths.map(|path| format!("{}\n", show::escape(&path.display().to_string())));
    print(&lines.collect::<String>())?;
    if let What::Template(_) = what {
        let directory = show::escape(&directory.display().to_string());
        show::note(&format!("build it: rbuild -t {} {directory}", name(&image)));
    }
    Ok(())
}

fn list() -> String {
    let templates = TEMPLATES.iter().map(|one| (one.name.to_owned(), one.about));
    let ci = CI.iter().map(|one| (format!("ci {}", one.name), one.about));
    let rows = templates.chain(ci);
    let rows: Vec<_> = rows
        .map(|(name, about)| vec![name, about.to_owned()])
        .collect();
    table(&rows)
}

/// What the image is called without its registry.
fn name(image: &Reference) -> &str {
    let repository = image.repository();
    repository.rsplit('/').next().unwrap_or(repository)
}

/// The files, with their names filled in.
fn plan(what: What, image: &Reference) -> Vec<Planned> {
    let fill = |text: &str| {
        text.replace("@IMAGE@", &image.to_string())
            .replace("@NAME@", name(image))
    };
    let planned = |(path, text): (&str, &str)| Planned {
        path: fill(path),
        text: fill(text),
    };
    match what {
        What::Ci(ci) => vec![planned((ci.file, ci.text))],
        What::Template(template) => {
            let own = template.files.iter().copied();
            let about = [
                ("structure-test.yaml", template.test),
                ("@NAME@.container", template.unit),
                (CI[0].file, CI[0].text),
            ];
            own.chain(SHARED).chain(about).map(planned).collect()
        }
    }
}

fn refuse_to_overwrite(directory: &Path, files: &[Planned]) -> Result<(), Failure> {
    let there = |file: &&Planned| directory.join(&file.path).symlink_metadata().is_ok();
    let there: Vec<&str> = files
        .iter()
        .filter(there)
        .map(|file| file.path.as_str())
        .collect();
    if there.is_empty() {
        return Ok(());
    }
    let place = directory.display();
    let message = format!("write into {place}: {} is there already", there.join(", "));
    Err(Failure::failed(message).hint("nothing was written; name an empty directory"))
}

/// A file that somebody else made since is left alone, too.
fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory)
        .with_context(|| format!("make directory {}", directory.display()))?;
    let mut file = fs::File::create_new(path).map_err(|error| {
        let message = match error.kind() {
            ErrorKind::AlreadyExists => format!("write {}: it is there already", path.display()),
            _ => format!("write {}", path.display()),
        };
        anyhow::Error::new(error).context(message)
    })?;
    file.write_all(text.as_bytes())
        .with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> impl Iterator<Item = What> {
        let templates = TEMPLATES.iter().map(What::Template);
        templates.chain(CI.iter().map(What::Ci))
    }

    #[test]
    fn nothing_is_left_to_be_filled_in() {
        let image: Reference = "registry.example/team/shop:2".parse().unwrap();
        for what in all() {
            for file in plan(what, &image) {
                assert!(!file.path.contains('@'), "{}", file.path);
                for mark in ["@NAME@", "@IMAGE@"] {
                    assert!(!file.text.contains(mark), "{} has {mark}", file.path);
                }
            }
        }
        let files = plan(What::Template(&TEMPLATES[0]), &image);
        let unit = files.iter().find(|file| file.path == "shop.container");
        let unit = unit.expect("the unit has the image's name");
        assert!(unit.text.contains("Image=registry.example/team/shop:2\n"));
    }

    #[test]
    fn every_template_has_what_a_project_needs() {
        let image = Reference::from_static("registry.example/x:1");
        for template in &TEMPLATES {
            let files = plan(What::Template(template), &image);
            let mut paths: Vec<_> = files.iter().map(|file| file.path.as_str()).collect();
            for needed in [
                "Containerfile",
                ".containerignore",
                "structure-test.yaml",
                "x.container",
                ".github/workflows/image.yaml",
            ] {
                assert!(paths.contains(&needed), "{}: {needed}", template.name);
            }
            paths.sort_unstable();
            let count = paths.len();
            paths.dedup();
            assert_eq!(paths.len(), count, "{} writes a file twice", template.name);
        }
    }
}
