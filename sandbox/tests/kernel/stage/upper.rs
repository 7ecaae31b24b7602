//! What a tree on disk holds, as the session sees it. The invariant: every entry is listed once, links are never followed.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// One entry of a tree.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Below the tree's root; empty for the root itself.
    pub path: String,
    /// Type and permissions, inode(7).
    pub mode: u32,
    /// Session id of the owner.
    pub uid: u32,
    /// Session id of the group.
    pub gid: u32,
}

/// Everything in the tree, sorted by path.
pub(crate) fn entries(root: &Path) -> Vec<Entry> {
    let mut found = Vec::new();
    let mut pending = vec![root.to_owned()];
    while let Some(path) = pending.pop() {
        let metadata = fs::symlink_metadata(&path).expect("nobody else changes the tree");
        if metadata.is_dir() {
            let children = fs::read_dir(&path).expect("the session may read everything");
            pending.extend(children.map(|child| child.expect("it is readable").path()));
        }
        found.push(Entry {
            path: path
                .strip_prefix(root)
                .expect("it is below the root")
                .to_string_lossy()
                .into_owned(),
            mode: metadata.mode(),
            uid: metadata.uid(),
            gid: metadata.gid(),
        });
    }
    found.sort();
    found
}
