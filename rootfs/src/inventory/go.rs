//! What the Go linker writes into programs: the version of Go and the modules (package debug/buildinfo).
//!
//! Invariant: lengths are checked before they are used. The form of Go before 1.18, with pointers, is told as not read.

use super::{Package, PackageKind};

pub(super) const SECTION: &str = ".go.buildinfo";

const MAGIC: &[u8] = b"\xff Go buildinf:";
/// The texts follow the header of 32 bytes, each after its length.
const INLINE: u8 = 2;
const HEADER: usize = 32;
/// What encloses the text about modules (`infoStart` and `infoEnd` of cmd/go/internal/modload): 16 bytes each.
const MARK: usize = 16;

pub(super) fn parse(section: &[u8]) -> Result<Vec<Package>, &'static str> {
    const MALFORMED: &str = "its Go build information is malformed";
    if !section.starts_with(MAGIC) || section.len() < HEADER {
        return Err(MALFORMED);
    }
    if section[MAGIC.len() + 1] & INLINE == 0 {
        return Err("its Go build information has the form of Go before 1.18, which is not read");
    }
    let (version, rest) = text(&section[HEADER..]).ok_or(MALFORMED)?;
    let (modules, _) = text(rest).ok_or(MALFORMED)?;
    let modules = match modules.len() {
        length if length > 2 * MARK => &modules[MARK..length - MARK],
        _ => &[],
    };
    let version = String::from_utf8_lossy(version);
    // "go1.22.1 X:nocoverageredesign": experiments are no part of it.
    let version = version.split(' ').next().unwrap_or_default();
    let mut packages = vec![package("stdlib", version.trim_start_matches("go"))];
    packages.extend(listed(&String::from_utf8_lossy(modules)));
    Ok(packages)
}

/// Lines of `mod`, `dep`, and `=>` for what replaces the line before.
fn listed(text: &str) -> Vec<Package> {
    let mut packages: Vec<Package> = Vec::new();
    for line in text.lines() {
        let mut fields = line.split('\t');
        let (kind, name) = (fields.next(), fields.next().unwrap_or_default());
        let version = match fields.next().unwrap_or_default() {
            // Built from a work tree that is no version.
            "(devel)" => "",
            version => version,
        };
        match kind {
            Some("mod" | "dep") => {
                packages.push(package(name, version));
                if kind == Some("mod")
                    && let Some(main) = packages.last_mut()
                {
                    main.is_main = true;
                }
            }
            // A directory that replaces a module has no version, and stays the module.
            Some("=>") if !version.is_empty() => {
                if let Some(last) = packages.last_mut() {
                    (last.name, last.version) = (name.to_owned(), version.to_owned());
                }
            }
            _ => {}
        }
    }
    packages
}

fn package(name: &str, version: &str) -> Package {
    Package {
        kind: PackageKind::Go,
        name: name.to_owned(),
        version: version.to_owned(),
        ..Package::default()
    }
}

/// A length in base 128, then so many bytes.
fn text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut length = 0_usize;
    for (at, byte) in bytes.iter().take(5).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            let rest = &bytes[at + 1..];
            return (length <= rest.len()).then(|| rest.split_at(length));
        }
    }
    None
}
