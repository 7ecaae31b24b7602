//! Several layers as one: `--squash` and `--squash-all`. The invariant: the image's files are the same as before; the one layer
//! is streamed from the blobs of the many and depends on their content alone.

use image::{DiffId, Store};
use rootfs::{LayerTimes, LayerWriter, View};

use crate::cache::StepLayer;
use crate::execute::{finish, view_of};
use crate::job::StepFailure;

/// Makes one layer of those above the first `kept` ones.
pub(crate) fn squash(
    store: &Store,
    layers: &[DiffId],
    kept: usize,
) -> Result<StepLayer, StepFailure> {
    let base: View = view_of(store, &layers[..kept.min(layers.len())])?;
    let blob = store
        .unhashed_blob()
        .map_err(|error| StepFailure::of_build(&error))?;
    let mut writer = LayerWriter::new(blob, LayerTimes::Recorded).with_scratch(&store.scratch());
    view_of(store, layers)?
        .write_changes(&base, &mut writer)
        .map_err(|error| StepFailure::of_build(&error))?;
    finish(store, writer).map(|(layer, _)| layer)
}
