//! The files of an image, and what single layers hold. Invariant: a file is told as the topmost layer that has it says.

use std::collections::{BTreeMap, BTreeSet};

use containerfile::lint::{FileFact, FileKind, LayerFact};
use image::{DiffId, Store};
use rootfs::entry::Xattrs;
use rootfs::trees::TreesError;
use rootfs::{Kind, Meta, NodeKind, Tree, TreeError, TreePath};

use super::shown;

const CAPABILITIES: &[u8] = b"security.capability";

/// What merged-/usr systems have as links.
const LINKS: [&str; 6] = ["/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];

pub(super) fn of_tree(tree: &dyn Tree) -> Result<BTreeMap<String, FileFact>, TreeError> {
    let root = TreePath::root();
    let mut files = BTreeMap::new();
    if let Some(meta) = tree.node(&root)? {
        files.insert("/".to_owned(), fact(tree, &root, &meta)?);
    }
    let mut waiting = vec![root];
    while let Some(directory) = waiting.pop() {
        for (name, meta) in tree.read_dir(&directory)? {
            let path = directory.child(&name);
            files.insert(shown(&path), fact(tree, &path, &meta)?);
            if meta.is_dir() {
                waiting.push(path);
            }
        }
    }
    Ok(files)
}

fn fact(tree: &dyn Tree, path: &TreePath, meta: &Meta) -> Result<FileFact, TreeError> {
    let kind = match meta.kind {
        NodeKind::File => FileKind::File,
        NodeKind::Dir => FileKind::Directory,
        NodeKind::Symlink => {
            FileKind::Link(String::from_utf8_lossy(&tree.read_link(path)?).into_owned())
        }
        NodeKind::Fifo | NodeKind::Socket | NodeKind::Char(_) | NodeKind::Block(_) => {
            FileKind::Other
        }
    };
    let capabilities = kind == FileKind::File && tree.xattrs(path)?.contains_key(CAPABILITIES);
    Ok(FileFact {
        kind,
        mode: meta.mode,
        uid: meta.uid,
        gid: meta.gid,
        capabilities,
    })
}

/// What not everybody can unpack, and the links that are directories now.
pub(super) fn of_layers(
    store: &Store,
    diff_ids: &[DiffId],
) -> Result<(Vec<LayerFact>, Vec<String>), TreesError> {
    let mut found = Vec::new();
    let mut links = BTreeSet::new();
    let mut replaced = BTreeSet::new();
    for (number, diff_id) in diff_ids.iter().enumerate() {
        rootfs::trees::each_record(store, diff_id, |record| {
            let entry = record.entry;
            let path = shown(&entry.path);
            if LINKS.contains(&path.as_str()) {
                match entry.kind {
                    Kind::Symlink(_) => {
                        links.insert(path.clone());
                        replaced.remove(&path);
                    }
                    Kind::Dir if links.contains(&path) => {
                        replaced.insert(path.clone());
                    }
                    _ => {}
                }
            }
            let device = matches!(entry.kind, Kind::Char(_) | Kind::Block(_))
                .then(|| "a device node".to_owned());
            for what in device.into_iter().chain(attributes(&entry.xattrs)) {
                let layer = number + 1;
                found.push(LayerFact {
                    layer,
                    path: path.clone(),
                    what,
                });
            }
        })?;
    }
    Ok((found, replaced.into_iter().collect()))
}

fn attributes(xattrs: &Xattrs) -> impl Iterator<Item = String> {
    xattrs.keys().filter_map(|name| match name.as_slice() {
        CAPABILITIES => Some("file capabilities".to_owned()),
        name if name.starts_with(b"trusted.") => {
            Some(format!("the attribute {}", rootfs::closure::shown(name)))
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use image::Digest;
    use rootfs::entry::Device;
    use rootfs::layer::{Record, Stored};
    use rootfs::{Entry, LayerIndex};

    use super::*;

    fn record(path: &str, kind: Kind, attribute: Option<&str>) -> Record {
        let mut entry = Entry::new(TreePath::scoped(path).expect("a path"), kind, 0o755);
        if let Some(name) = attribute {
            entry.xattrs.insert(name.into(), Vec::new());
        }
        let (stored, sum) = (Stored::Whole { at: 0 }, 0);
        Record { entry, stored, sum }
    }

    /// A store that knows the indexes of layers; their bytes are not looked at.
    fn layers(store: &Store, layers: Vec<Vec<Record>>) -> Vec<DiffId> {
        let save = |(number, records): (usize, Vec<Record>)| {
            let diff_id = DiffId::new(Digest::of(number.to_le_bytes()));
            let index = LayerIndex::new(diff_id, 0, records);
            rootfs::trees::save_index(store, &index.stored()).expect("saved");
            diff_id
        };
        layers.into_iter().enumerate().map(save).collect()
    }

    #[test]
    fn what_a_later_layer_hides_is_told_and_links_that_became_directories() {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::open(directory.path().join("store")).expect("a store");
        let device = Kind::Char(Device { major: 1, minor: 3 });
        let link = |to: &str| Kind::Symlink(to.into());
        let file = || Kind::File { size: 0 };
        let diff_ids = layers(
            &store,
            vec![
                vec![
                    record("bin", link("usr/bin"), None),
                    record("lib", link("usr/lib"), None),
                    record("sbin", Kind::Dir, None),
                    record("null", device, None),
                    record("ping", file(), Some("security.capability")),
                ],
                vec![
                    record("lib", Kind::Dir, None),
                    record("sbin", Kind::Dir, None),
                    record("x", file(), Some("trusted.x")),
                    record("y", file(), Some("user.y")),
                    record("ping", Kind::Whiteout, None),
                ],
            ],
        );
        let (found, replaced) = of_layers(&store, &diff_ids).expect("read");
        let found = found
            .iter()
            .map(|fact| (fact.layer, fact.path.as_str(), fact.what.as_str()));
        assert_eq!(
            found.collect::<Vec<_>>(),
            [
                (1, "/null", "a device node"),
                (1, "/ping", "file capabilities"),
                (2, "/x", "the attribute trusted.x"),
            ]
        );
        assert_eq!(replaced, ["/lib"]);
    }
}
