//! Lists of directories as objects and the environment give them, and the tokens in them.
//!
//! Invariant: what cannot be known without running (a directory relative to wherever that is) is left out and named.

/// What the tokens stand for; one that stands for nothing makes its directory disappear.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tokens<'a> {
    pub(super) origin: &'a [u8],
    pub(super) lib: Option<&'a [u8]>,
    pub(super) platform: Option<&'a [u8]>,
}

/// A text with its tokens replaced, as `_dl_dst_substitute` of glibc does.
pub(super) struct Expanded {
    /// `None` when a token stands for nothing.
    pub(super) text: Option<Vec<u8>>,
    /// Another processor may give another text.
    pub(super) by_platform: bool,
}

/// Replaces `$ORIGIN`, `$LIB`, `$PLATFORM`, with braces or without; an unknown word stays as it is.
pub(super) fn expand(text: &[u8], tokens: Tokens<'_>) -> Expanded {
    let mut out = Vec::with_capacity(text.len());
    let (mut rest, mut dropped, mut by_platform) = (text, false, false);
    while let Some(dollar) = rest.iter().position(|byte| *byte == b'$') {
        out.extend_from_slice(&rest[..dollar]);
        rest = &rest[dollar + 1..];
        let table = [
            (&b"ORIGIN"[..], Some(tokens.origin)),
            (b"LIB", tokens.lib),
            (b"PLATFORM", tokens.platform),
        ];
        let found = table
            .iter()
            .find_map(|(word, value)| after(rest, word).map(|after| (*word, *value, after)));
        match found {
            None => out.push(b'$'),
            Some((word, value, after)) => {
                by_platform |= word == b"PLATFORM";
                dropped |= value.is_none();
                out.extend_from_slice(value.unwrap_or_default());
                rest = after;
            }
        }
    }
    out.extend_from_slice(rest);
    Expanded {
        text: (!dropped).then_some(out),
        by_platform,
    }
}

/// What follows a word, in braces or not.
fn after<'t>(text: &'t [u8], word: &[u8]) -> Option<&'t [u8]> {
    match text.strip_prefix(b"{") {
        Some(inside) => inside.strip_prefix(word)?.strip_prefix(b"}"),
        None => text.strip_prefix(word),
    }
}

/// The last part of a raw path is a name; this is what is in front of it.
pub(super) fn directory_of(path: &[u8]) -> &[u8] {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(0) => b"/",
        Some(slash) => &path[..slash],
        None => b".",
    }
}

/// A name in a directory.
pub(super) fn in_directory(directory: &[u8], name: &[u8]) -> Vec<u8> {
    let mut end = directory.len();
    while end > 0 && directory[end - 1] == b'/' {
        end -= 1;
    }
    [&directory[..end], b"/", name].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> Option<String> {
        let tokens = Tokens {
            origin: b"/opt/a",
            lib: Some(b"lib/x"),
            platform: None,
        };
        expand(text.as_bytes(), tokens)
            .text
            .map(|text| String::from_utf8(text).unwrap())
    }

    #[test]
    fn tokens_are_replaced_with_and_without_braces() {
        assert_eq!(expanded("$ORIGIN/../$LIB").unwrap(), "/opt/a/../lib/x");
        assert_eq!(expanded("${ORIGIN}x/${LIB}").unwrap(), "/opt/ax/lib/x");
        assert_eq!(expanded("$ORIGINAL").unwrap(), "/opt/aAL");
        assert_eq!(expanded("/$x/${ORIGIN/$").unwrap(), "/$x/${ORIGIN/$");
        assert_eq!(expanded("/a/$PLATFORM/b"), None);
    }

    #[test]
    fn names_are_put_into_directories_with_one_slash() {
        assert_eq!(in_directory(b"/a//", b"b"), b"/a/b");
        assert_eq!(in_directory(b"/", b"b"), b"/b");
        assert_eq!(directory_of(b"/b"), b"/");
        assert_eq!(directory_of(b"/a/../b"), b"/a/..");
    }
}
