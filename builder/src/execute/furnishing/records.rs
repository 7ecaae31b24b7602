//! Package records of the files that a stage took from others. The invariant: the sources are asked in the order of the COPYs, and a
//! record that is there stays.

use std::collections::BTreeSet;

use rootfs::records::{Catalogue, RELEASES};
use rootfs::tree::regular_files;
use rootfs::{NodeKind, Tree, TreePath};

use super::{Addition, Piece, fail};
use crate::execute::Workshop;
use crate::execute::lookup::Place;
use crate::furnish::RecordsStep;
use crate::job::StepFailure;

impl Workshop<'_> {
    pub(super) fn records(
        &self,
        place: &Place<'_>,
        step: &RecordsStep,
        tree: &dyn Tree,
    ) -> Result<Addition, StepFailure> {
        let mut addition = Addition::default();
        let files = regular_files(tree).map_err(|error| fail(&error))?;
        let mut written: BTreeSet<String> = BTreeSet::new();
        for from in &step.sources {
            let origin = self.origin(from, place.finished)?;
            let source = origin.tree.as_ref();
            let Some(catalogue) = Catalogue::of(source).map_err(|error| fail(&error))? else {
                continue;
            };
            let records = catalogue
                .records(tree, &files)
                .map_err(|error| fail(&error))?;
            let fresh: Vec<_> = records
                .into_iter()
                .filter(|(path, _)| !written.contains(path))
                .collect();
            if fresh.is_empty() {
                continue;
            }
            for (path, content) in fresh {
                if !is_there(tree, &path)? {
                    addition.put(tree, &path, Piece::file(content))?;
                }
                written.insert(path);
            }
            // Scanners have to know of which distribution the packages are.
            for path in RELEASES {
                if let Some(content) = release(source, path)?
                    && !is_there(tree, path)?
                    && written.insert(path.to_owned())
                {
                    addition.put(tree, path, Piece::file(content))?;
                }
            }
        }
        Ok(addition)
    }
}

fn is_there(tree: &dyn Tree, path: &str) -> Result<bool, StepFailure> {
    let path = TreePath::clamped(path).map_err(|error| fail(&error))?;
    let found = tree.lookup(&path).map_err(|error| fail(&error))?;
    Ok(found.is_some())
}

/// A small file that tells of the distribution.
fn release(tree: &dyn Tree, path: &str) -> Result<Option<Vec<u8>>, StepFailure> {
    const LARGEST: u64 = 64 << 10;
    let path = TreePath::clamped(path).map_err(|error| fail(&error))?;
    let found = tree.lookup(&path).map_err(|error| fail(&error))?;
    let small = found.filter(|(_, meta)| meta.kind == NodeKind::File && meta.size <= LARGEST);
    let read = small.map(|(path, meta)| {
        let length = usize::try_from(meta.size).unwrap_or(0);
        tree.read_at(&path, 0, length)
    });
    read.transpose().map_err(|error| fail(&error))
}
