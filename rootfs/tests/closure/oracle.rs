//! Beside the real loader: for programs of this machine and for compiled ones, the same files.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rootfs::closure::{Closure, Resolver, Settings, Why};
use rootfs::{DirTree, Ownership, Root};

use crate::compiled::{Compiled, compiler};
use crate::tree::{closure_in, missing, path, plain};

/// What the program's own loader maps, without starting the program: canonical paths, and the names that it does not find.
fn listed(loader: &Path, program: &Path) -> Option<(BTreeSet<String>, BTreeSet<String>)> {
    let output = Command::new(loader)
        .arg("--list")
        .arg(program)
        .env_remove("LD_LIBRARY_PATH")
        .env_remove("LD_PRELOAD")
        .output()
        .expect("the loader");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (mut found, mut lacking) = (BTreeSet::new(), BTreeSet::new());
    for line in text.lines().map(str::trim) {
        let (name, rest) = line.split_once(" => ").unwrap_or((line, line));
        if rest == "not found" {
            lacking.insert(name.to_owned());
            continue;
        }
        let file = rest.split(" (0x").next().unwrap_or_default();
        if !file.starts_with('/') {
            // linux-vdso.so.1
            continue;
        }
        let canonical = fs::canonicalize(file).expect("a mapped file");
        found.insert(canonical.to_string_lossy().into_owned());
    }
    (!found.is_empty()).then_some((found, lacking))
}

/// The loader of a program, from its closure.
fn loader_of(closure: &Closure) -> Option<PathBuf> {
    let loader = closure
        .files
        .iter()
        .find(|file| file.reason.why == Why::Interpreter);
    loader.map(|file| PathBuf::from(file.path.to_string()))
}

fn same_as_listed(closure: &Closure, program: &Path) {
    let Some(loader) = loader_of(closure) else {
        return;
    };
    let Some((mut found, lacking)) = listed(&loader, program) else {
        return;
    };
    found.insert(loader.to_string_lossy().into_owned());
    let own: BTreeSet<String> = plain(closure)
        .into_iter()
        .filter(|file| {
            file != "/etc/ld.so.cache" && Path::new(file) != fs::canonicalize(program).expect("it")
        })
        .collect();
    assert_eq!(own, found, "{}", program.display());
    let own: BTreeSet<String> = missing(closure).into_iter().collect();
    assert_eq!(own, lacking, "{}", program.display());
}

#[test]
fn programs_of_this_machine_need_what_their_loader_maps() {
    let tree = DirTree::new(
        Root::open(Path::new("/")).expect("the root"),
        Ownership::Recorded,
    );
    let resolver = Resolver::new(&tree, Settings::default());
    let mut compared = 0;
    for directory in ["/usr/bin", "/usr/sbin"] {
        let entries = fs::read_dir(directory).expect("programs");
        let mut programs: Vec<PathBuf> = entries
            .map(|entry| entry.expect("a program").path())
            .collect();
        programs.sort();
        for program in programs {
            let Ok(meta) = fs::metadata(&program) else {
                continue;
            };
            let readable = fs::File::open(&program).is_ok();
            // Set-user-id programs are loaded as others are, but nobody should try.
            if !meta.is_file() || !readable || meta.mode() & 0o6000 != 0 {
                continue;
            }
            if !fs::read(&program).expect("it").starts_with(b"\x7fELF") {
                continue;
            }
            let closure = resolver.closure(&path(program.as_os_str().as_encoded_bytes()));
            same_as_listed(&closure, &program);
            compared += 1;
        }
    }
    assert!(compared > 50, "{compared} programs are no test");
}

/// exe -> liby -> libz, in directories that only their own paths name.
fn chain(place: &Compiled, program: &[&str], middle: &[&str]) -> PathBuf {
    place.library("b/libz1.so.1", "int z(void) { return 1; }", &[]);
    place.library(
        "a/liby1.so.1",
        "int z(void); int y(void) { return z(); }",
        &[&["b/libz1.so.1"], middle].concat(),
    );
    place.program(
        "exe",
        "int y(void); int main(void) { return y() - 1; }",
        &[&["a/liby1.so.1", "-Wl,--allow-shlib-undefined"], program].concat(),
    )
}

/// A shape of the chain, its flags, and whether its libz is found.
type Shape = (&'static [&'static str], &'static [&'static str], bool);

#[test]
fn case_06_rpath_is_inherited_and_runpath_is_not() {
    let Some(compiler) = compiler() else { return };
    const OLD: &str = "-Wl,--disable-new-dtags,-rpath,$ORIGIN/a:$ORIGIN/b";
    const NEW: &str = "-Wl,--enable-new-dtags,-rpath,$ORIGIN/a:$ORIGIN/b";
    const MIDDLE_OLD: &str = "-Wl,--disable-new-dtags,-rpath,$ORIGIN/../b";
    const MIDDLE_NEW: &str = "-Wl,--enable-new-dtags,-rpath,$ORIGIN/../b";
    const MIDDLE_ELSEWHERE: &str = "-Wl,--enable-new-dtags,-rpath,/nowhere";
    let shapes: [Shape; 6] = [
        (&[OLD], &[], true),
        (&[NEW], &[], false),
        (&[NEW], &[MIDDLE_OLD], true),
        (&[NEW], &[MIDDLE_NEW], true),
        (&[OLD], &[MIDDLE_ELSEWHERE], false),
        (&[OLD], &[MIDDLE_OLD], true),
    ];
    for (program, middle, found) in shapes {
        let place = Compiled::new(&compiler);
        let exe = chain(&place, program, middle);
        let closure = closure_in(
            Path::new("/"),
            exe.as_os_str().as_encoded_bytes(),
            Settings::default(),
        );
        same_as_listed(&closure, &exe);
        assert_eq!(
            closure.starts(),
            found,
            "{program:?} {middle:?} {:?}",
            closure.findings
        );
        let status = Command::new(&exe)
            .stderr(std::process::Stdio::null())
            .status()
            .expect("it starts");
        assert_eq!(
            status.code(),
            Some(if found { 0 } else { 127 }),
            "{program:?} {middle:?}"
        );
    }
}

#[test]
fn case_07_origin_of_a_program_is_where_it_is_and_of_a_library_where_it_was_found() {
    let Some(compiler) = compiler() else { return };
    let place = Compiled::new(&compiler);
    place.library("real/libz1.so.1", "int z(void) { return 1; }", &[]);
    place.library(
        "real/liby1.so.1",
        "int z(void); int y(void) { return z(); }",
        &["real/libz1.so.1", "-Wl,--enable-new-dtags,-rpath,$ORIGIN"],
    );
    place.link("links/liby1.so.1", "../real/liby1.so.1");
    let main = "int y(void); int main(void) { return y() - 1; }";
    let flags = |path: &'static str| ["real/liby1.so.1", path, "-Wl,--allow-shlib-undefined"];
    place.program("real/direct", main, &flags("-Wl,-rpath,$ORIGIN"));
    place.program("real/linked", main, &flags("-Wl,-rpath,$ORIGIN/../links"));
    place.link("elsewhere/direct", "../real/direct");
    for (name, starts) in [
        ("real/direct", true),
        ("elsewhere/direct", true),
        ("real/linked", false),
    ] {
        let exe = place.path(name);
        let closure = closure_in(
            Path::new("/"),
            exe.as_os_str().as_encoded_bytes(),
            Settings::default(),
        );
        same_as_listed(&closure, &exe);
        assert_eq!(closure.starts(), starts, "{name}: {:?}", closure.findings);
        assert_eq!(
            Command::new(&exe)
                .stderr(std::process::Stdio::null())
                .status()
                .expect("it")
                .success(),
            starts
        );
    }
}

#[test]
fn case_07_lib_stands_for_the_directory_of_the_distribution() {
    let Some(compiler) = compiler() else { return };
    let place = Compiled::new(&compiler);
    let triplet = place.triplet();
    place.library(
        &format!("lib/{triplet}/libz1.so.1"),
        "int z(void) { return 0; }",
        &[],
    );
    let library = format!("lib/{triplet}/libz1.so.1");
    let main = "int z(void); int main(void) { return z(); }";
    let exe = place.program("exe", main, &[&library, "-Wl,-rpath,$ORIGIN/$LIB"]);
    let closure = closure_in(
        Path::new("/"),
        exe.as_os_str().as_encoded_bytes(),
        Settings::default(),
    );
    same_as_listed(&closure, &exe);
    assert!(closure.starts(), "{:?}", closure.findings);
}

#[test]
fn case_20_a_library_with_a_path_for_a_name_and_one_that_avoids_the_default_directories() {
    let Some(compiler) = compiler() else { return };
    let place = Compiled::new(&compiler);
    let library = place.library(
        "sub/libz1.so.1",
        "int z(void) { return 0; }",
        &["-Wl,-soname,"],
    );
    // Without a SONAME the linker records the path that it was given.
    let main = "int z(void); int main(void) { return z(); }";
    let exe = place.program("slash", main, &[library.to_str().expect("text")]);
    let closure = closure_in(
        Path::new("/"),
        exe.as_os_str().as_encoded_bytes(),
        Settings::default(),
    );
    same_as_listed(&closure, &exe);
    assert!(closure.starts(), "{:?}", closure.findings);

    let exe = place.program(
        "nodeflib",
        "int main(void) { return 0; }",
        &["-Wl,-z,nodefaultlib"],
    );
    let closure = closure_in(
        Path::new("/"),
        exe.as_os_str().as_encoded_bytes(),
        Settings::default(),
    );
    assert!(!closure.starts());
    assert_eq!(missing(&closure), ["libc.so.6"]);
    let status = Command::new(&exe)
        .stderr(std::process::Stdio::null())
        .status()
        .expect("it");
    assert_eq!(status.code(), Some(127));
}

#[test]
fn case_20_a_version_that_is_not_there_is_reported_in_the_words_of_the_loader() {
    let Some(compiler) = compiler() else { return };
    let place = Compiled::new(&compiler);
    place.write("new.map", "V_1 { global: z; }; V_2 { global: zz; } V_1;");
    place.write("old.map", "V_1 { global: z; local: *; };");
    let source = "int z(void) { return 0; } int zz(void) { return 0; }";
    place.library("new/libz1.so.1", source, &["-Wl,--version-script,new.map"]);
    place.library("old/libz1.so.1", source, &["-Wl,--version-script,old.map"]);
    let main = "int zz(void); int main(void) { return zz(); }";
    for (directory, starts) in [("new", true), ("old", false)] {
        let path = format!("-Wl,-rpath,$ORIGIN/{directory}");
        let exe = place.program(
            &format!("with-{directory}"),
            main,
            &["new/libz1.so.1", &path],
        );
        let closure = closure_in(
            Path::new("/"),
            exe.as_os_str().as_encoded_bytes(),
            Settings::default(),
        );
        same_as_listed(&closure, &exe);
        assert_eq!(closure.starts(), starts, "{:?}", closure.findings);
        let output = Command::new(&exe).output().expect("it");
        assert_eq!(output.status.success(), starts);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        for finding in closure.findings.iter().filter(|finding| finding.fatal) {
            assert!(
                said.contains(&finding.message),
                "{said}\n{}",
                finding.message
            );
            assert!(finding.message.starts_with("version `V_2' not found"));
        }
    }
}

#[test]
fn case_08_hwcaps_libraries_are_taken_for_every_processor() {
    let Some(compiler) = compiler() else { return };
    if !cfg!(target_arch = "x86_64") {
        println!("SKIP x86-64: its subdirectories are compared here");
        return;
    }
    let place = Compiled::new(&compiler);
    place.library("d/libz1.so.1", "int z(void) { return 0; }", &[]);
    place.library(
        "d/glibc-hwcaps/x86-64-v2/libz1.so.1",
        "int z(void) { return 0; }",
        &[],
    );
    place.library(
        "d/glibc-hwcaps/x86-64-v3/libz1.so.1",
        "int z(void) { return 0; }",
        &[],
    );
    place.library(
        "d/glibc-hwcaps/x86-64-v9/libz1.so.1",
        "int z(void) { return 0; }",
        &[],
    );
    let exe = place.program(
        "exe",
        "int z(void); int main(void) { return z(); }",
        &["d/libz1.so.1", "-Wl,-rpath,$ORIGIN/d"],
    );
    let closure = closure_in(
        Path::new("/"),
        exe.as_os_str().as_encoded_bytes(),
        Settings::default(),
    );
    assert!(closure.starts(), "{:?}", closure.findings);
    let loader = loader_of(&closure).expect("a loader");
    let masks = ["none", "x86-64-v2", "x86-64-v2:x86-64-v3"];
    let mut by_loader = BTreeSet::new();
    for mask in masks {
        let output = Command::new(&loader)
            .args(["--glibc-hwcaps-mask", mask, "--list"])
            .arg(&exe)
            .output()
            .expect("it");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text
            .lines()
            .find(|line| line.contains("libz1"))
            .expect("the library");
        let file = line
            .split(" => ")
            .nth(1)
            .and_then(|rest| rest.split(" (").next())
            .expect("a path");
        by_loader.insert(file.to_owned());
    }
    let own: BTreeSet<String> = plain(&closure)
        .into_iter()
        .filter(|file| file.contains("libz1"))
        .collect();
    assert!(own.is_superset(&by_loader), "{own:?} {by_loader:?}");
    assert_eq!(own.len(), 3, "{own:?}");
}

#[test]
fn case_02_static_pie_needs_nothing() {
    let Some(compiler) = compiler() else { return };
    let place = Compiled::new(&compiler);
    for (name, flag) in [("static", "-static"), ("static-pie", "-static-pie")] {
        let exe = place.program(name, "int main(void) { return 0; }", &[flag]);
        let closure = closure_in(
            Path::new("/"),
            exe.as_os_str().as_encoded_bytes(),
            Settings::default(),
        );
        assert_eq!(plain(&closure), [""; 0], "{name}");
        assert!(closure.starts(), "{name}: {:?}", closure.findings);
    }
}
