//! Asks the linker for packed relative relocations (`-z pack-relative-relocs`, DT_RELR) where the C library that is linked in
//! applies them: a position-independent static program relocates itself at every start, and rbuild starts once for each step.
//! The table is 390 kB without, 5 kB with. The invariant: where anything is unknown, the program is linked as it always was.

use std::process::Command;

/// The first glibc whose static start code applies them (its NEWS).
const GLIBC: (u32, u32) = (2, 36);

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let value = |name: &str| std::env::var(name).unwrap_or_default();
    let static_glibc = value("CARGO_CFG_TARGET_ENV") == "gnu"
        && value("CARGO_CFG_TARGET_FEATURE")
            .split(',')
            .any(|feature| feature == "crt-static");
    let same_machine = value("HOST") == value("TARGET");
    if static_glibc && same_machine && glibc().is_some_and(|found| found >= GLIBC) && ld_packs() {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// `glibc 2.36`, as getconf(1) says.
fn glibc() -> Option<(u32, u32)> {
    let text = output("getconf", "GNU_LIBC_VERSION")?;
    let (major, minor) = text.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// GNU ld from 2.38 on; older ones only warn about what they do not know.
fn ld_packs() -> bool {
    output("ld", "--help").is_some_and(|help| help.contains("pack-relative-relocs"))
}

fn output(program: &str, argument: &str) -> Option<String> {
    let output = Command::new(program).arg(argument).output().ok()?;
    String::from_utf8(output.stdout).ok()
}
