//! The account of an image's user, and what programs take for granted. The invariant: what is there stays as it is, and gets at most
//! one line more.

use rootfs::accounts::Accounts;
use rootfs::{NodeKind, Tree, TreePath};

use super::{Addition, Piece, fail};
use crate::furnish::AccountsStep;
use crate::job::StepFailure;

const LARGEST: usize = 1 << 20;

/// nsswitch.conf(5): sources that need no module of their own since glibc 2.34.
const NSSWITCH: &str = "\
passwd: files
group: files
shadow: files
hosts: files dns
networks: files
protocols: files
services: files
";

/// Where glibc is, in Debian's and in other distributions' way.
const LIBC: &[u8] = b"libc.so.6";

pub(super) fn addition(step: &AccountsStep, tree: &dyn Tree) -> Result<Addition, StepFailure> {
    let AccountsStep { uid, gid, name } = step;
    let accounts = Accounts::of(tree).map_err(|error| fail(&error))?;
    let mut addition = Addition::default();
    let mut told = Vec::new();
    if !accounts.has_user(*uid) {
        if accounts.has_user_named(name) {
            let text = format!("add the user {uid}: /etc/passwd has another one called {name}");
            return Err(
                StepFailure::saying(text).hint("choose another: # rbuild:accounts name=NAME")
            );
        }
        let line = format!("{name}:x:{uid}:{gid}:{name}:/home/{name}:/sbin/nologin\n");
        let first = "root:x:0:0:root:/root:/sbin/nologin\n";
        appended(&mut addition, tree, "/etc/passwd", first, &line)?;
        told.push(format!("/etc/passwd for user {uid}"));
        // A home that an earlier step made is its owner's affair.
        let home = format!("/home/{name}");
        if !exists(tree, &home)? {
            addition.put(tree, &home, Piece::directory(0o700, (*uid, *gid)))?;
            told.push(format!("{home}, which it names"));
        }
    }
    if !accounts.has_group(*gid) {
        if accounts.has_group_named(name) {
            let text = format!("add the group {gid}: /etc/group has another one called {name}");
            return Err(
                StepFailure::saying(text).hint("choose another: # rbuild:accounts name=NAME")
            );
        }
        let line = format!("{name}:x:{gid}:\n");
        appended(&mut addition, tree, "/etc/group", "root:x:0:\n", &line)?;
        told.push(format!("/etc/group for group {gid}"));
    }
    if !exists(tree, "/tmp")? {
        addition.put(tree, "/tmp", Piece::directory(0o1777, (0, 0)))?;
        told.push("/tmp".to_owned());
    }
    if !exists(tree, "/etc/nsswitch.conf")? && has_glibc(tree)? {
        addition.put(tree, "/etc/nsswitch.conf", Piece::file(NSSWITCH))?;
        told.push("/etc/nsswitch.conf for glibc".to_owned());
    }
    if !told.is_empty() {
        let told = format!("accounts: {}", told.join(", "));
        addition.notices.push(told);
    }
    Ok(addition)
}

/// The file with one line more; `first` is what a new one begins with.
fn appended(
    addition: &mut Addition,
    tree: &dyn Tree,
    path: &str,
    first: &str,
    line: &str,
) -> Result<(), StepFailure> {
    let place = TreePath::clamped(path).map_err(|error| fail(&error))?;
    let found = tree.lookup(&place).map_err(|error| fail(&error))?;
    let (mut text, mut piece) = match found {
        None => (first.as_bytes().to_vec(), Piece::file("")),
        Some((place, meta)) => {
            let text = tree
                .read_at(&place, 0, LARGEST)
                .map_err(|error| fail(&error))?;
            let piece = Piece {
                mode: meta.mode,
                owner: (meta.uid, meta.gid),
                content: None,
            };
            (text, piece)
        }
    };
    if !text.is_empty() && !text.ends_with(b"\n") {
        text.push(b'\n');
    }
    text.extend(line.as_bytes());
    piece.content = Some(text);
    addition.put(tree, path, piece).map(drop)
}

/// Whether there is anything, also a link to nowhere.
fn exists(tree: &dyn Tree, path: &str) -> Result<bool, StepFailure> {
    let path = TreePath::clamped(path).map_err(|error| fail(&error))?;
    let path = tree
        .resolve(&path, rootfs::tree::Follow::Parents)
        .map_err(|error| fail(&error))?;
    let node = tree.node(&path).map_err(|error| fail(&error))?;
    Ok(node.is_some())
}

/// glibc is in one of these directories, or one below: `/lib/x86_64-linux-gnu`.
fn has_glibc(tree: &dyn Tree) -> Result<bool, StepFailure> {
    for top in ["/lib", "/usr/lib", "/lib64", "/usr/lib64"] {
        let top = TreePath::clamped(top).map_err(|error| fail(&error))?;
        let Some((top, meta)) = tree.lookup(&top).map_err(|error| fail(&error))? else {
            continue;
        };
        if !meta.is_dir() {
            continue;
        }
        for (name, meta) in tree.read_dir(&top).map_err(|error| fail(&error))? {
            let below = top.child(&name);
            let is_libc = match meta.kind {
                NodeKind::Dir => {
                    let node = tree.node(&below.child(LIBC));
                    node.map_err(|error| fail(&error))?.is_some()
                }
                _ => name == LIBC,
            };
            if is_libc {
                return Ok(true);
            }
        }
    }
    Ok(false)
}
