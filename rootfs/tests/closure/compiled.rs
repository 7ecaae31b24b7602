//! Programs and libraries that a compiler makes, in a directory of their own.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

fn there(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(name).is_file())
}

/// The C compiler for this machine's own C library; without one the test says that it is skipped.
pub(crate) fn compiler() -> Option<String> {
    named("gcc")
}

/// That for musl.
pub(crate) fn musl_compiler() -> Option<String> {
    named("musl-gcc")
}

fn named(name: &str) -> Option<String> {
    if !there(name) {
        println!("SKIP {name}: it is not in PATH");
        return None;
    }
    Some(name.to_owned())
}

pub(crate) struct Compiled {
    compiler: String,
    directory: TempDir,
}

impl Compiled {
    pub(crate) fn new(compiler: &str) -> Self {
        Self {
            compiler: compiler.to_owned(),
            directory: tempfile::tempdir().expect("a directory"),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        fs::canonicalize(self.directory.path())
            .expect("it")
            .join(name)
    }

    /// Debian's name for what it compiles for.
    pub(crate) fn triplet(&self) -> String {
        let output = Command::new(&self.compiler)
            .arg("-dumpmachine")
            .output()
            .expect("a compiler");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, text).expect("a file");
    }

    pub(crate) fn link(&self, name: &str, target: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        symlink(target, path).expect("a link");
    }

    /// A library whose SONAME is its file name.
    pub(crate) fn library(&self, name: &str, source: &str, flags: &[&str]) -> PathBuf {
        let file = Path::new(name)
            .file_name()
            .and_then(|name| name.to_str())
            .expect("a name");
        let soname = format!("-Wl,-soname,{file}");
        let mut all = vec!["-shared", "-fPIC"];
        if !flags.contains(&"-Wl,-soname,") {
            all.push(&soname);
        }
        all.extend(flags.iter().filter(|flag| **flag != "-Wl,-soname,"));
        self.compile(name, source, &all)
    }

    pub(crate) fn program(&self, name: &str, source: &str, flags: &[&str]) -> PathBuf {
        self.compile(name, source, flags)
    }

    fn compile(&self, name: &str, source: &str, flags: &[&str]) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        let file = format!("{name}.c");
        self.write(&file, source);
        let output = Command::new(&self.compiler)
            .current_dir(self.directory.path())
            .args(["-o", name, &file, "-Wl,--no-as-needed"])
            .args(flags)
            .output()
            .expect("a compiler");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {said}");
        path
    }
}
