//! `/etc/ld.so.conf`: which directories ldconfig would look through.
//!
//! Invariant: no loader reads it, so nothing is found through it; it only explains what is not found. Format: ldconfig(8).

use std::collections::BTreeSet;

use super::files::Files;
use super::tokens::directory_of;

const FILE: &[u8] = b"/etc/ld.so.conf";
const LARGEST: u64 = 64 << 10;
/// Files that may include others, altogether.
const MOST_FILES: usize = 256;

/// The directories in it and in what it includes.
pub(super) fn directories(files: &Files<'_>) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut waiting = vec![FILE.to_vec()];
    let mut read = BTreeSet::new();
    while let Some(file) = waiting.pop() {
        if read.len() >= MOST_FILES || !read.insert(file.clone()) {
            continue;
        }
        let Ok(Some((_, text))) = files.small(&file, LARGEST) else {
            continue;
        };
        for line in text.split(|byte| *byte == b'\n') {
            let line = line.split(|byte| *byte == b'#').next().unwrap_or_default();
            let mut words = line
                .split(u8::is_ascii_whitespace)
                .filter(|word| !word.is_empty());
            match (words.next(), words.next()) {
                (Some(b"include"), Some(pattern)) => {
                    let mut included = matching(files, directory_of(&file), pattern);
                    included.reverse();
                    waiting.extend(included);
                }
                (Some(directory), None) if directory.starts_with(b"/") => {
                    found.push(directory.to_vec());
                }
                _ => {}
            }
        }
    }
    found
}

/// The files that a pattern names; only its last name may hold `*` and `?`, as distributions have it.
fn matching(files: &Files<'_>, beside: &[u8], pattern: &[u8]) -> Vec<Vec<u8>> {
    let pattern = match pattern.starts_with(b"/") {
        true => pattern.to_vec(),
        false => [beside, b"/", pattern].concat(),
    };
    let directory = directory_of(&pattern);
    let wanted = pattern
        .rsplit(|byte| *byte == b'/')
        .next()
        .unwrap_or_default();
    let Ok(place) = files.places.find(directory) else {
        return Vec::new();
    };
    let names = files
        .tree()
        .read_dir(&place.path)
        .unwrap_or_default()
        .into_iter();
    let names = names.filter(|(name, _)| matches(wanted, name));
    names
        .map(|(name, _)| [directory, b"/", &name].concat())
        .collect()
}

/// `*` stands for any bytes, `?` for one.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut here) = (0, 0);
    let mut star = None;
    while here < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, here));
                at += 1;
            }
            Some(byte) if *byte == b'?' || *byte == name[here] => (at, here) = (at + 1, here + 1),
            _ => match star {
                Some((star_at, star_here)) => {
                    star = Some((star_at, star_here + 1));
                    (at, here) = (star_at + 1, star_here + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn stars_and_question_marks_stand_for_bytes() {
        for (pattern, name, expected) in [
            ("*.conf", "libc.conf", true),
            ("*.conf", "libc.conf.old", false),
            ("a*b*c", "aXbYbZc", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("", "a", false),
            ("*", "", true),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), name.as_bytes()),
                expected,
                "{pattern} {name}"
            );
        }
    }
}
