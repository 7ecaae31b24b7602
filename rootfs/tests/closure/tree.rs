//! A small root on disk, and its closures in words.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use rootfs::closure::{Closure, Resolver, Settings};
use rootfs::{DirTree, Ownership, Root, TreePath};
use tempfile::TempDir;

use crate::forge::Forge;

/// glibc's loader of amd64, as far as its texts go.
pub(crate) fn glibc_loader() -> Forge {
    let texts = [
        "/lib/x86_64-linux-gnu/",
        "/usr/lib/x86_64-linux-gnu/",
        "/lib/",
        "/usr/lib/",
        "",
        "lib/x86_64-linux-gnu",
    ];
    Forge {
        texts: texts.map(str::to_owned).to_vec(),
        ..Forge::library(&[]).soname("ld-linux-x86-64.so.2")
    }
}

pub(crate) fn path(text: impl AsRef<[u8]>) -> TreePath {
    TreePath::clamped(text).expect("a path")
}

pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    /// With a loader of glibc where programs of amd64 look for it.
    pub(crate) fn with_glibc() -> Self {
        let place = Self::new();
        place.elf("/lib64/ld-linux-x86-64.so.2", &glibc_loader());
        place
    }

    pub(crate) fn on_disk(&self, name: &str) -> PathBuf {
        self.0.path().join(name.trim_start_matches('/'))
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> &Self {
        let path = self.on_disk(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(&path, bytes).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
        self
    }

    pub(crate) fn elf(&self, name: &str, forge: &Forge) -> &Self {
        self.write(name, forge.bytes())
    }

    pub(crate) fn link(&self, name: &str, target: &str) -> &Self {
        let path = self.on_disk(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        symlink(target, path).expect("a link");
        self
    }

    pub(crate) fn closure(&self, program: &str) -> Closure {
        self.closure_with(program, Settings::default())
    }

    pub(crate) fn closure_with(&self, program: &str, settings: Settings) -> Closure {
        closure_in(self.0.path(), program, settings)
    }
}

pub(crate) fn closure_in(root: &Path, program: impl AsRef<[u8]>, settings: Settings) -> Closure {
    let root = Root::open(root).expect("a root");
    let tree = DirTree::new(root, Ownership::Recorded);
    Resolver::new(&tree, settings).closure(&path(program))
}

/// `PATH` or `PATH -> TARGET`, and who needs it.
pub(crate) fn files(closure: &Closure) -> Vec<String> {
    let shown = closure.files.iter().map(|file| {
        let target = file
            .target
            .as_ref()
            .map(|target| String::from_utf8_lossy(target));
        let arrow = target.map_or(String::new(), |target| format!(" -> {target}"));
        format!("{}{arrow}", file.path)
    });
    shown.collect()
}

/// The files that are not links.
pub(crate) fn plain(closure: &Closure) -> Vec<String> {
    let plain = closure.files.iter().filter(|file| file.target.is_none());
    plain.map(|file| file.path.to_string()).collect()
}

pub(crate) fn missing(closure: &Closure) -> Vec<String> {
    let names = closure.missing.iter();
    names
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect()
}

/// `PATH: MESSAGE` of what is fatal.
pub(crate) fn fatal(closure: &Closure) -> Vec<String> {
    let fatal = closure.findings.iter().filter(|finding| finding.fatal);
    fatal
        .map(|finding| format!("{}: {}", finding.path, finding.message))
        .collect()
}

pub(crate) fn notes(closure: &Closure) -> Vec<String> {
    let notes = closure.findings.iter().filter(|finding| !finding.fatal);
    notes
        .map(|finding| format!("{}: {}", finding.path, finding.message))
        .collect()
}

pub(crate) fn reason(closure: &Closure, file: &str) -> String {
    let found = closure.files.iter().find(|own| own.path == path(file));
    found.map_or_else(
        || format!("{file} is not in {:?}", files(closure)),
        |file| file.reason.to_string(),
    )
}
