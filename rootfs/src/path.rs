//! A path inside a tree: raw bytes, relative to the root, without `.`, `..`, empty components or NUL. The root is empty.
//!
//! Linux names are bytes (F26), so nothing here is text; `Display` escapes what a terminal or a log must not see.

use std::fmt;

use thiserror::Error;

/// Why bytes are not a path inside a tree.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathError {
    /// The kernel ends a name at NUL; a parser that does not would see another file.
    #[error("use the name '{name}': it contains a NUL byte")]
    Nul {
        /// The name, escaped.
        name: String,
    },
    /// More `..` than there are parents.
    #[error("use the name '{name}': it leads out of the tree")]
    Escapes {
        /// The name, escaped.
        name: String,
    },
}

/// A normalised path relative to the root of a tree.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TreePath(Vec<u8>);

impl TreePath {
    /// The root itself.
    pub const fn root() -> Self {
        Self(Vec::new())
    }

    /// Cleans `raw` lexically, as Go's `filepath.Clean` after anchoring at `/`: `..` at the root stays at the root.
    pub fn clamped(raw: impl AsRef<[u8]>) -> Result<Self, PathError> {
        Self::clean(raw.as_ref(), true)
    }

    /// Cleans `raw` lexically and refuses a path that leads out; a leading `/` means the root of the tree.
    pub fn scoped(raw: impl AsRef<[u8]>) -> Result<Self, PathError> {
        Self::clean(raw.as_ref(), false)
    }

    fn clean(raw: &[u8], clamp: bool) -> Result<Self, PathError> {
        if raw.contains(&0) {
            return Err(PathError::Nul { name: escape(raw) });
        }
        let mut cleaned = Vec::with_capacity(raw.len());
        for component in raw.split(|byte| *byte == b'/') {
            match component {
                b"" | b"." => {}
                b".." if cleaned.is_empty() && !clamp => {
                    return Err(PathError::Escapes { name: escape(raw) });
                }
                b".." => cleaned.truncate(parent_len(&cleaned)),
                name => push(&mut cleaned, name),
            }
        }
        Ok(Self(cleaned))
    }

    /// The path whose [bytes](Self::as_bytes) were put aside.
    pub(crate) const fn kept(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes, without a leading `/`; empty for the root.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// True for the root of the tree.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The names from the root down; none for the root.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0
            .split(|byte| *byte == b'/')
            .filter(|name| !name.is_empty())
    }

    /// The directory that holds this path; the root is its own parent.
    #[must_use]
    pub fn parent(&self) -> Self {
        Self(self.0[..parent_len(&self.0)].to_vec())
    }

    /// The last name; `None` for the root.
    pub fn file_name(&self) -> Option<&[u8]> {
        self.split().map(|(_, name)| name)
    }

    /// Parent bytes and last name; `None` for the root.
    pub fn split(&self) -> Option<(&[u8], &[u8])> {
        if self.is_root() {
            return None;
        }
        let parent = parent_len(&self.0);
        let name = if parent == 0 {
            &self.0[..]
        } else {
            &self.0[parent + 1..]
        };
        Some((&self.0[..parent], name))
    }

    /// This path with one more name; `name` comes from a directory listing or another path.
    #[must_use]
    pub fn child(&self, name: &[u8]) -> Self {
        debug_assert!(!name.is_empty() && !name.contains(&b'/') && name != b"." && name != b"..");
        let mut path = Vec::with_capacity(self.0.len() + 1 + name.len());
        path.extend_from_slice(&self.0);
        push(&mut path, name);
        Self(path)
    }

    /// `below` seen from this path.
    #[must_use]
    pub fn join(&self, below: &Self) -> Self {
        let mut path = self.0.clone();
        if !below.is_root() {
            push(&mut path, &below.0);
        }
        Self(path)
    }

    /// The part below `base`; `None` when this path is neither `base` nor inside it (whole components, S12).
    pub fn below(&self, base: &Self) -> Option<Self> {
        if base.is_root() {
            return Some(self.clone());
        }
        match self.0.strip_prefix(&base.0[..])? {
            b"" => Some(Self::root()),
            rest => rest.strip_prefix(b"/").map(|rest| Self(rest.to_vec())),
        }
    }
}

fn parent_len(path: &[u8]) -> usize {
    path.iter().rposition(|byte| *byte == b'/').unwrap_or(0)
}

fn push(path: &mut Vec<u8>, name: &[u8]) {
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
}

/// Bytes as text: printable UTF-8 as it is, everything else as `\xNN`, a backslash doubled.
pub fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\\' => text.push_str("\\\\"),
                plain if plain.is_control() => {
                    let mut buffer = [0; 4];
                    plain
                        .encode_utf8(&mut buffer)
                        .bytes()
                        .for_each(|byte| text.push_str(&format!("\\x{byte:02x}")));
                }
                plain => text.push(plain),
            }
        }
        chunk
            .invalid()
            .iter()
            .for_each(|byte| text.push_str(&format!("\\x{byte:02x}")));
    }
    text
}

impl fmt::Display for TreePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "/{}", escape(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scoped(raw: &str) -> String {
        TreePath::scoped(raw).expect("valid").to_string()
    }

    #[test]
    fn paths_are_cleaned_as_go_cleans_them() {
        for (raw, cleaned) in [
            ("", "/"),
            (".", "/"),
            ("./", "/"),
            ("/", "/"),
            ("/a//b/./c/", "/a/b/c"),
            ("a/../b", "/b"),
        ] {
            assert_eq!(scoped(raw), cleaned, "{raw}");
        }
        assert_eq!(
            TreePath::clamped("../../etc/../x")
                .expect("valid")
                .to_string(),
            "/x"
        );
    }

    #[test]
    fn s12_a_name_that_leads_to_a_sibling_with_the_same_prefix_is_refused() {
        assert!(matches!(
            TreePath::scoped("../ctx-evil/f"),
            Err(PathError::Escapes { .. })
        ));
        let base = TreePath::scoped("ctx").expect("valid");
        assert_eq!(
            TreePath::scoped("ctx-evil/f").expect("valid").below(&base),
            None
        );
        assert_eq!(
            TreePath::scoped("ctx/f").expect("valid").below(&base),
            Some(TreePath::scoped("f").expect("valid"))
        );
    }

    #[test]
    fn f26_odd_names_are_kept_and_shown_escaped() {
        let path = TreePath::scoped(b"a\n\xff\\-:,").expect("valid");
        assert_eq!(path.as_bytes(), b"a\n\xff\\-:,");
        assert_eq!(path.to_string(), "/a\\x0a\\xff\\\\-:,");
        assert!(matches!(
            TreePath::scoped(b"a\0b"),
            Err(PathError::Nul { .. })
        ));
    }

    #[test]
    fn parents_and_names_split() {
        let path = TreePath::scoped("a/b/c").expect("valid");
        assert_eq!(path.parent().to_string(), "/a/b");
        assert_eq!(path.file_name(), Some(&b"c"[..]));
        assert_eq!(TreePath::root().file_name(), None);
        assert_eq!(TreePath::root().child(b"x").parent(), TreePath::root());
    }
}
