//! Notes: about libraries that a program opens by itself, and its build id.
//!
//! Invariant: a note that cannot be understood says nothing; it is never an error. Formats: elf(5); the uapi-group specification "ELF
//! dlopen metadata", section `.note.dlopen`.

use serde::Deserialize;

/// `FDO` and a NUL.
const OWNER: &[u8] = b"FDO\0";
const DLOPEN: usize = 0x407c_0c0a;

/// What names one build: `NT_GNU_BUILD_ID` of elf(5), and what Go's linker writes (`ELF_NOTE_BUILDID_TAG` in its cmd/link).
const BUILD_IDS: [(&[u8], usize); 2] = [(b"GNU\0", 3), (b"Go\0\0", 4)];

/// How much a program misses a library that it opens by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Priority {
    /// It does not do its work without.
    Required,
    /// Few do.
    Suggested,
    /// Most users want it; so it is without a word, or with an unknown one.
    #[default]
    #[serde(other)]
    Recommended,
}

/// A library that a program opens by itself: the first of these names that is there.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct DlopenNote {
    #[serde(rename = "soname")]
    pub(super) sonames: Vec<String>,
    #[serde(default)]
    pub(super) priority: Priority,
    #[serde(default)]
    pub(super) feature: String,
}

/// One note.
struct Note<'b> {
    owner: &'b [u8],
    kind: usize,
    text: &'b [u8],
}

/// The notes in the bytes of a PT_NOTE segment; `word` reads a number of four bytes.
fn each<'b>(
    bytes: &'b [u8],
    word: &'b dyn Fn(usize) -> usize,
) -> impl Iterator<Item = Note<'b>> + 'b {
    let mut at = 0_usize;
    std::iter::from_fn(move || {
        if at + 12 > bytes.len() {
            return None;
        }
        let (owner, length, kind) = (word(at), word(at + 4), word(at + 8));
        let description = at + 12 + owner.next_multiple_of(4);
        let end = description + length;
        let note = Note {
            owner: bytes.get(at + 12..at + 12 + owner).unwrap_or_default(),
            kind,
            text: bytes.get(description..end).unwrap_or_default(),
        };
        at = end.next_multiple_of(4);
        Some(note)
    })
}

/// What the notes of a segment say of libraries.
pub(super) fn dlopen(bytes: &[u8], word: &dyn Fn(usize) -> usize) -> Vec<DlopenNote> {
    let mut found = Vec::new();
    for note in each(bytes, word).filter(|note| note.kind == DLOPEN && note.owner == OWNER) {
        let text = note.text.split(|byte| *byte == 0).next();
        let notes: Vec<DlopenNote> =
            serde_json::from_slice(text.unwrap_or_default()).unwrap_or_default();
        found.extend(notes.into_iter().filter(|note| !note.sonames.is_empty()));
    }
    found
}

/// Whether one of them is a build id.
pub(super) fn has_build_id(bytes: &[u8], word: &dyn Fn(usize) -> usize) -> bool {
    each(bytes, word)
        .any(|note| !note.text.is_empty() && BUILD_IDS.contains(&(note.owner, note.kind)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(owner: &[u8], kind: u32, text: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for number in [owner.len() as u32, text.len() as u32, kind] {
            bytes.extend(number.to_le_bytes());
        }
        for part in [owner, text] {
            bytes.extend(part);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes
    }

    fn read(bytes: &[u8]) -> Vec<DlopenNote> {
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        dlopen(bytes, &word)
    }

    fn identified(bytes: &[u8]) -> bool {
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        has_build_id(bytes, &word)
    }

    #[test]
    fn build_ids_are_gnus_and_gos() {
        let abi = note(b"GNU\0", 1, b"0123456789abcdef");
        for (bytes, expected) in [
            (note(b"GNU\0", 3, b"id"), true),
            (note(b"Go\0\0", 4, b"a/b/c/d"), true),
            ([abi.clone(), note(b"GNU\0", 3, b"id")].concat(), true),
            (abi, false),
            (note(b"GNU\0", 3, b""), false),
            (note(b"Go\0\0", 3, b"x"), false),
            (Vec::new(), false),
        ] {
            assert_eq!(identified(&bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn notes_of_the_right_owner_and_kind_are_read() {
        let text = br#"[{"soname":["libx.so.1"],"priority":"suggested","feature":"x","description":"d"},{"soname":["liby.so.2"]}]"#;
        let bytes = [
            note(b"GNU\0", 3, b"abc"),
            note(OWNER, DLOPEN as u32, text),
            note(OWNER, DLOPEN as u32, b"[{"),
        ]
        .concat();
        let found = read(&bytes);
        assert_eq!(found.len(), 2);
        assert_eq!(
            (found[0].priority, found[0].feature.as_str()),
            (Priority::Suggested, "x")
        );
        assert_eq!(
            (found[1].priority, found[1].sonames[0].as_str()),
            (Priority::Recommended, "liby.so.2")
        );
    }

    #[test]
    fn lengths_that_lead_out_end_the_reading() {
        let mut bytes = note(OWNER, DLOPEN as u32, b"[]");
        bytes[..4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(read(&bytes), []);
    }
}
