//! From a source as written to the paths it names.
//!
//! Invariant: what comes out exists in the source tree and is not hidden by the ignore file.

use crate::copy::{CopyError, Rules, Verdict};
use crate::path::{TreePath, escape};
use crate::tree::{Meta, Tree, TreeError};

/// A path that a source names.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Selected {
    /// As it was named, with wildcards replaced.
    pub(super) named: TreePath,
    /// Where that leads to, all links followed.
    pub(super) real: TreePath,
    pub(super) meta: Meta,
    /// How many leading components `--parents` leaves out (`/./`).
    pub(super) pivot: usize,
}

/// Expands `source`; `..` and a leading `/` stay inside the tree. With `deep`, `**` matches any number of directories.
pub(super) fn select(
    source: &str,
    tree: &dyn Tree,
    rules: &Rules<'_>,
    deep: bool,
) -> Result<Vec<Selected>, CopyError> {
    let pivot = match source.find("/./") {
        Some(at) => TreePath::clamped(&source[..at])?.components().count(),
        None => 0,
    };
    let pattern = TreePath::clamped(source)?;
    let components: Vec<&[u8]> = pattern.components().collect();
    let literal = !components.iter().any(|component| is_wild(component));
    let mut found = Vec::new();
    let mut waiting = vec![(TreePath::root(), 0)];
    while let Some((here, at)) = waiting.pop() {
        let Some(component) = components.get(at) else {
            found.extend(accept(here, tree, rules, pivot, literal)?);
            continue;
        };
        if !is_wild(component) {
            waiting.push((here.child(component), at + 1));
        } else if deep && *component == b"**" {
            waiting.push((here.clone(), at + 1));
            let below = children(&here, tree, rules)?
                .into_iter()
                .filter(|(_, meta)| meta.is_dir());
            waiting.extend(below.map(|(path, _)| (path, at)));
        } else {
            let wanted = String::from_utf8_lossy(component);
            for (path, _) in children(&here, tree, rules)?.into_iter().rev() {
                let name = path.file_name().unwrap_or_default();
                if (rules.glob)(&wanted, &String::from_utf8_lossy(name)) {
                    waiting.push((path, at + 1));
                }
            }
        }
    }
    found.sort_by(|left, right| left.named.cmp(&right.named));
    found.dedup_by(|left, right| left.named == right.named);
    Ok(found)
}

/// The one thing that `path` names, wildcards or not.
pub(super) fn literal(path: &TreePath, tree: &dyn Tree) -> Result<Selected, CopyError> {
    match find(path, tree)? {
        Some((real, meta)) => Ok(Selected {
            named: path.clone(),
            real,
            meta,
            pivot: 0,
        }),
        None => Err(CopyError::MissingSource {
            path: path.clone(),
            nearest: None,
        }),
    }
}

/// Go's `filepath.Match` knows `*`, `?`, `[...]` and the backslash.
fn is_wild(component: &[u8]) -> bool {
    component.iter().any(|byte| b"*?[\\".contains(byte))
}

/// Where `path` leads to, links followed inside the tree; nothing below a file, as where nothing is.
fn find(path: &TreePath, tree: &dyn Tree) -> Result<Option<(TreePath, Meta)>, CopyError> {
    match tree.lookup(path) {
        Err(TreeError::NotDirectory { .. }) => Ok(None),
        found => Ok(found?),
    }
}

/// What a directory of the source holds, without what is ignored; nothing when it is no directory.
fn children(
    directory: &TreePath,
    tree: &dyn Tree,
    rules: &Rules<'_>,
) -> Result<Vec<(TreePath, Meta)>, CopyError> {
    let Some((real, _)) = find(directory, tree)?.filter(|(_, meta)| meta.is_dir()) else {
        return Ok(Vec::new());
    };
    let names = tree
        .read_dir(&real)?
        .into_iter()
        .map(|(name, meta)| (directory.child(&name), meta));
    Ok(names
        .filter(|(path, meta)| (rules.ignore)(path, meta.is_dir()) != Verdict::Skip)
        .collect())
}

fn accept(
    named: TreePath,
    tree: &dyn Tree,
    rules: &Rules<'_>,
    pivot: usize,
    literal: bool,
) -> Result<Option<Selected>, CopyError> {
    // Links in the parents and the named link itself are followed inside the source (containerfile.md: as BuildKit).
    match find(&named, tree)? {
        Some((real, meta)) => {
            let verdict = |path: &TreePath| {
                if path.is_root() {
                    Verdict::Keep
                } else {
                    (rules.ignore)(path, meta.is_dir())
                }
            };
            if verdict(&named) == Verdict::Skip || verdict(&real) == Verdict::Skip {
                return if literal {
                    Err(CopyError::IgnoredSource { path: named })
                } else {
                    Ok(None)
                };
            }
            Ok(Some(Selected {
                named,
                real,
                meta,
                pivot,
            }))
        }
        None if literal => {
            let nearest = nearest(&named, tree, rules)?;
            Err(CopyError::MissingSource {
                path: named,
                nearest,
            })
        }
        None => Ok(None),
    }
}

/// The name that is most like the first missing component of `path`, when it is like it at all.
fn nearest(
    path: &TreePath,
    tree: &dyn Tree,
    rules: &Rules<'_>,
) -> Result<Option<TreePath>, CopyError> {
    let mut here = TreePath::root();
    for name in path.components() {
        let next = here.child(name);
        if find(&next, tree)?.is_some() {
            here = next;
            continue;
        }
        let wanted = escape(name);
        let distance =
            |path: &TreePath| edit_distance(&wanted, &escape(path.file_name().unwrap_or_default()));
        let best = children(&here, tree, rules)?
            .into_iter()
            .map(|(path, _)| (distance(&path), path))
            .min();
        return Ok(best
            .filter(|(distance, _)| {
                *distance > 0 && *distance <= wanted.chars().count().div_ceil(3)
            })
            .map(|(_, path)| path));
    }
    Ok(None)
}

/// Insertions, deletions, replacements and swaps of neighbours (optimal string alignment).
fn edit_distance(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) = (
        left.to_lowercase().chars().collect(),
        right.to_lowercase().chars().collect(),
    );
    let mut before: Vec<usize> = Vec::new();
    let mut previous: Vec<usize> = (0..=right.len()).collect();
    for (row, wanted) in left.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, given) in right.iter().enumerate() {
            let replace = previous[column] + usize::from(wanted != given);
            let mut best = replace
                .min(previous[column + 1] + 1)
                .min(current[column] + 1);
            if row > 0 && column > 0 && left[row - 1] == *given && right[column - 1] == *wanted {
                best = best.min(before[column - 1] + 1);
            }
            current.push(best);
        }
        before = std::mem::replace(&mut previous, current);
    }
    previous[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_count_swaps_as_one() {
        assert_eq!(edit_distance("pakcage.json", "package.json"), 1);
        assert_eq!(edit_distance("Main.c", "main.c"), 0);
        assert_eq!(edit_distance("", "abc"), 3);
    }
}
