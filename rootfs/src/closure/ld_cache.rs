//! `/etc/ld.so.cache`: where ldconfig found which library.
//!
//! Invariant: it only says where to look; what is there is examined like any other file. Format: glibc's
//! sysdeps/generic/dl-cache.h, alone or behind the older one.

use std::collections::HashMap;
use std::ops::Range;

const OLD_MAGIC: &[u8] = b"ld.so-1.7.0";
const OLD_HEADER: usize = 16;
const OLD_ENTRY: usize = 12;
const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
const HEADER: usize = 48;
const ENTRY: usize = 24;
const EXTENSION_MAGIC: u32 = 0xeaa4_2174;
const TAG_HWCAPS: u32 = 1;
/// Marks the lower half of an entry's `hwcap` as the number of a glibc-hwcaps subdirectory.
const HWCAP_IS_SUBDIR: u64 = 1 << 62;

/// What the cache says about one library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CacheEntry {
    pub(super) flags: i32,
    /// The subdirectory of glibc-hwcaps that it is for.
    pub(super) subdir: Option<Vec<u8>>,
    pub(super) path: Vec<u8>,
}

/// The entries by name, in the order of the file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct LdCache(HashMap<Vec<u8>, Vec<CacheEntry>>);

impl LdCache {
    /// Reads a cache; `None` when the loader would not use it.
    pub(super) fn parse(data: &[u8]) -> Option<Self> {
        let data = &data[beginning(data)?..];
        let big = match data.get(28)? {
            // "Not set", by an ldconfig before 2.33, which knew no byte order but its own.
            0 | 2 => false,
            3 => true,
            _ => return None,
        };
        let words = Words { data, big };
        let count = usize::try_from(words.word(20)?).ok()?;
        let end = count.checked_mul(ENTRY)?.checked_add(HEADER)?;
        if end > data.len() {
            return None;
        }
        let subdirs = words.subdirs().unwrap_or_default();
        let mut cache = Self::default();
        for at in (HEADER..end).step_by(ENTRY) {
            let hwcap = words.long(at + 16)?;
            let subdir = match hwcap {
                0 => None,
                marked if marked >> 32 == HWCAP_IS_SUBDIR >> 32 => {
                    let number = usize::try_from(marked & 0xffff_ffff).ok()?;
                    Some(words.text(*subdirs.get(number)?)?.to_vec())
                }
                // For a processor's capabilities as glibc named them before 2.33.
                _ => continue,
            };
            let entry = CacheEntry {
                flags: words.word(at)?.cast_signed(),
                subdir,
                path: words.text(words.word(at + 8)?)?.to_vec(),
            };
            let name = words.text(words.word(at + 4)?)?;
            cache.0.entry(name.to_vec()).or_default().push(entry);
        }
        Some(cache)
    }

    /// The path for a library: of the best subdirectory that the processor knows, else the first without one.
    pub(super) fn lookup(
        &self,
        name: &[u8],
        flags: Option<i32>,
        subdirs: &[&str],
    ) -> Option<&[u8]> {
        let fitting = || {
            let entries = self.entries(name).iter();
            entries.filter(move |entry| flags.is_none_or(|flags| entry.flags == flags))
        };
        let rank = |entry: &&CacheEntry| {
            let subdir = entry.subdir.as_deref()?;
            subdirs.iter().position(|known| known.as_bytes() == subdir)
        };
        let best = fitting()
            .filter(|entry| rank(entry).is_some())
            .min_by_key(|entry| rank(entry));
        let best = best.or_else(|| fitting().find(|entry| entry.subdir.is_none()));
        best.map(|entry| entry.path.as_slice())
    }

    /// Whether another processor might get another answer.
    pub(super) fn depends_on_processor(&self, name: &[u8]) -> bool {
        self.entries(name)
            .iter()
            .any(|entry| entry.subdir.is_some())
    }

    fn entries(&self, name: &[u8]) -> &[CacheEntry] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }
}

/// Where the newer format begins: at once, or behind the entries of the older one, on a multiple of 8.
fn beginning(data: &[u8]) -> Option<usize> {
    if data.starts_with(MAGIC) {
        return Some(0);
    }
    if !data.starts_with(OLD_MAGIC) {
        return None;
    }
    let little = u32::from_le_bytes(data.get(12..16)?.try_into().ok()?);
    let big = u32::from_be_bytes(data.get(12..16)?.try_into().ok()?);
    [little, big].into_iter().find_map(|count| {
        let entries = usize::try_from(count).ok()?.checked_mul(OLD_ENTRY)?;
        let at = entries
            .checked_add(OLD_HEADER)?
            .checked_next_multiple_of(8)?;
        data.get(at..)?.starts_with(MAGIC).then_some(at)
    })
}

struct Words<'d> {
    data: &'d [u8],
    big: bool,
}

impl<'d> Words<'d> {
    fn piece<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        let range: Range<usize> = at..at.checked_add(N)?;
        self.data.get(range)?.try_into().ok()
    }

    fn word(&self, at: usize) -> Option<u32> {
        let bytes = self.piece(at)?;
        Some(match self.big {
            true => u32::from_be_bytes(bytes),
            false => u32::from_le_bytes(bytes),
        })
    }

    fn long(&self, at: usize) -> Option<u64> {
        let bytes = self.piece(at)?;
        Some(match self.big {
            true => u64::from_be_bytes(bytes),
            false => u64::from_le_bytes(bytes),
        })
    }

    fn text(&self, at: u32) -> Option<&'d [u8]> {
        let rest = self.data.get(usize::try_from(at).ok()?..)?;
        let end = rest.iter().take(4097).position(|byte| *byte == 0)?;
        Some(&rest[..end])
    }

    /// Offsets of the names of glibc-hwcaps subdirectories.
    fn subdirs(&self) -> Option<Vec<u32>> {
        let extension = usize::try_from(self.word(32)?).ok()?;
        if extension == 0 || self.word(extension)? != EXTENSION_MAGIC {
            return None;
        }
        let count = self.word(extension.checked_add(4)?)?.min(64) as usize;
        let section = (0..count)
            .map(|number| extension + 8 + number * 16)
            .find(|section| self.word(*section) == Some(TAG_HWCAPS))?;
        let at = usize::try_from(self.word(section + 8)?).ok()?;
        let length = usize::try_from(self.word(section + 12)?).ok()?;
        (0..(length / 4).min(1024))
            .map(|number| self.word(at.checked_add(number * 4)?))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `(name, path, subdirectory)` as ldconfig writes them.
    fn cache(entries: &[(&str, &str, Option<u32>)], subdirs: &[&str]) -> Vec<u8> {
        let names_at = HEADER + entries.len() * ENTRY;
        let (mut table, mut names) = (Vec::new(), Vec::new());
        let mut put = |text: &str| {
            let at = (names_at + names.len()) as u32;
            names.extend(text.as_bytes());
            names.push(0);
            at
        };
        for (name, path, subdir) in entries {
            let hwcap = subdir.map_or(0, |number| HWCAP_IS_SUBDIR | u64::from(number));
            for word in [0x0303, put(name), put(path), 0] {
                table.extend(word.to_le_bytes());
            }
            table.extend(hwcap.to_le_bytes());
        }
        let subdirs: Vec<u32> = subdirs.iter().map(|name| put(name)).collect();
        let extension = (names_at + names.len()).next_multiple_of(4);
        let mut data = MAGIC.to_vec();
        data.extend((entries.len() as u32).to_le_bytes());
        data.extend((names.len() as u32).to_le_bytes());
        data.extend([2, 0, 0, 0]);
        data.extend((extension as u32).to_le_bytes());
        data.resize(HEADER, 0);
        data.extend(table);
        data.extend(names);
        data.resize(extension, 0);
        let list = extension as u32 + 24;
        for word in [
            EXTENSION_MAGIC,
            1,
            TAG_HWCAPS,
            0,
            list,
            subdirs.len() as u32 * 4,
        ] {
            data.extend(word.to_le_bytes());
        }
        subdirs.iter().for_each(|at| data.extend(at.to_le_bytes()));
        data
    }

    fn sample() -> Vec<u8> {
        let entries = [
            (
                "libz.so.1",
                "/lib/glibc-hwcaps/x86-64-v2/libz.so.1",
                Some(0),
            ),
            (
                "libz.so.1",
                "/lib/glibc-hwcaps/x86-64-v3/libz.so.1",
                Some(1),
            ),
            ("libz.so.1", "/lib/libz.so.1", None),
            ("liby.so.1", "/opt/liby.so.1", None),
        ];
        cache(&entries, &["x86-64-v2", "x86-64-v3"])
    }

    #[test]
    fn the_best_known_subdirectory_wins() {
        let cache = LdCache::parse(&sample()).expect("a cache");
        let found = |name: &str, subdirs: &[&str]| {
            let path = cache.lookup(name.as_bytes(), Some(0x0303), subdirs);
            path.map(|path| String::from_utf8_lossy(path).into_owned())
        };
        assert_eq!(found("libz.so.1", &[]).unwrap(), "/lib/libz.so.1");
        let all = ["x86-64-v4", "x86-64-v3", "x86-64-v2"];
        let best = "/lib/glibc-hwcaps/x86-64-v3/libz.so.1";
        assert_eq!(found("libz.so.1", &all).unwrap(), best);
        assert_eq!(found("liby.so.1", &all).unwrap(), "/opt/liby.so.1");
        assert_eq!(found("libx.so.1", &all), None);
        assert_eq!(cache.lookup(b"liby.so.1", Some(0x0003), &[]), None);
        assert!(cache.depends_on_processor(b"libz.so.1"));
        assert!(!cache.depends_on_processor(b"liby.so.1"));
    }

    #[test]
    fn the_older_format_in_front_is_skipped() {
        let mut old = OLD_MAGIC.to_vec();
        old.resize(12, 0);
        old.extend(1_u32.to_le_bytes());
        old.resize((OLD_HEADER + OLD_ENTRY).next_multiple_of(8), 0);
        let both = [old, sample()].concat();
        assert_eq!(LdCache::parse(&both), LdCache::parse(&sample()));
    }

    #[test]
    fn s04_a_damaged_cache_is_no_cache_at_any_length() {
        let data = sample();
        for length in 0..data.len() {
            let _ = LdCache::parse(&data[..length]);
        }
        assert_eq!(LdCache::parse(&data[..HEADER]), None);
        let mut many = data;
        many[20..24].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(LdCache::parse(&many), None);
    }
}
