//! The matchers of the Containerfile language, as the copy engine asks them. The invariant: a verdict depends on the path and
//! the patterns alone; the file system is not looked at.

use std::sync::{Mutex, PoisonError};

use containerfile::glob;
use containerfile::ignore::{Directory, IgnoreError, IgnoreFile};
use rootfs::TreePath;
use rootfs::copy::Verdict;

/// Patterns of an ignore file or of `--exclude`.
#[derive(Debug)]
pub(crate) struct Patterns {
    file: IgnoreFile,
    /// The directories down to the one that was asked about last: a walk asks about one directory after the other.
    trail: Mutex<Vec<(Vec<u8>, Directory)>>,
}

impl Patterns {
    pub(crate) fn of_text(text: &str) -> Result<Self, IgnoreError> {
        IgnoreFile::parse(text).map(Self::of)
    }

    pub(crate) fn of_flags(patterns: &[String]) -> Result<Self, IgnoreError> {
        IgnoreFile::from_patterns(patterns.iter().map(String::as_str)).map(Self::of)
    }

    fn of(file: IgnoreFile) -> Self {
        let trail = Mutex::new(vec![(Vec::new(), file.root())]);
        Self { file, trail }
    }

    pub(crate) fn verdict(&self, path: &TreePath, is_dir: bool) -> Verdict {
        let Some(last) = path.file_name().filter(|_| !self.file.is_empty()) else {
            return Verdict::Keep;
        };
        let last = String::from_utf8_lossy(last);
        let mut trail = self.trail.lock().unwrap_or_else(PoisonError::into_inner);
        let directory = self.down_to(&path.parent(), &mut trail);
        if !is_dir {
            return if self.file.ignores(directory, &last) {
                Verdict::Skip
            } else {
                Verdict::Keep
            };
        }
        let entered = self.file.enter(directory, &last);
        match (entered.ignored, entered.descend) {
            (false, _) => Verdict::Keep,
            (true, true) => Verdict::SkipButDescend,
            (true, false) => Verdict::Skip,
        }
    }

    /// What the patterns know of a directory; what it has in common with the last one is not asked again.
    fn down_to<'t>(
        &self,
        path: &TreePath,
        trail: &'t mut Vec<(Vec<u8>, Directory)>,
    ) -> &'t Directory {
        let names: Vec<&[u8]> = path.components().collect();
        let walked = trail.iter().skip(1).map(|(name, _)| name.as_slice());
        let common = walked
            .zip(&names)
            .take_while(|(one, two)| one == *two)
            .count();
        // The first level is the root.
        trail.truncate(common + 1);
        for name in &names[common..] {
            let above = &trail.last().expect("the root stays").1;
            let below = self
                .file
                .enter(above, &String::from_utf8_lossy(name))
                .directory;
            trail.push((name.to_vec(), below));
        }
        &trail.last().expect("the root stays").1
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

    #[test]
    fn answers_do_not_depend_on_what_was_asked_before() {
        let text = "*\n!src/**/*.go\nsrc/vendor\n!doc/a\n";
        let paths = [
            ("src", true),
            ("src/a", true),
            ("src/a/x.go", false),
            ("src/vendor", true),
            ("src/vendor/x.go", false),
            ("doc", true),
            ("doc/a", false),
            ("doc/b", false),
            ("src/a/b/c/x.go", false),
            ("x", false),
            ("src/x.go", false),
        ];
        let walked = Patterns::of_text(text).unwrap();
        for (path, is_dir) in paths.iter().chain(paths.iter().rev()) {
            let scoped = TreePath::scoped(path).unwrap();
            assert_eq!(
                walked.verdict(&scoped, *is_dir),
                verdict(text, path, *is_dir),
                "{path}"
            );
        }
    }
}
