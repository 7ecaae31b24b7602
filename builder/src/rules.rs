//! The matchers of the Containerfile language, as the copy engine asks them. The invariant: a verdict depends on the path and
//! the patterns alone; the file system is not looked at.

use containerfile::glob;
use containerfile::ignore::{IgnoreError, IgnoreFile};
use rootfs::TreePath;
use rootfs::copy::Verdict;

/// Patterns of an ignore file or of `--exclude`.
#[derive(Debug)]
pub(crate) struct Patterns(IgnoreFile);

impl Patterns {
    pub(crate) fn of_text(text: &str) -> Result<Self, IgnoreError> {
        IgnoreFile::parse(text).map(Self)
    }

    pub(crate) fn of_flags(patterns: &[String]) -> Result<Self, IgnoreError> {
        IgnoreFile::from_patterns(patterns.iter().map(String::as_str)).map(Self)
    }

    pub(crate) fn verdict(&self, path: &TreePath, is_dir: bool) -> Verdict {
        if self.0.is_empty() || path.is_root() {
            return Verdict::Keep;
        }
        let names: Vec<_> = path.components().map(String::from_utf8_lossy).collect();
        let (last, parents) = names.split_last().expect("the root was handled");
        let mut directory = self.0.root();
        for parent in parents {
            directory = self.0.enter(&directory, parent).directory;
        }
        if !is_dir {
            return if self.0.ignores(&directory, last) {
                Verdict::Skip
            } else {
                Verdict::Keep
            };
        }
        let entered = self.0.enter(&directory, last);
        match (entered.ignored, entered.descend) {
            (false, _) => Verdict::Keep,
            (true, true) => Verdict::SkipButDescend,
            (true, false) => Verdict::Skip,
        }
    }
}

/// Whether a name matches one component of a COPY source. A malformed pattern was reported by the planner; it matches nothing.
pub(crate) fn matches_component(pattern: &str, name: &str) -> bool {
    glob::matches(pattern, name).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(text: &str, path: &str, is_dir: bool) -> Verdict {
        let path = TreePath::scoped(path).unwrap();
        Patterns::of_text(text).unwrap().verdict(&path, is_dir)
    }

    #[test]
    fn an_exception_below_an_excluded_directory_is_reached() {
        let text = "*\n!src/**/*.go\n";
        assert_eq!(verdict(text, "src", true), Verdict::SkipButDescend);
        assert_eq!(verdict(text, "src/a/x.go", false), Verdict::Keep);
        assert_eq!(verdict(text, "src/a/x.c", false), Verdict::Skip);
        assert_eq!(verdict(text, "doc", true), Verdict::Skip);
    }

    #[test]
    fn a_parents_match_excludes_the_child() {
        assert_eq!(
            verdict("node_modules\n", "node_modules/a/b", false),
            Verdict::Skip
        );
        assert_eq!(
            verdict("node_modules\n", "src/node_modules", true),
            Verdict::Keep
        );
    }
}
