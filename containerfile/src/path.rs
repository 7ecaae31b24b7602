//! Lexical paths, as Go's `path.Clean` has them.
//!
//! Invariant: pure text; nothing here looks at a file system or knows about links.

/// The shortest equivalent path: no empty, `.` or inner `..` elements; `.` for nothing.
pub(crate) fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut kept: Vec<&str> = Vec::new();
    for element in path.split('/') {
        match element {
            "" | "." => {}
            ".." if kept.last().is_some_and(|&last| last != "..") => drop(kept.pop()),
            ".." if rooted => {}
            other => kept.push(other),
        }
    }
    match (rooted, kept.is_empty()) {
        (true, _) => format!("/{}", kept.join("/")),
        (false, true) => ".".to_owned(),
        (false, false) => kept.join("/"),
    }
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn cleaning_follows_go() {
        for (path, cleaned) in [
            ("", "."),
            ("a//b/./c/", "a/b/c"),
            ("/../a", "/a"),
            ("../a/../..", "../.."),
            ("a/..", "."),
            ("/", "/"),
            ("!a/", "!a"),
        ] {
            assert_eq!(clean(path), cleaned, "{path:?}");
        }
    }
}
