//! Where glibc's ld.so looks for a library (elf/dl-load.c, `_dl_map_object`, of glibc 2.41).
//!
//! Invariant: the order is the loader's: RPATH of the object and of those it was loaded for, LD_LIBRARY_PATH, the object's own
//! RUNPATH, the cache, the built-in directories. Left out are the hardware directories that glibc before 2.37 tried beside
//! glibc-hwcaps (`tls`, `haswell`), which no distribution fills.

use super::files::Opened;
use super::loader::Glibc;
use super::reason::How;
use super::run::{Found, Lost, Outcome, Run, Trouble};
use super::tokens::{Tokens, directory_of, expand, in_directory};
use crate::path::escape;

/// What looking in a list of directories gave.
enum Looked {
    Done(Outcome),
    /// Whether something of the other class was there.
    Nothing {
        other_class: bool,
    },
}

/// The name that is looked for: tokens in it are replaced first.
pub(super) fn expand_name(
    run: &Run<'_>,
    loader: &Glibc,
    by: usize,
    name: &[u8],
) -> Result<Vec<u8>, Lost> {
    if !name.contains(&b'$') {
        return Ok(name.to_vec());
    }
    let expanded = expand(name, tokens(run, loader, by, &origin(run, by)));
    run.start
        .by_cpu
        .set(run.start.by_cpu.get() | expanded.by_platform);
    let text = expanded.text.filter(|text| !text.is_empty());
    text.ok_or_else(|| Lost::Absent("empty dynamic string token substitution".to_owned()))
}

/// Finds a library that the object `by` needs.
pub(super) fn search(run: &mut Run<'_>, loader: &Glibc, by: usize, name: &[u8]) -> Outcome {
    if name.contains(&b'/') {
        return by_path(run, name);
    }
    let mut other_class = false;
    for (directories, how) in lists(run, loader, by) {
        match look(run, &directories, name, &how) {
            Looked::Done(outcome) => return outcome,
            Looked::Nothing { other_class: other } => other_class |= other,
        }
    }
    match look_in_cache(run, loader, by, name) {
        Looked::Done(outcome) => return outcome,
        Looked::Nothing { other_class: other } => other_class |= other,
    }
    if !has_no_default_dirs(run, by) {
        match look(run, &loader.system_dirs, name, &How::Default) {
            Looked::Done(outcome) => return outcome,
            Looked::Nothing { other_class: other } => other_class |= other,
        }
    }
    Err(Lost::Absent(
        match (other_class, run.objects[0].elf.machine.shape.wide) {
            (false, _) => "cannot open shared object file: No such file or directory".to_owned(),
            (true, true) => "wrong ELF class: ELFCLASS32".to_owned(),
            (true, false) => "wrong ELF class: ELFCLASS64".to_owned(),
        },
    ))
}

fn by_path(run: &Run<'_>, name: &[u8]) -> Outcome {
    if !name.starts_with(b"/") {
        let message = "a path relative to the working directory, which is not known";
        return Err(Lost::Absent(message.to_owned()));
    }
    match run.start.files.library(name, run.objects[0].elf.machine) {
        Opened::Library(place, elf) => Ok(Found {
            name: name.to_vec(),
            place,
            elf,
            how: How::Path,
        }),
        Opened::Broken(place, message) => Err(Lost::Broken(place.path, message)),
        Opened::OtherClass => Err(Lost::Absent("wrong ELF class".to_owned())),
        Opened::Absent | Opened::Unusable => Err(Lost::Absent(
            "cannot open shared object file: No such file or directory".to_owned(),
        )),
    }
}

/// The lists of directories in front of the cache, in their order.
fn lists(run: &mut Run<'_>, loader: &Glibc, by: usize) -> Vec<(Vec<Vec<u8>>, How)> {
    let mut lists = Vec::new();
    let runpath = run.objects[by]
        .dynamic()
        .and_then(|dynamic| dynamic.runpath.clone());
    if runpath.is_none() {
        let mut next = Some(by);
        while let Some(number) = next {
            let object = &run.objects[number];
            next = object.loader;
            let dynamic = object.dynamic();
            // "If both RUNPATH and RPATH are given, the latter is ignored."
            let rpath = dynamic.filter(|dynamic| dynamic.runpath.is_none());
            let Some(rpath) = rpath.and_then(|dynamic| dynamic.rpath.clone()) else {
                continue;
            };
            let how = How::Rpath(object.place.path.clone());
            lists.push((directories(run, loader, number, &rpath, b":"), how));
        }
    }
    if !run.start.library_path.is_empty() {
        let path = run.start.library_path.to_vec();
        lists.push((directories(run, loader, 0, &path, b":;"), How::LibraryPath));
    }
    if let Some(runpath) = runpath {
        let how = How::Runpath(run.objects[by].place.path.clone());
        lists.push((directories(run, loader, by, &runpath, b":"), how));
    }
    lists
}

/// The directories of a list that the object `of` gives.
fn directories(
    run: &mut Run<'_>,
    loader: &Glibc,
    of: usize,
    list: &[u8],
    separators: &[u8],
) -> Vec<Vec<u8>> {
    let origin = origin(run, of);
    let mut found = Vec::new();
    for element in list.split(|byte| separators.contains(byte)) {
        let expanded = expand(element, tokens(run, loader, of, &origin));
        run.start
            .by_cpu
            .set(run.start.by_cpu.get() | expanded.by_platform);
        match expanded.text {
            Some(directory) if directory.starts_with(b"/") => found.push(directory),
            Some(relative) => {
                let path = run.objects[of].place.path.clone();
                let message = format!(
                    "the directory {:?} in its list is relative to the working directory, and not searched here",
                    escape(&relative)
                );
                run.troubles.push(Trouble::Note { path, message });
            }
            None => {}
        }
    }
    found
}

/// The program's is where it really is, a library's where it was found: links are not followed.
fn origin(run: &Run<'_>, of: usize) -> Vec<u8> {
    directory_of(&run.objects[of].name).to_vec()
}

fn tokens<'r>(run: &'r Run<'_>, loader: &'r Glibc, _: usize, origin: &'r [u8]) -> Tokens<'r> {
    Tokens {
        origin,
        lib: loader.lib(),
        platform: run.start.cpu.platform.map(str::as_bytes),
    }
}

/// As `open_path`: in each directory the subdirectories for the processor come first.
fn look(run: &Run<'_>, directories: &[Vec<u8>], name: &[u8], how: &How) -> Looked {
    let machine = run.objects[0].elf.machine;
    let files = run.start.files;
    let mut other_class = false;
    for directory in directories {
        let hwcaps = in_directory(directory, b"glibc-hwcaps");
        let mut candidates = Vec::new();
        if files.places.is_directory(&hwcaps) {
            run.start.by_cpu.set(true);
            let subdirs = run.start.cpu.subdirs.iter();
            candidates.extend(subdirs.map(|subdir| in_directory(&hwcaps, subdir.as_bytes())));
        }
        candidates.push(directory.clone());
        for candidate in candidates {
            let path = in_directory(&candidate, name);
            match files.library(&path, machine) {
                Opened::Library(place, elf) => {
                    return Looked::Done(Ok(Found {
                        name: path,
                        place,
                        elf,
                        how: how.clone(),
                    }));
                }
                Opened::Broken(place, message) => {
                    return Looked::Done(Err(Lost::Broken(place.path, message)));
                }
                Opened::Unusable => return Looked::Nothing { other_class },
                Opened::OtherClass => other_class = true,
                Opened::Absent => {}
            }
        }
    }
    Looked::Nothing { other_class }
}

fn look_in_cache(run: &Run<'_>, loader: &Glibc, by: usize, name: &[u8]) -> Looked {
    const NOTHING: Looked = Looked::Nothing { other_class: false };
    let Some(cache) = &loader.cache else {
        return NOTHING;
    };
    let machine = run.objects[0].elf.machine;
    run.start
        .by_cpu
        .set(run.start.by_cpu.get() | cache.depends_on_processor(name));
    let flags = machine.known().map(|known| known.cache_flags);
    let Some(path) = cache.lookup(name, flags, run.start.cpu.subdirs) else {
        return NOTHING;
    };
    let is_default = || {
        loader
            .system_dirs
            .iter()
            .any(|directory| path.starts_with(directory))
    };
    if has_no_default_dirs(run, by) && is_default() {
        return NOTHING;
    }
    match run.start.files.library(path, machine) {
        Opened::Library(place, elf) => Looked::Done(Ok(Found {
            name: path.to_vec(),
            place,
            elf,
            how: How::Cache,
        })),
        Opened::Broken(place, message) => Looked::Done(Err(Lost::Broken(place.path, message))),
        Opened::OtherClass => Looked::Nothing { other_class: true },
        Opened::Absent | Opened::Unusable => NOTHING,
    }
}

fn has_no_default_dirs(run: &Run<'_>, of: usize) -> bool {
    run.objects[of]
        .dynamic()
        .is_some_and(|dynamic| dynamic.no_default_dirs)
}

/// Whether the loader would find an object that it found in the cache without it, too.
pub(super) fn found_without_cache(
    run: &Run<'_>,
    loader: &Glibc,
    object: usize,
    name: &[u8],
) -> bool {
    let by = run.objects[object].loader.unwrap_or(0);
    if has_no_default_dirs(run, by) {
        return false;
    }
    match look(run, &loader.system_dirs, name, &How::Default) {
        Looked::Done(Ok(Found { place, .. })) => place.path == run.objects[object].place.path,
        _ => false,
    }
}
