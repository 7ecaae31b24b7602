//! The programs of an image. Invariant: a program is looked at once, and a large one in pieces.

use std::collections::BTreeSet;
use std::io::Read;

use containerfile::lint::{FileKind, ImageFacts, ProgramFact, Tls};
use rootfs::closure::{Closure, Resolver, Settings};
use rootfs::{Tree, TreePath};

/// What Go, rustls and libcurl name when they look for certificates by themselves: Debian's place and Red Hat's.
const BUNDLES: [&[u8]; 2] = [
    b"/etc/ssl/certs/ca-certificates.crt",
    b"/etc/pki/tls/certs/ca-bundle.crt",
];

/// What libcrypto says of itself in `openssl version -d`.
const OPENSSL_DIR: &[u8] = b"OPENSSLDIR: \"";

/// A file is looked through in pieces of this many bytes.
const PIECE: usize = 1 << 20;

/// `PATH_MAX`.
const LONGEST_PATH: usize = 4096;

/// What finds libraries as a container of the image would.
pub(super) fn resolver<'t>(tree: &'t dyn Tree, facts: &ImageFacts) -> Resolver<'t> {
    let mut settings = Settings {
        architecture: Some(facts.architecture.clone()).filter(|name| !name.is_empty()),
        ..Settings::default()
    };
    for (name, value) in &facts.env {
        match name.as_str() {
            "LD_LIBRARY_PATH" => settings.library_path = value.clone().into(),
            "PATH" => settings.path = value.clone().into(),
            _ => {}
        }
    }
    Resolver::new(tree, settings)
}

pub(super) fn of(tree: &dyn Tree, resolver: &Resolver<'_>, facts: &ImageFacts) -> Vec<ProgramFact> {
    let started = started(facts);
    let executable = facts
        .files
        .iter()
        .filter(|(_, file)| file.kind == FileKind::File && file.mode & 0o111 != 0);
    let mut paths: BTreeSet<&String> = executable.map(|(path, _)| path).collect();
    paths.extend(&started);
    let programs = paths.into_iter().filter_map(|path| {
        let canonical = TreePath::clamped(path.as_bytes()).ok()?;
        program(tree, resolver, path, &canonical, started.contains(path))
    });
    programs.collect()
}

/// The entry point and the program of the health check, links followed.
fn started(facts: &ImageFacts) -> BTreeSet<String> {
    let entry = facts.entrypoint.first().or(facts.cmd.first());
    let probe = match facts.healthcheck.split_first() {
        Some((kind, words)) if kind == "CMD" => words.first(),
        _ => None,
    };
    let names = entry.into_iter().chain(probe);
    let paths = names.filter_map(|name| facts.program_path(name));
    paths
        .filter_map(|path| Some(facts.find(&path)?.0))
        .collect()
}

/// What there is to know of a file that can be executed; of scripts only if they are started.
fn program(
    tree: &dyn Tree,
    resolver: &Resolver<'_>,
    path: &str,
    canonical: &TreePath,
    started: bool,
) -> Option<ProgramFact> {
    let binary = resolver.look(canonical);
    if !started && binary.as_ref().is_none_or(|binary| binary.library) {
        return None;
    }
    let closure = resolver.closure(canonical);
    let missing: Vec<String> = closure
        .missing
        .iter()
        .map(|name| rootfs::closure::shown(name))
        .collect();
    let mut program = ProgramFact {
        path: path.to_owned(),
        architecture: binary.as_ref().map(|binary| binary.architecture.clone()),
        dynamic: binary.as_ref().is_some_and(|binary| binary.dynamic),
        packed: binary.as_ref().is_some_and(|binary| binary.packed),
        unidentified: binary.is_some_and(|binary| !binary.build_id),
        started,
        troubles: troubles(&closure, &missing),
        missing,
        ..ProgramFact::default()
    };
    let files = closure.files.iter().filter(|file| file.target.is_none());
    program.closure = files.map(|file| file.path.to_string()).collect();
    if started {
        look_for_tls(tree, canonical, &closure, &mut program);
    }
    Some(program)
}

/// What else is fatal: of what is missing there is a finding, too.
fn troubles(closure: &Closure, missing: &[String]) -> Vec<String> {
    let fatal = closure.findings.iter().filter(|finding| finding.fatal);
    let other = fatal.filter(|finding| {
        let about = |name: &String| {
            finding
                .message
                .strip_prefix(name.as_str())
                .is_some_and(|rest| rest.starts_with(": "))
        };
        !missing.iter().any(about)
    });
    let said = other.map(|finding| match finding.path == closure.program {
        true => finding.message.clone(),
        false => format!("{}: {}", finding.path, finding.message),
    });
    said.collect()
}

/// The TLS that a library of this name speaks.
pub(super) fn spoken(name: &[u8]) -> Option<Tls> {
    match name {
        name if name.starts_with(b"libssl.so") => Some(Tls::OpenSsl),
        name if name.starts_with(b"libgnutls.so") => Some(Tls::GnuTls),
        _ => None,
    }
}

fn look_for_tls(tree: &dyn Tree, path: &TreePath, closure: &Closure, program: &mut ProgramFact) {
    if program.architecture.is_none() {
        return;
    }
    let names = |path: &TreePath| {
        let named = |bundle: &&[u8]| after(tree, path, bundle).is_some();
        BUNDLES.iter().any(named)
    };
    let mut built_in = names(path);
    for file in closure.files.iter().filter(|file| file.target.is_none()) {
        match file.path.file_name().unwrap_or_default() {
            name if name.starts_with(b"libcrypto.so") => {
                program.openssl_dir = after(tree, &file.path, OPENSSL_DIR);
            }
            name => match spoken(name) {
                Some(tls) => program.tls.push(tls),
                None => built_in = built_in || names(&file.path),
            },
        }
    }
    if built_in {
        program.tls.push(Tls::BuiltIn);
    }
}

/// What follows some bytes in a file, up to a quote or a byte that is no text, and no more of it than a path has.
fn after(tree: &dyn Tree, path: &TreePath, wanted: &[u8]) -> Option<String> {
    let mut content = tree.open(path).ok()?.content;
    let mut window = Vec::new();
    loop {
        let piece = content.by_ref().take(PIECE as u64);
        let ended = { piece }.read_to_end(&mut window).ok()? == 0;
        let found = find(&window, wanted);
        let keep = match found {
            Some(at) if ended || window.len() - at >= wanted.len() + LONGEST_PATH => {
                return Some(text(&window[at + wanted.len()..]));
            }
            Some(at) => at,
            None if ended => return None,
            None => (window.len() + 1).saturating_sub(wanted.len()),
        };
        window.drain(..keep);
    }
}

fn text(bytes: &[u8]) -> String {
    let ends = |byte: &u8| *byte == b'"' || !(b' '..=b'~').contains(byte);
    let end = bytes.iter().position(ends).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end.min(LONGEST_PATH)]).into_owned()
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    let first = *wanted.first()?;
    let mut at = 0;
    loop {
        at += bytes.get(at..)?.iter().position(|byte| *byte == first)?;
        if bytes[at..].starts_with(wanted) {
            return Some(at);
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use rootfs::{DirTree, Ownership, Root};

    use super::*;

    #[test]
    fn what_follows_is_found_wherever_a_piece_ends() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = Root::open(directory.path()).expect("it opens");
        let tree = DirTree::new(root, Ownership::Recorded);
        let path = TreePath::scoped("file").expect("a path");
        for before in [
            0,
            5,
            PIECE - 14,
            PIECE - 13,
            PIECE - 5,
            PIECE,
            2 * PIECE - 3,
        ] {
            let mut bytes = vec![b'O'; before];
            bytes.extend(b"OPENSSLDIR: \"/usr/lib/ssl\"\0more");
            std::fs::write(directory.path().join("file"), bytes).expect("a file");
            let found = after(&tree, &path, OPENSSL_DIR);
            assert_eq!(found.as_deref(), Some("/usr/lib/ssl"), "{before}");
            assert_eq!(after(&tree, &path, BUNDLES[0]), None);
        }
        std::fs::write(directory.path().join("file"), b"OPENSSLDIR: \"").expect("a file");
        assert_eq!(after(&tree, &path, OPENSSL_DIR).as_deref(), Some(""));
    }
}
