//! WORKDIR. The invariant: directories that are missing are made 0755 and belong to the user in effect; what exists is left
//! as it is (buildah#3620).

use rootfs::accounts::Accounts;
use rootfs::tree::Follow;
use rootfs::{Entry, Kind, Tree, TreePath};

use super::gathered::Gathered;
use super::layers::finish;
use super::lookup::{Done, Place};
use super::mounted::{Lowest, WorkingRoot};
use super::{SessionTools, StageState, Workshop};
use crate::cache::StepLayer;
use crate::job::StepFailure;

/// A directory to make and its owner.
struct Missing {
    path: TreePath,
    uid: u32,
    gid: u32,
}

fn missing(tree: &dyn Tree, place: &Place<'_>) -> Result<Vec<Missing>, StepFailure> {
    let step = &place.planned.step;
    let fail = |error: &dyn std::error::Error| StepFailure::of_build(error);
    let wanted = TreePath::clamped(&step.workdir).map_err(|error| fail(&error))?;
    let resolved = tree
        .resolve(&wanted, Follow::All)
        .map_err(|error| fail(&error))?;
    let mut paths = Vec::new();
    let mut at = resolved.clone();
    while !at.is_root() {
        match tree.node(&at).map_err(|error| fail(&error))? {
            Some(meta) if meta.is_dir() => break,
            Some(_) => {
                let text = format!(
                    "make the working directory {}: {at} is not a directory",
                    step.workdir
                );
                return Err(fail(&std::io::Error::other(text)));
            }
            None => paths.push(at.clone()),
        }
        at = at.parent();
    }
    if paths.is_empty() {
        return Ok(Vec::new());
    }
    let account = super::account(
        &Accounts::of(tree).map_err(|error| fail(&error))?,
        &step.user,
    )?;
    let (uid, gid) = (account.uid, account.gid);
    Ok(paths
        .into_iter()
        .rev()
        .map(|path| Missing { path, uid, gid })
        .collect())
}

impl Workshop<'_> {
    pub(crate) fn workdir_in_layer(
        &self,
        place: &Place<'_>,
        state: &StageState,
    ) -> Result<Done, StepFailure> {
        let view = self.view_of(&self.layers_of(state))?;
        let missing = missing(&view, place)?;
        if missing.is_empty() {
            return Ok(Done {
                layer: Some(StepLayer::Empty),
                tree: None,
                inputs: Gathered::default(),
                time: state.time(),
                same_times: true,
                env: Vec::new(),
            });
        }
        let mut writer = self.layer_writer()?;
        for Missing { path, uid, gid } in missing {
            let entry = Entry {
                uid,
                gid,
                mtime: self.job.times.of_step(state.time()),
                ..Entry::new(path, Kind::Dir, 0o755)
            };
            writer
                .append(entry)
                .map_err(|error| StepFailure::of_build(&error))?;
        }
        let (layer, same_times) = finish(self.store, writer)?;
        Ok(Done {
            layer: Some(layer),
            tree: None,
            inputs: Gathered::default(),
            time: state.time(),
            same_times,
            env: Vec::new(),
        })
    }

    pub(crate) fn workdir_in_tree(
        &self,
        place: &Place<'_>,
        state: &StageState,
    ) -> Result<Done, StepFailure> {
        let session = self.session()?;
        let mounted = self.mount(state, Lowest::Plain)?;
        let missing = missing(&mounted.tree(session)?, place)?;
        if missing.is_empty() {
            mounted.discard();
            return Ok(Done {
                layer: Some(StepLayer::Empty),
                tree: None,
                inputs: Gathered::default(),
                time: state.time(),
                same_times: true,
                env: Vec::new(),
            });
        }
        make(session, &mounted, missing)?;
        Ok(Done {
            layer: None,
            tree: Some(mounted.settle(self, self.job.times.of_step(state.time()))?),
            inputs: Gathered::default(),
            time: state.time(),
            same_times: true,
            env: Vec::new(),
        })
    }

    /// Makes the working directory of a RUN where it is missing, as runc does: an earlier step removed it, or the base image
    /// only names it. It is root's then.
    pub(crate) fn restore_workdir(
        &self,
        place: &Place<'_>,
        mounted: &WorkingRoot,
    ) -> Result<(), StepFailure> {
        let session = self.session()?;
        let missing = missing(&mounted.tree(session)?, place)?;
        let of_root = missing.into_iter().map(|directory| Missing {
            uid: 0,
            gid: 0,
            ..directory
        });
        make(session, mounted, of_root.collect())
    }
}

fn make(
    session: &SessionTools<'_>,
    mounted: &WorkingRoot,
    missing: Vec<Missing>,
) -> Result<(), StepFailure> {
    let fail = |error: &dyn std::error::Error| StepFailure::of_build(error);
    let root = mounted.root()?;
    for Missing { path, uid, gid } in missing {
        root.make_dir(&path, 0o755).map_err(|error| fail(&error))?;
        let directory = root
            .canonical_directory(&path)
            .map_err(|error| fail(&error))?;
        rootfs::own(&directory, &path, (uid, gid), session.trees.ownership())
            .map_err(|error| fail(&error))?;
    }
    Ok(())
}
