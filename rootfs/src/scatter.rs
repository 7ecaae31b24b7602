//! A directory that, as the lowest one of an overlay, changes the order in which the overlay lists its files, and nothing else.
//!
//! Invariant: it holds only names that the overlay shows anyway, directories as directories and empty files for some of the rest,
//! so that every one of them is covered.
//!
//! What is in the lowest directory is listed first (fs/overlayfs/readdir.c, `ovl_fill_lowest`): the directory gets the files that
//! came last.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, FileType, Mode};

use crate::path::TreePath;
use crate::root::{Call, Root, RootError, open_directory};
use crate::walk;

/// The name of the one empty file that all others are links of; a directory has no such name, since it is made beside them.
const EMPTY: &[u8] = b"empty";

/// Fills the empty directory `into/tree` for an overlay that is seen at `merged`; `into` is the caller's own.
///
/// # Errors
/// When the overlay cannot be read or the directory not be written.
pub fn scatter(merged: &Root, into: &Root) -> Result<(), RootError> {
    let top = TreePath::root();
    let empty = top.child(EMPTY);
    into.create_file(&empty)?;
    let tree = Root::from(into.directory(&top.child(b"tree"))?);
    let place = Place { into, tree: &tree };
    place.fill(merged.as_fd(), &top)?;
    walk::each(merged, Call::List, |parent, path, stat| {
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            return Ok(());
        }
        let name = path.file_name().unwrap_or(b".");
        let directory = open_directory(parent, name).map_err(RootError::call(Call::Open, path))?;
        tree.make_dir(path, 0o755)?;
        place.fill(directory.as_fd(), path)
    })
}

struct Place<'p> {
    into: &'p Root,
    tree: &'p Root,
}

impl Place<'_> {
    /// Puts in the files that come last in `directory`.
    fn fill(&self, directory: BorrowedFd<'_>, path: &TreePath) -> Result<(), RootError> {
        let names = walk::read(directory).map_err(RootError::call(Call::List, path))?;
        let is_file = |name: &Vec<u8>| {
            rustix::fs::statat(directory, name.as_slice(), AtFlags::SYMLINK_NOFOLLOW)
                .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) != FileType::Directory)
        };
        let files: Vec<Vec<u8>> = names.filter(is_file).collect();
        let here = self.tree.directory(path)?;
        for file in &files[files.len().div_ceil(2)..] {
            let linked =
                rustix::fs::linkat(self.into, EMPTY, &here, file.as_slice(), AtFlags::empty());
            match linked {
                Ok(()) => {}
                // The most links that the file system lets a file have.
                Err(rustix::io::Errno::MLINK) => {
                    let flags = rustix::fs::OFlags::CREATE
                        | rustix::fs::OFlags::WRONLY
                        | rustix::fs::OFlags::CLOEXEC;
                    rustix::fs::openat(&here, file.as_slice(), flags, Mode::RUSR)
                        .map(drop)
                        .map_err(RootError::call(Call::Create, path))?;
                }
                Err(errno) => return Err(RootError::call(Call::Link, path)(errno)),
            }
        }
        Ok(())
    }
}
