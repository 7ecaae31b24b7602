//! A header of rpm: tags with their values (rpm's docs/manual/format_header.md).
//!
//! Invariant: what lies outside of the header is not there; a header without name and version is none.

use super::super::{Database, Package, PackageKind};
use super::big;

const NAME: usize = 1000;
const VERSION: usize = 1001;
const RELEASE: usize = 1002;
const EPOCH: usize = 1003;
const VENDOR: usize = 1011;
const LICENCE: usize = 1014;
const ARCHITECTURE: usize = 1022;
const SOURCE: usize = 1044;
const DIR_INDEXES: usize = 1116;
const BASE_NAMES: usize = 1117;
const DIR_NAMES: usize = 1118;

/// Imported keys are packages to rpm.
const KEY: &str = "gpg-pubkey";
const ENTRY: usize = 16;

struct Header<'b> {
    entries: &'b [u8],
    data: &'b [u8],
}

/// Adds the package that a header is of, and its files.
pub(super) fn take(blob: &[u8], database: &mut Database) {
    let Some(header) = Header::of(blob) else {
        return;
    };
    let text = |tag| header.texts(tag).next().map(lossy);
    let (Some(name), Some(version)) = (text(NAME), text(VERSION)) else {
        return;
    };
    if name == KEY {
        return;
    }
    let at = database.packages.len();
    let release = text(RELEASE).map_or_else(String::new, |release| format!("-{release}"));
    let given = |tag| text(tag).filter(|text| !text.is_empty() && text != "(none)");
    database.packages.push(Package {
        kind: PackageKind::Rpm,
        name,
        version: format!("{version}{release}"),
        architecture: given(ARCHITECTURE),
        epoch: header
            .number(EPOCH, 0)
            .and_then(|epoch| epoch.try_into().ok()),
        upstream: given(SOURCE),
        licence: given(LICENCE),
        supplier: given(VENDOR),
        ..Package::default()
    });
    let directories: Vec<&[u8]> = header.texts(DIR_NAMES).collect();
    for (number, file) in header.texts(BASE_NAMES).enumerate() {
        let directory = header.number(DIR_INDEXES, number);
        if let Some(directory) = directory.and_then(|at| directories.get(at)) {
            let path = [*directory, file].concat();
            let path = path.strip_prefix(b"/").unwrap_or(&path).to_vec();
            database.files.insert(path, at);
        }
    }
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

impl<'b> Header<'b> {
    /// Two counts, entries of 16 bytes, and the values.
    fn of(blob: &'b [u8]) -> Option<Self> {
        let (count, length) = (big(blob, 0)?, big(blob, 4)?);
        let entries = blob.get(8..8_usize.checked_add(count.checked_mul(ENTRY)?)?)?;
        let data = blob.get(8 + entries.len()..)?;
        let data = data.get(..length)?;
        Some(Self { entries, data })
    }

    /// Where the values of a tag begin, and how many there are.
    fn values(&self, tag: usize) -> Option<(&'b [u8], usize)> {
        let mut entries = self.entries.chunks_exact(ENTRY);
        let entry = entries.find(|entry| big(entry, 0) == Some(tag))?;
        Some((self.data.get(big(entry, 8)?..)?, big(entry, 12)?))
    }

    /// Texts, each with a NUL at its end.
    fn texts(&self, tag: usize) -> impl Iterator<Item = &'b [u8]> {
        let (mut data, count) = self.values(tag).unwrap_or_default();
        (0..count).map_while(move |_| {
            let end = data.iter().position(|byte| *byte == 0)?;
            let text = &data[..end];
            data = &data[end + 1..];
            Some(text)
        })
    }

    /// One of the numbers of four bytes that a tag has.
    fn number(&self, tag: usize, at: usize) -> Option<usize> {
        let (data, count) = self.values(tag)?;
        (at < count).then(|| big(data, at * 4)).flatten()
    }
}
