//! musl's rules, which differ from glibc's wherever they can.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use rootfs::closure::{Settings, Why};

use crate::compiled::{Compiled, musl_compiler};
use crate::forge::{ARM64, Forge};
use crate::tree::{Place, closure_in, fatal, missing, plain, reason};

const LOADER: &str = "/lib/ld-musl-x86_64.so.1";

fn alpine() -> Place {
    let place = Place::new();
    let loader = Forge {
        texts: vec!["%.*s/etc/ld-musl-x86_64.path".to_owned()],
        ..Forge::library(&[])
    };
    place.elf(LOADER, &loader);
    place
}

fn program(needed: &[&str]) -> Forge {
    Forge::program(LOADER, needed)
}

#[test]
fn case_18_both_paths_are_inherited_and_runpath_wins() {
    let place = alpine();
    place
        .elf("/a/liby.so", &Forge::library(&["libz.so"]))
        .elf("/b/libz.so", &Forge::library(&["libc.musl-x86_64.so.1"]))
        .elf("/new", &program(&["liby.so"]).runpath("/a:/b"))
        .elf("/both", &program(&["liby.so"]).runpath("/a").rpath("/b"))
        .elf(
            "/other-token",
            &program(&["liby.so"]).runpath("/a:/b:/$LIB"),
        );
    let closure = place.closure("/new");
    assert_eq!(plain(&closure), ["/a/liby.so", "/b/libz.so", LOADER]);
    assert_eq!(
        reason(&closure, "/b/libz.so"),
        "libz.so needed by /a/liby.so, found in RUNPATH of /new"
    );
    assert_eq!(missing(&place.closure("/both")), ["libz.so"]);
    assert_eq!(missing(&place.closure("/other-token")), ["liby.so"]);
}

#[test]
fn case_18_the_path_file_replaces_the_built_in_directories() {
    let place = alpine();
    place
        .elf("/usr/local/lib/liby.so", &Forge::library(&[]))
        .elf("/opt/lib/libz.so", &Forge::library(&[]))
        .elf("/y", &program(&["liby.so"]))
        .elf("/z", &program(&["libz.so"]));
    assert_eq!(
        plain(&place.closure("/y")),
        [LOADER, "/usr/local/lib/liby.so"]
    );
    assert_eq!(missing(&place.closure("/z")), ["libz.so"]);
    place.write("/etc/ld-musl-x86_64.path", "/nowhere\n/opt/lib\n");
    assert_eq!(missing(&place.closure("/y")), ["liby.so"]);
    let closure = place.closure("/z");
    assert_eq!(
        plain(&closure),
        ["/etc/ld-musl-x86_64.path", LOADER, "/opt/lib/libz.so"]
    );
    assert_eq!(
        reason(&closure, "/etc/ld-musl-x86_64.path"),
        "/opt/lib/libz.so is found through it"
    );
}

#[test]
fn names_count_and_sonames_do_not() {
    let place = alpine();
    place
        .elf(
            "/lib/liba.so",
            &Forge::library(&["libb.so.1"]).soname("libb.so.1"),
        )
        .elf("/lib/libb.so.1", &Forge::library(&[]))
        .elf("/prog", &program(&["liba.so"]));
    assert_eq!(
        plain(&place.closure("/prog")),
        [LOADER, "/lib/liba.so", "/lib/libb.so.1"]
    );
}

#[test]
fn what_is_there_ends_the_search_even_when_it_cannot_be_loaded() {
    let place = alpine();
    place
        .elf(
            "/lib/libz.so",
            &Forge::library(&[]).machine(ARM64, true, false),
        )
        .elf("/usr/lib/libz.so", &Forge::library(&[]))
        .elf("/prog", &program(&["libz.so"]));
    let closure = place.closure("/prog");
    assert_eq!(
        fatal(&closure),
        ["/lib/libz.so: Exec format error: it is for another machine"]
    );
}

/// What musl's own loader maps.
fn listed(loader: &Path, program: &Path) -> BTreeSet<String> {
    let output = Command::new(loader)
        .arg("--list")
        .arg(program)
        .output()
        .expect("the loader");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = text.lines().filter_map(|line| line.split(" => ").nth(1));
    let files = lines.filter_map(|rest| rest.split(" (0x").next());
    let real = |file: &str| {
        std::fs::canonicalize(file)
            .expect("a mapped file")
            .to_string_lossy()
            .into_owned()
    };
    files
        .filter(|file| file.starts_with('/'))
        .map(real)
        .collect()
}

#[test]
fn case_18_programs_of_musl_need_what_their_loader_maps() {
    let Some(compiler) = musl_compiler() else {
        return;
    };
    let place = Compiled::new(&compiler);
    place.library("b/libz1.so.1", "int z(void) { return 1; }", &[]);
    place.library(
        "a/liby1.so.1",
        "int z(void); int y(void) { return z(); }",
        &["b/libz1.so.1"],
    );
    let main = "int y(void); int main(void) { return y() - 1; }";
    for dtags in ["-Wl,--disable-new-dtags", "-Wl,--enable-new-dtags"] {
        let flags = [
            "a/liby1.so.1",
            dtags,
            "-Wl,-rpath,$ORIGIN/a:$ORIGIN/b",
            "-Wl,--allow-shlib-undefined",
        ];
        let exe = place.program("exe", main, &flags);
        let closure = closure_in(
            Path::new("/"),
            exe.as_os_str().as_encoded_bytes(),
            Settings::default(),
        );
        assert!(closure.starts(), "{:?}", closure.findings);
        let loader = closure
            .files
            .iter()
            .find(|file| file.reason.why == Why::Interpreter);
        let loader = loader.expect("a loader").path.to_string();
        let mut expected = listed(Path::new(&loader), &exe);
        expected.insert(loader);
        assert_eq!(
            plain(&closure).into_iter().collect::<BTreeSet<_>>(),
            expected,
            "{dtags}"
        );
        assert!(Command::new(&exe).status().expect("it starts").success());
    }
}
