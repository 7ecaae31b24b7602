//! Mount points of a RUN. The invariant: what is missing is made in a lower directory that only this step has, directly below its
//! changes, so that no mount point can ever be part of a layer, and nothing has to be removed afterwards, which is where
//! removal by path went wrong elsewhere (CVE-2024-23652). Lying above the image, it also covers what whiteouts hide.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rootfs::tree::{Follow, Tree};
use rootfs::{DirTree, Root, TreePath};

use super::SessionTools;
use super::mounts::{Mounted, StepMounts};
use crate::job::StepFailure;

/// A place that something is mounted at.
struct Point {
    path: TreePath,
    directory: bool,
}

fn fail(error: &dyn std::error::Error) -> StepFailure {
    StepFailure::of_build(error)
}

/// The lower directory with the mount points that `tree` lacks, if it lacks any. `files` are those that every step has.
pub(super) fn missing(
    session: &SessionTools<'_>,
    tree: &DirTree,
    files: &[&str],
    mounts: &StepMounts,
) -> Result<Option<PathBuf>, StepFailure> {
    let mut found: Vec<Point> = Vec::new();
    let mounted = mounts.mounts.iter().map(|mount| {
        let directory = match &mount.what {
            Mounted::Tree { directory, .. } => *directory,
            Mounted::Tmpfs { .. } => true,
        };
        (mount.target.as_str(), directory)
    });
    let devices = TreePath::root().child(b"dev");
    let mut covered: Vec<TreePath> = Vec::new();
    for (target, directory) in files.iter().map(|file| (*file, false)).chain(mounted) {
        let named = TreePath::scoped(target.as_bytes()).map_err(|error| fail(&error))?;
        let path = tree
            .resolve(&named, Follow::All)
            .map_err(|error| fail(&error))?;
        // Inside another mount, or inside /dev, which is one: the step makes it there.
        let inside = covered
            .iter()
            .chain([&devices])
            .any(|above| path.below(above).is_some() && path != *above);
        if !inside && tree.node(&path).map_err(|error| fail(&error))?.is_none() {
            found.push(Point {
                path: path.clone(),
                directory,
            });
        }
        covered.push(path);
    }
    if found.is_empty() {
        return Ok(None);
    }
    let home = session
        .work
        .directory("mount-points")
        .map_err(|error| fail(&error))?;
    make(session, tree, &home, &found)?;
    Ok(Some(home))
}

fn make(
    session: &SessionTools<'_>,
    tree: &DirTree,
    home: &Path,
    points: &[Point],
) -> Result<(), StepFailure> {
    let root = Root::open(home).map_err(|error| fail(&error))?;
    let mut copied: Vec<(TreePath, OwnedFd)> = Vec::new();
    let top = root
        .directory(&TreePath::root())
        .map_err(|error| fail(&error))?;
    copied.push((TreePath::root(), top));
    for point in points {
        let mut at = TreePath::root();
        for name in point.path.parent().components() {
            at = at.child(name);
            directory(session, tree, home, &root, &at, &mut copied)?;
        }
        if point.directory {
            directory(session, tree, home, &root, &point.path, &mut copied)?;
        } else {
            let file = root
                .create_file(&point.path)
                .map_err(|error| fail(&error))?;
            rustix::fs::fchmod(&file, rustix::fs::Mode::from_raw_mode(0o644))
                .map_err(|error| fail(&error))?;
            give(session, home, &point.path)?;
        }
    }
    // Last, since making something in a directory changes its time; the deepest first.
    for (path, made) in copied.iter().rev() {
        tree.copy_attributes(path, made)
            .map_err(|error| fail(&error))?;
    }
    Ok(())
}

/// Makes a directory: like the one of the image where there is one, else root's.
fn directory(
    session: &SessionTools<'_>,
    tree: &DirTree,
    home: &Path,
    root: &Root,
    path: &TreePath,
    copied: &mut Vec<(TreePath, OwnedFd)>,
) -> Result<(), StepFailure> {
    match root.make_dir(path, 0o755) {
        Err(error) if error.errno() == Some(sandbox::Errno::EEXIST as i32) => return Ok(()),
        other => other.map_err(|error| fail(&error))?,
    }
    if tree.node(path).map_err(|error| fail(&error))?.is_some() {
        let made = root
            .canonical_directory(path)
            .map_err(|error| fail(&error))?;
        copied.push((path.clone(), made));
        Ok(())
    } else {
        give(session, home, path)
    }
}

fn give(session: &SessionTools<'_>, home: &Path, path: &TreePath) -> Result<(), StepFailure> {
    let name = OsStr::from_bytes(path.as_bytes());
    session
        .trees
        .give_to_image_root(&home.join(name))
        .map_err(|error| fail(&error))
}
