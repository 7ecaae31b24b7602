//! Paths inside an image, as text. Invariant: what comes out is absolute and clean: no `.`, `..`, empty part or trailing slash.

/// A path relative to a directory, or absolute, made clean (Go's `path.Clean`). `..` ends at the root.
pub(super) fn join(directory: &str, written: &str) -> String {
    let start = if written.starts_with('/') {
        ""
    } else {
        directory
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in start.split('/').chain(written.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::join;

    #[test]
    fn paths_are_joined_and_cleaned() {
        for (directory, written, result) in [
            ("/", "a", "/a"),
            ("/a", "b/", "/a/b"),
            ("/a", "/b", "/b"),
            ("/a/b", "../c", "/a/c"),
            ("/a", "../../..", "/"),
            ("/a", "", "/a"),
            ("/", "//x/./y//", "/x/y"),
        ] {
            assert_eq!(join(directory, written), result, "{directory} + {written}");
        }
    }
}
