//! A tree as text, one line per entry: what tests compare and `inspect --files` shows.
//!
//! Invariant: two trees have the same listing exactly when a container could not tell them apart, times aside.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io;

use image::Hasher;

use crate::path::{TreePath, escape};
use crate::tree::{NodeKind, Tree, TreeError};

/// The text form of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing(String);

impl std::fmt::Display for Listing {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// How much of a file is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Kind, mode, owner, size, path, link target: no content is read.
    Names,
    /// The first digits of each file's digest, and attributes, too.
    Contents,
}

impl Listing {
    /// Lists everything below the root, and the root itself.
    pub fn of(tree: &dyn Tree, detail: Detail) -> Result<Self, TreeError> {
        let mut text = String::new();
        let mut seen: HashMap<(u64, u64), TreePath> = HashMap::new();
        let mut waiting = vec![TreePath::root()];
        while let Some(path) = waiting.pop() {
            let Some(meta) = tree.node(&path)? else {
                continue;
            };
            let _infallible = write!(
                text,
                "{} {:04o} {}:{} ",
                letter(meta.kind),
                meta.mode,
                meta.uid,
                meta.gid
            );
            let _infallible = match meta.kind {
                NodeKind::File => write!(text, "{} {path}", meta.size),
                NodeKind::Symlink => write!(text, "{path} -> {}", escape(&tree.read_link(&path)?)),
                NodeKind::Char(device) | NodeKind::Block(device) => {
                    write!(text, "{}:{} {path}", device.major, device.minor)
                }
                _ => write!(text, "{path}"),
            };
            let earlier = if meta.links > 1 && !meta.is_dir() {
                seen.insert(meta.inode, path.clone())
            } else {
                None
            };
            if let Some(first) = earlier {
                let _infallible = write!(text, " = {first}");
                seen.insert(meta.inode, first);
            } else if detail == Detail::Contents {
                contents(tree, &path, meta.kind, &mut text)?;
            }
            text.push('\n');
            if meta.is_dir() {
                waiting.extend(
                    tree.read_dir(&path)?
                        .into_iter()
                        .rev()
                        .map(|(name, _)| path.child(&name)),
                );
            }
        }
        Ok(Self(text))
    }
}

fn contents(
    tree: &dyn Tree,
    path: &TreePath,
    kind: NodeKind,
    text: &mut String,
) -> Result<(), TreeError> {
    let xattrs = match kind {
        NodeKind::File => {
            let mut file = tree.open(path)?;
            let mut hasher = Hasher::new();
            io::copy(&mut file.content, &mut hasher).map_err(|source| TreeError::Layer {
                path: path.clone(),
                source,
            })?;
            let _infallible = write!(text, " {}", hasher.finish().short());
            file.xattrs
        }
        NodeKind::Dir => tree.xattrs(path)?,
        _ => return Ok(()),
    };
    for (name, value) in &xattrs {
        let _infallible = write!(text, " {}={}", escape(name), escape(value));
    }
    Ok(())
}

fn letter(kind: NodeKind) -> char {
    match kind {
        NodeKind::File => '-',
        NodeKind::Dir => 'd',
        NodeKind::Symlink => 'l',
        NodeKind::Fifo => 'p',
        NodeKind::Socket => 's',
        NodeKind::Char(_) => 'c',
        NodeKind::Block(_) => 'b',
    }
}
