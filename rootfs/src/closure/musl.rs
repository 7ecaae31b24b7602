//! Where musl's loader looks for a library (ldso/dynlink.c, `load_library`, of musl 1.2.5).
//!
//! Invariant: RPATH and RUNPATH are one thing here, and both are inherited; a file that is there ends the search, whatever it is.

use super::files::Opened;
use super::loader::Musl;
use super::places::Absent;
use super::reason::How;
use super::run::{Found, Lost, Outcome, Run};
use super::tokens::{directory_of, in_directory};

/// Names that the loader, being the C library, answers to by itself.
pub(super) fn is_reserved(name: &[u8]) -> bool {
    const PARTS: [&[u8]; 7] = [b"c", b"pthread", b"rt", b"m", b"dl", b"util", b"xnet"];
    let rest = name.strip_prefix(b"lib");
    rest.is_some_and(|rest| {
        let mut parts = PARTS.iter().filter_map(|part| rest.strip_prefix(*part));
        parts.any(|rest| rest.starts_with(b"."))
    })
}

/// Finds a library that the object `by` needs.
pub(super) fn search(run: &mut Run<'_>, loader: &Musl, by: usize, name: &[u8]) -> Outcome {
    if name.starts_with(b"/") {
        return open(run, name.to_vec(), How::Path).unwrap_or_else(|| absent(run, by));
    }
    if name.contains(&b'/') {
        let message = "a path relative to the working directory, which is not known";
        return Err(Lost::Absent(message.to_owned()));
    }
    let split = |list: &[u8]| -> Vec<Vec<u8>> {
        let directories = list.split(|byte| matches!(byte, b':' | b'\n'));
        directories
            .filter(|directory| directory.starts_with(b"/"))
            .map(<[u8]>::to_vec)
            .collect()
    };
    let mut lists = vec![(split(run.start.library_path), How::LibraryPath)];
    let mut next = Some(by);
    while let Some(number) = next {
        let object = &run.objects[number];
        next = object.loader;
        let Some(dynamic) = object.dynamic() else {
            continue;
        };
        let path = object.place.path.clone();
        let (list, how) = match (&dynamic.runpath, &dynamic.rpath) {
            (Some(runpath), _) => (runpath, How::Runpath(path)),
            (None, Some(rpath)) => (rpath, How::Rpath(path)),
            (None, None) => continue,
        };
        if let Some(list) = with_origin(list, directory_of(&object.name)) {
            lists.push((split(&list), how));
        }
    }
    let how = match loader.path_file {
        Some(_) => How::PathFile,
        None => How::Default,
    };
    lists.push((loader.directories.clone(), how));
    for (directories, how) in lists {
        for directory in directories {
            if let Some(outcome) = open(run, in_directory(&directory, name), how.clone()) {
                return outcome;
            }
        }
    }
    absent(run, by)
}

fn absent(run: &Run<'_>, by: usize) -> Outcome {
    let by = &run.objects[by].place.path;
    Err(Lost::Absent(format!(
        "No such file or directory (needed by {by})"
    )))
}

/// What is at a path; `None` lets the search go on.
fn open(run: &Run<'_>, path: Vec<u8>, how: How) -> Option<Outcome> {
    match run.start.files.library(&path, run.objects[0].elf.machine) {
        Opened::Library(place, elf) => Some(Ok(Found {
            name: path,
            place,
            elf,
            how,
        })),
        Opened::Broken(place, message) => Some(Err(Lost::Broken(place.path, message))),
        Opened::OtherClass => broken(run, &path),
        // A library of another machine is there as well; musl would even map it.
        Opened::Absent => broken(run, &path),
        Opened::Unusable => Some(Err(Lost::Absent(
            "Too many levels of symbolic links".to_owned(),
        ))),
    }
}

fn broken(run: &Run<'_>, path: &[u8]) -> Option<Outcome> {
    match run.start.files.places.find(path) {
        Ok(place) => {
            let message = "Exec format error: it is for another machine".to_owned();
            Some(Err(Lost::Broken(place.path, message)))
        }
        Err(Absent::Missing | Absent::Loop | Absent::Tree(_)) => None,
    }
}

/// As `fixup_rpath`: another token than `$ORIGIN` makes the whole list disappear.
fn with_origin(list: &[u8], origin: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(list.len());
    let mut rest = list;
    while let Some(dollar) = rest.iter().position(|byte| *byte == b'$') {
        out.extend_from_slice(&rest[..dollar]);
        let token = &rest[dollar + 1..];
        rest = token
            .strip_prefix(b"ORIGIN")
            .or_else(|| token.strip_prefix(b"{ORIGIN}"))?;
        out.extend_from_slice(origin);
    }
    out.extend_from_slice(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_c_library_are_reserved() {
        for name in [
            "libc.so",
            "libc.musl-x86_64.so.1",
            "libpthread.so.0",
            "libm.so.6",
        ] {
            assert!(is_reserved(name.as_bytes()), "{name}");
        }
        for name in ["libcurl.so.4", "libmagic.so.1", "libz.so.1", "c.so"] {
            assert!(!is_reserved(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn only_origin_is_a_token() {
        assert_eq!(
            with_origin(b"$ORIGIN/a:${ORIGIN}b", b"/o").unwrap(),
            b"/o/a:/ob"
        );
        assert_eq!(with_origin(b"/a:$LIB", b"/o"), None);
    }
}
