//! The files that a step reads, each with a fingerprint. The invariant: a list is bounded: of very many files directories are
//! listed instead, as deep as there is room.

use std::collections::{BTreeMap, BTreeSet};

use rootfs::TreePath;
use rootfs::digests::Fingerprint;
use serde::{Deserialize, Serialize};

use super::{Cause, Change, Reason};
use crate::key;

/// How many files or directories a list has at most.
const LONGEST: usize = 1000;

/// Files of one source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Listing {
    /// Whose they are, for people; empty for the build context.
    from: String,
    /// The number of components that paths are cut to, where they are.
    depth: Option<usize>,
    /// Paths and fingerprints.
    files: BTreeMap<String, String>,
}

impl Listing {
    /// A list of nothing.
    pub(crate) fn of(from: &str) -> Self {
        Self {
            from: from.to_owned(),
            ..Self::default()
        }
    }

    /// Whose the files are.
    pub(super) fn from(&self) -> &str {
        &self.from
    }

    /// Adds a file.
    pub(crate) fn add(&mut self, path: &TreePath, print: &Fingerprint) {
        let kind = if print.is_dir { 'd' } else { 'f' };
        let content = u64::from_be_bytes(print.content);
        let print = format!("{kind}{content:016x}:{}", print.mtime);
        let path = path.to_string();
        self.put(path.trim_start_matches('/'), &print);
        if self.files.len() > LONGEST {
            self.shorten();
        }
    }

    fn put(&mut self, path: &str, print: &str) {
        let Some(depth) = self.depth else {
            self.files.insert(path.to_owned(), print.to_owned());
            return;
        };
        let group = self.files.entry(top(path, depth).to_owned());
        let group = group.or_insert_with(|| "g0".to_owned());
        *group = format!("g{:016x}", sum_of(group).wrapping_add(mark(path, print)));
    }

    /// Cuts the paths as little as makes the list short enough.
    fn shorten(&mut self) {
        let fits = |depth: &usize| {
            let tops: BTreeSet<&str> = self.files.keys().map(|path| top(path, *depth)).collect();
            tops.len() <= LONGEST
        };
        let deepest = self.depth.map_or(64, |depth| depth.saturating_sub(1));
        let depth = (1..=deepest).rev().find(fits).unwrap_or(0);
        *self = self.cut(depth);
    }

    /// The list with paths of so many components; it has more, or all of them.
    fn cut(&self, depth: usize) -> Self {
        let mut cut = Self {
            from: self.from.clone(),
            depth: Some(depth),
            files: BTreeMap::new(),
        };
        if self.depth.is_none() {
            self.files
                .iter()
                .for_each(|(path, print)| cut.put(path, print));
            return cut;
        }
        let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
        for (path, group) in &self.files {
            let sum = sums.entry(top(path, depth)).or_default();
            *sum = sum.wrapping_add(sum_of(group));
        }
        let groups = sums.into_iter();
        cut.files = groups
            .map(|(path, sum)| (path.to_owned(), format!("g{sum:016x}")))
            .collect();
        cut
    }

    /// What differs in `new`, by path.
    pub(super) fn differences(&self, new: &Self) -> Vec<Reason> {
        let (old, new) = match (self.depth, new.depth) {
            (None, Some(depth)) => (self.cut(depth), new.clone()),
            (Some(depth), None) => (self.clone(), new.cut(depth)),
            // Two lists of very many files, cut differently.
            (Some(old), Some(other)) if old < other => (self.clone(), new.cut(old)),
            (Some(old), Some(other)) if old > other => (self.cut(other), new.clone()),
            _ => (self.clone(), new.clone()),
        };
        let mut found = Vec::new();
        for (path, print) in &new.files {
            match old.files.get(path) {
                None => found.push((path, Change::Added)),
                Some(known) if known != print => found.push((path, change(known, print))),
                Some(_) => {}
            }
        }
        let removed = old
            .files
            .keys()
            .filter(|path| !new.files.contains_key(*path));
        found.extend(removed.map(|path| (path, Change::Removed)));
        // A directory has another time because of what was put into it.
        let of_dir = |(path, change): &(&String, Change)| {
            let is_dir = new
                .files
                .get(*path)
                .is_some_and(|print| print.starts_with('d'));
            *change == Change::Time && is_dir
        };
        if !found.iter().all(of_dir) {
            found.retain(|one| !of_dir(one));
        }
        let reason = |(path, change): (&String, Change)| new.reason(path.clone(), change);
        found.into_iter().map(reason).collect()
    }

    fn reason(&self, path: String, change: Change) -> Reason {
        let from = (!self.from.is_empty()).then(|| format!("{}:", self.from));
        Reason {
            name: format!("{}{path}", from.unwrap_or_default()),
            change,
            ..Reason::of(Cause::File)
        }
    }
}

/// A number that stands for a file; those of a group are added up, whatever their order.
fn mark(path: &str, print: &str) -> u64 {
    let hash = key::hash(&[path.as_bytes(), print.as_bytes()]);
    u64::from_str_radix(&hash.hex()[..16], 16).unwrap_or_default()
}

/// What was added up of a group.
fn sum_of(group: &str) -> u64 {
    let sum = group.strip_prefix('g');
    sum.and_then(|sum| u64::from_str_radix(sum, 16).ok())
        .unwrap_or_default()
}

/// The first components of a path.
fn top(path: &str, depth: usize) -> &str {
    let Some(last) = depth.checked_sub(1) else {
        return "";
    };
    let end = path.match_indices('/').nth(last);
    end.map_or(path, |(end, _)| &path[..end])
}

fn change(old: &str, new: &str) -> Change {
    let content = |print: &str| print.split(':').next().map(str::to_owned);
    if !old.starts_with('g') && content(old) == content(new) {
        Change::Time
    } else {
        Change::Changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(files: &[(&str, u8, i64)]) -> Listing {
        let mut listing = Listing::of("");
        for (path, content, mtime) in files {
            let print = Fingerprint {
                content: [*content; 8],
                mtime: *mtime,
                is_dir: path.ends_with('/'),
            };
            let path = TreePath::clamped(path).expect("a path");
            listing.add(&path, &print);
        }
        listing
    }

    fn told(old: &Listing, new: &Listing) -> Vec<(String, Change)> {
        let reasons = old.differences(new);
        reasons
            .into_iter()
            .map(|one| (one.name, one.change))
            .collect()
    }

    #[test]
    fn files_are_told_by_path_and_a_directorys_time_only_alone() {
        let old = listing(&[("d/", 0, 1), ("d/a", 1, 1), ("d/b", 2, 1), ("d/c", 3, 1)]);
        assert_eq!(told(&old, &old), []);
        let new = listing(&[("d/", 0, 2), ("d/a", 9, 1), ("d/b", 2, 5), ("d/n", 3, 1)]);
        assert_eq!(
            told(&old, &new),
            [
                ("d/a".to_owned(), Change::Changed),
                ("d/b".to_owned(), Change::Time),
                ("d/n".to_owned(), Change::Added),
                ("d/c".to_owned(), Change::Removed),
            ]
        );
        let touched = listing(&[("d/", 0, 2), ("d/a", 1, 1), ("d/b", 2, 1), ("d/c", 3, 1)]);
        assert_eq!(told(&old, &touched), [("d".to_owned(), Change::Time)]);
    }

    #[test]
    fn of_very_many_files_directories_are_kept() {
        let names: Vec<String> = (0..LONGEST * 2)
            .map(|n| format!("src/{}/{n}", n % 7))
            .collect();
        let all = |odd: u8| {
            let files: Vec<_> = names
                .iter()
                .enumerate()
                .map(|(n, name)| (name.as_str(), if n == 3 { odd } else { 1 }, 1))
                .collect();
            listing(&files)
        };
        let (old, new) = (all(1), all(2));
        assert!(old.files.len() < LONGEST, "{}", old.files.len());
        assert_eq!(told(&old, &old), []);
        assert_eq!(told(&old, &new), [("src/3".to_owned(), Change::Changed)]);
        // A list that became short enough to be whole is compared all the same.
        let few = listing(&[("src/3/3", 1, 1)]);
        assert!(told(&old, &few).contains(&("src/3".to_owned(), Change::Changed)));
        let flat: Vec<String> = (0..=LONGEST).map(|n| n.to_string()).collect();
        let flat: Vec<_> = flat.iter().map(|name| (name.as_str(), 1, 1)).collect();
        assert_eq!(listing(&flat).files.len(), 1);
    }
}
