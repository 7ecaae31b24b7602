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

/// A path as seen from an absolute directory.
pub(crate) fn join(directory: &str, path: &str) -> String {
    if path.starts_with('/') {
        clean(path)
    } else {
        clean(&format!("{directory}/{path}"))
    }
}

/// What is left of a path below a directory, both absolute and clean; `None` where it is not below.
pub(crate) fn below<'p>(path: &'p str, directory: &str) -> Option<&'p str> {
    let rest = path.strip_prefix(directory.trim_end_matches('/'))?;
    rest.strip_prefix('/').filter(|rest| !rest.is_empty())
}

#[cfg(test)]
mod tests {
    use super::{below, clean, join};

    #[test]
    fn a_path_is_joined_and_cut() {
        assert_eq!(
            (join("/a", "../b"), join("/a", "/c/")),
            ("/b".into(), "/c".into())
        );
        assert_eq!(
            (below("/a/b", "/a"), below("/a/b", "/")),
            (Some("b"), Some("a/b"))
        );
        assert_eq!((below("/ab", "/a"), below("/a", "/a")), (None, None));
    }

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
