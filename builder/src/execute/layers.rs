//! Layers of a stage: views of them, and the packing of trees. The invariant: only the layers of an exported image become
//! blobs; an upper directory is read once, hashed in the same pass, and a step that changed nothing makes no layer.

use std::sync::{Mutex, PoisonError};

use image::store::UnhashedBlob;
use image::{DiffId, Store};
use rootfs::trees::{self, save_index};
use rootfs::{LayerTimes, LayerWriter, Root, View, changeset};

use super::{StageState, StepResult, Workshop};
use crate::cache::StepLayer;
use crate::event::BuildEvent;
use crate::graph::StageId;
use crate::job::StepFailure;

/// The merged view of layers in the store, able to open files.
pub(crate) fn view_of(store: &Store, layers: &[DiffId]) -> Result<View, StepFailure> {
    trees::readable_view_of(store, layers).map_err(|error| StepFailure::of_build(&error))
}

/// Finishes a layer that was written into a blob; also whether it has the times that its entries were given with.
pub(crate) fn finish(
    store: &Store,
    writer: LayerWriter<UnhashedBlob<'_>>,
) -> Result<(StepLayer, bool), StepFailure> {
    let finished = writer
        .finish()
        .map_err(|error| StepFailure::of_build(&error))?;
    if finished.index.count == 0 {
        return Ok((StepLayer::Empty, true));
    }
    let diff_id = finished.index.diff_id;
    let size = finished
        .output
        .finish_hashed(diff_id.digest())
        .map_err(|error| StepFailure::of_build(&error))?;
    save_index(store, &finished.index).map_err(|error| StepFailure::of_build(&error))?;
    Ok((StepLayer::Blob { diff_id, size }, !finished.retimed))
}

impl Workshop<'_> {
    /// A new layer with the times of the job, to be given to [`finish`].
    pub(super) fn layer_writer(&self) -> Result<LayerWriter<UnhashedBlob<'_>>, StepFailure> {
        self.layer_writer_of(self.job.times.of_layers())
    }

    fn layer_writer_of(
        &self,
        times: LayerTimes,
    ) -> Result<LayerWriter<UnhashedBlob<'_>>, StepFailure> {
        let blob = self
            .store
            .unhashed_blob()
            .map_err(|error| StepFailure::of_build(&error))?;
        let writer = LayerWriter::new(blob, times);
        Ok(writer.with_scratch(&self.store.scratch()))
    }

    /// The merged view of layers, able to open files; those that are elsewhere are brought first.
    pub(crate) fn view_of(&self, layers: &[DiffId]) -> Result<View, StepFailure> {
        self.bring(layers)?;
        view_of(self.store, layers)
    }

    /// The layers of a stage that was recorded, lowest first.
    pub(crate) fn layers_of(&self, state: &StageState) -> Vec<DiffId> {
        let base = state
            .image
            .and_then(|index| self.job.images.get(index))
            .map_or(&[][..], |image| &image.layers);
        let made = state
            .results
            .iter()
            .filter_map(|result| match result.record.layer {
                Some(StepLayer::Blob { diff_id, .. }) => Some(diff_id),
                _ => None,
            });
        base.iter().copied().chain(made).collect()
    }

    /// Has the layers of a stage that was recorded unpacked, and one on top of them, if the image has them and that is wanted.
    pub(crate) fn unpack(&self, stage: StageId, state: &StageState, top: Option<&StepLayer>) {
        let Some(unpacker) = self.unpacker.filter(|_| self.in_target_chain(stage)) else {
            return;
        };
        let mut layers = self.layers_of(state);
        layers.extend(top.and_then(StepLayer::diff_id));
        if !layers.is_empty() {
            unpacker.add(layers);
        }
    }

    /// Lets the trees of the target's steps stand for its layers when the image runs.
    pub(crate) fn adopt(&self, target: &StageState) -> Result<(), StepFailure> {
        let Some(session) = &self.session else {
            return Ok(());
        };
        let base = target
            .image
            .and_then(|index| self.job.images.get(index))
            .map_or(&[][..], |image| &image.layers);
        let mut chain = base.to_vec();
        for result in &target.results {
            let Some(StepLayer::Blob { diff_id, .. }) = result.record.layer else {
                continue;
            };
            chain.push(diff_id);
            if let Some(tree) = &result.record.tree
                && result.record.same_times
            {
                session
                    .trees
                    .adopt_step(self.store, tree, &chain)
                    .map_err(|error| StepFailure::of_build(&error))?;
            }
        }
        Ok(())
    }

    /// Makes layers of the target's trees that have none yet, two at a time.
    pub(crate) fn pack(&self, target: &mut StageState) -> Result<(), StepFailure> {
        for result in &mut target.results {
            let chores = self.session.as_ref().map(|session| &session.chores);
            if result.record.layer.is_none()
                && let Some(layer) = chores.and_then(|chores| chores.layer_of(&result.key))
            {
                self.note_layer(result, layer);
            }
        }
        let unpacked: Vec<&mut StepResult> = target
            .results
            .iter_mut()
            .filter(|result| result.record.layer.is_none())
            .collect();
        let queue = Mutex::new(unpacked.into_iter());
        let failure = Mutex::new(None);
        let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
        let work = || {
            while let Some(result) = next() {
                match self.pack_one(result) {
                    Ok(layer) => self.note_layer(result, layer),
                    Err(error) => {
                        *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                        return;
                    }
                }
            }
        };
        let more = queue.lock().unwrap_or_else(PoisonError::into_inner).len() > 1;
        std::thread::scope(|scope| {
            if more {
                // Without a second thread, this one does all.
                let _ = std::thread::Builder::new().spawn_scoped(scope, work);
            }
            work();
        });
        failure
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
            .map_or(Ok(()), Err)
    }

    pub(super) fn note_layer(
        &self,
        result: &mut StepResult,
        (layer, same_times): (StepLayer, bool),
    ) {
        result.record.layer = Some(layer);
        result.record.packed = self.job.times;
        result.record.same_times = same_times;
        result.cached = false;
    }

    /// Makes the layer of one tree; the flag tells whether its times are the tree's.
    pub(crate) fn pack_one(&self, result: &StepResult) -> Result<(StepLayer, bool), StepFailure> {
        self.pack_as(result, self.job.times.of_layers())
    }

    /// Makes the layer of one tree with certain times.
    pub(super) fn pack_as(
        &self,
        result: &StepResult,
        times: LayerTimes,
    ) -> Result<(StepLayer, bool), StepFailure> {
        let session = self.session()?;
        let tree = self.tree_of(result)?;
        let tree = tree.ok_or_else(|| StepFailure::saying("pack a step that left no tree"))?;
        let root = Root::open(&tree).map_err(|error| StepFailure::of_build(&error))?;
        let mut writer = self.layer_writer_of(times)?;
        let notes = changeset::write(&root, session.trees.ownership(), &mut writer)
            .map_err(|error| StepFailure::of_build(&error))?;
        for note in notes {
            self.tell(BuildEvent::Notice {
                message: note.to_string(),
            });
        }
        finish(self.store, writer)
    }
}
