//! Shared objects that no program is linked with: a program opens them while it runs. Invariant: what is told to be missing is
//! nowhere in the image, so wherever the program would look, it would not find it.

use std::collections::{BTreeSet, HashSet};

use containerfile::lint::{FileKind, ImageFacts, ModuleFact};
use rootfs::TreePath;
use rootfs::closure::Resolver;

use super::programs::spoken;

pub(super) fn of(resolver: &Resolver<'_>, facts: &ImageFacts) -> Vec<ModuleFact> {
    let linked: HashSet<&str> = facts
        .programs
        .iter()
        .flat_map(|program| program.closure.iter().map(String::as_str))
        .collect();
    let names: BTreeSet<&str> = facts
        .files
        .keys()
        .filter_map(|path| name_of(path))
        .collect();
    let objects = facts.files.iter().filter(|(path, file)| {
        let named =
            name_of(path).is_some_and(|name| name.ends_with(".so") || name.contains(".so."));
        named && file.kind == FileKind::File && !linked.contains(path.as_str())
    });
    let modules = objects.filter_map(|(path, _)| {
        let canonical = TreePath::clamped(path.as_bytes()).ok()?;
        resolver.look(&canonical).filter(|binary| binary.library)?;
        let closure = resolver.closure(&canonical);
        let needed = closure.files.iter().map(|file| file.path.to_string());
        let missing: Vec<String> = closure
            .missing
            .iter()
            .map(|name| rootfs::closure::shown(name))
            .filter(|name| !names.contains(name.as_str()))
            .collect();
        let speaks = |path: &str| spoken(name_of(path).unwrap_or(path).as_bytes()).is_some();
        Some(ModuleFact {
            path: path.clone(),
            tls: needed
                .chain(missing.iter().cloned())
                .any(|path| speaks(&path)),
            missing,
        })
    });
    modules.collect()
}

fn name_of(path: &str) -> Option<&str> {
    path.rsplit_once('/').map(|(_, name)| name)
}
