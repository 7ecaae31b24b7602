//! Tests of an image's files. The invariant: read out of the layers; nothing is started and nothing unpacked.

use std::io::Read as _;

use rootfs::tree::Follow;
use rootfs::{Meta, NodeKind, Tree, TreeError, TreePath};

use super::config::{ContentTest, ExistenceTest, LicenceTest};
use super::judge::contents;

/// The most of a file that is looked at.
const MOST: u64 = 64 << 20;
/// Where Debian's packages have their copyright files.
const DEBIAN: &str = "/usr/share/doc";
/// What no licence may say, as container-structure-test has it.
const DENIED: [&str; 2] = ["AGPL", "WTFPL"];
/// The package whose copyright file only mentions them.
const EXCUSED: &str = "libgnutls30";

/// What is wrong with a file that must be there, or must not.
pub fn existence(test: &ExistenceTest, path: &str, tree: &dyn Tree) -> Vec<String> {
    let found = node(path, tree);
    let meta = match (found, test.should_exist) {
        (Err(error), _) => return vec![chain(&error)],
        (Ok(None), true) => return vec![format!("{path} is not there")],
        (Ok(None), false) => return Vec::new(),
        (Ok(Some(_)), false) => return vec![format!("{path} is there")],
        (Ok(Some(meta)), true) => meta,
    };
    let mut wrong = Vec::new();
    let mode = go_mode(&meta);
    if let Some(wanted) = test.permissions.as_ref().filter(|wanted| **wanted != mode) {
        wrong.push(format!(
            "the permissions of {path} are {mode}, expected {wanted}"
        ));
    }
    for (what, wanted, own) in [("owner", test.uid, meta.uid), ("group", test.gid, meta.gid)] {
        if let Some(wanted) = wanted.filter(|wanted| *wanted != i64::from(own)) {
            wrong.push(format!("the {what} of {path} is {own}, expected {wanted}"));
        }
    }
    if let Some((who, bits)) = &test.executable
        && meta.mode & bits == 0
    {
        wrong.push(format!("{path} is not executable by {who}: {mode}"));
    }
    match (test.is_directory, meta.is_dir()) {
        (Some(true), false) => wrong.push(format!("{path} is no directory")),
        (Some(false), true) => wrong.push(format!("{path} is a directory")),
        _ => {}
    }
    wrong
}

/// What is wrong with what is in a file.
pub fn content(test: &ContentTest, path: &str, tree: &dyn Tree) -> Vec<String> {
    match read(path, tree) {
        Err(wrong) => vec![wrong],
        Ok(text) => contents(&test.contents, &text, path),
    }
}

/// What is wrong with licences.
pub fn licence(test: &LicenceTest, tree: &dyn Tree) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut files = test.files.clone();
    if test.debian {
        match packages(tree) {
            Ok(names) => files.extend(names.map(|name| format!("{DEBIAN}/{name}/copyright"))),
            Err(error) => wrong.push(error),
        }
    }
    for file in files {
        match read(&file, tree) {
            Err(error) => wrong.push(error),
            Ok(text) => {
                let text = text.to_uppercase();
                let denied = DENIED.iter().filter(|word| text.contains(**word));
                wrong.extend(denied.map(|word| format!("{file} names {word}")));
            }
        }
    }
    wrong
}

fn packages(tree: &dyn Tree) -> Result<impl Iterator<Item = String>, String> {
    let path = path_of(DEBIAN)?;
    let found = tree.lookup(&path).map_err(|error| chain(&error))?;
    let Some((path, _)) = found.filter(|(_, meta)| meta.is_dir()) else {
        return Err(format!("{DEBIAN} is not there"));
    };
    let names = tree.read_dir(&path).map_err(|error| chain(&error))?;
    let directories = names.into_iter().filter(|(_, meta)| meta.is_dir());
    let names = directories.map(|(name, _)| String::from_utf8_lossy(&name).into_owned());
    Ok(names.filter(|name| name != EXCUSED))
}

/// What is at a path; a link at its end is not followed.
fn node(path: &str, tree: &dyn Tree) -> Result<Option<Meta>, TreeError> {
    let path = TreePath::clamped(path)?;
    match tree.resolve(&path, Follow::Parents) {
        Ok(canonical) => tree.node(&canonical),
        Err(TreeError::NotDirectory { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn path_of(path: &str) -> Result<TreePath, String> {
    TreePath::clamped(path).map_err(|error| chain(&error))
}

fn read(path: &str, tree: &dyn Tree) -> Result<String, String> {
    let found = tree
        .lookup(&path_of(path)?)
        .map_err(|error| chain(&error))?;
    let (canonical, _) = found.ok_or_else(|| format!("{path} is not there"))?;
    let opened = tree.open(&canonical).map_err(|error| chain(&error))?;
    if opened.size > MOST {
        return Err(format!("{path} is larger than {} MiB", MOST >> 20));
    }
    let mut bytes = Vec::new();
    let mut content = opened.content.take(MOST);
    content
        .read_to_end(&mut bytes)
        .map_err(|error| format!("read {path}: {error}"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        said = format!("{said}: {cause}");
        source = cause.source();
    }
    said
}

/// The text that Go's `os.FileMode` has for a file: `-rwxr-xr-x`, `dtrwxrwxrwx`, `urwxr-xr-x`.
pub fn go_mode(meta: &Meta) -> String {
    let (set_user, set_group, sticky) = (0o4000, 0o2000, 0o1000);
    let has = |bit| meta.mode & bit != 0;
    let letters = [
        ('d', meta.kind == NodeKind::Dir),
        ('L', meta.kind == NodeKind::Symlink),
        (
            'D',
            matches!(meta.kind, NodeKind::Char(_) | NodeKind::Block(_)),
        ),
        ('p', meta.kind == NodeKind::Fifo),
        ('S', meta.kind == NodeKind::Socket),
        ('u', has(set_user)),
        ('g', has(set_group)),
        ('c', matches!(meta.kind, NodeKind::Char(_))),
        ('t', has(sticky)),
    ];
    let mut text: String = letters
        .iter()
        .filter(|(_, is)| *is)
        .map(|(c, _)| c)
        .collect();
    if text.is_empty() {
        text.push('-');
    }
    for (place, letter) in "rwxrwxrwx".chars().enumerate() {
        text.push(if has(0o400 >> place) { letter } else { '-' });
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use rootfs::{DirTree, Ownership, Root};

    use super::*;
    use crate::structure::parse;

    fn tree() -> (tempfile::TempDir, DirTree) {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        fs::create_dir_all(at("tmp")).unwrap();
        fs::set_permissions(at("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
        fs::write(at("tool"), "#!/bin/sh\n").unwrap();
        fs::set_permissions(at("tool"), fs::Permissions::from_mode(0o4750)).unwrap();
        symlink("tool", at("link")).unwrap();
        fs::create_dir_all(at("usr/share/doc/good")).unwrap();
        fs::write(at("usr/share/doc/good/copyright"), "MIT").unwrap();
        let root = Root::open(place.path()).unwrap();
        (place, DirTree::new(root, Ownership::Recorded))
    }

    fn complaints(lines: &str, tree: &dyn Tree) -> Vec<String> {
        let tests = parse(&format!("schemaVersion: 2.0.0\n{lines}")).unwrap();
        let exist = tests
            .existence
            .iter()
            .flat_map(|test| existence(test, &test.path, tree));
        let has = tests
            .content
            .iter()
            .flat_map(|test| content(test, &test.path, tree));
        let may = tests.licences.iter().flat_map(|test| licence(test, tree));
        exist.chain(has).chain(may).collect()
    }

    #[test]
    fn permissions_are_written_as_go_writes_them() {
        let (_place, tree) = tree();
        let mode = |path| go_mode(&node(path, &tree).unwrap().unwrap());
        assert_eq!(mode("/tmp"), "dtrwxrwxrwx");
        assert_eq!(mode("/tool"), "urwxr-x---");
        assert_eq!(mode("/link"), "Lrwxrwxrwx");
    }

    #[test]
    fn every_field_of_a_file_can_fail() {
        let (_place, tree) = tree();
        let test = |fields: &str| format!("fileExistenceTests: [{{name: a, {fields}}}]\n");
        // The caller's own files are those of image root.
        let right = "path: /tool, permissions: urwxr-x---, uid: 0, isExecutableBy: group";
        assert_eq!(complaints(&test(right), &tree), Vec::<String>::new());
        assert_eq!(
            complaints(&test("path: /none, shouldExist: false"), &tree).len(),
            0
        );
        assert_eq!(
            complaints(&test("path: /tool/below, shouldExist: false"), &tree).len(),
            0
        );
        for fields in [
            "path: /none",
            "path: /tool, shouldExist: false",
            "path: /tool, permissions: '-rwxr-x---'",
            "path: /tool, uid: 4242",
            "path: /tool, gid: 4242",
            "path: /tool, isExecutableBy: other",
            "path: /tool, isDirectory: true",
        ] {
            assert_eq!(complaints(&test(fields), &tree).len(), 1, "{fields}");
        }
    }

    #[test]
    fn contents_and_licences_are_searched() {
        let (place, tree) = tree();
        let has = |fields: &str| {
            complaints(
                &format!("fileContentTests: [{{name: a, path: /link, {fields}}}]\n"),
                &tree,
            )
        };
        assert!(has("expectedContents: ['^#!/bin/sh'], excludedContents: [bash]").is_empty());
        assert_eq!(has("expectedContents: [bash]").len(), 1);
        assert_eq!(has("excludedContents: ['b.n']").len(), 1);
        let debian = "licenseTests: [{debian: true}]\n";
        assert!(complaints(debian, &tree).is_empty());
        fs::create_dir_all(place.path().join("usr/share/doc/none")).unwrap();
        fs::write(
            place.path().join("usr/share/doc/good/copyright"),
            "the agpl",
        )
        .unwrap();
        assert_eq!(complaints(debian, &tree).len(), 2);
    }
}
