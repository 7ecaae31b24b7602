//! What need not be waited for: packing the layers of finished steps, and removing what they leave behind. The invariant: a chore
//! touches only what is finished; whoever needs its result finds it when all stages are done, or does without.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use rootfs::trees::remove_tree;

use super::{StepResult, Workshop};
use crate::cache::StepLayer;
use crate::key::CacheKey;

/// One of them.
pub(crate) enum Chore {
    /// Make the layer of a step's tree.
    Pack(Box<StepResult>),
    /// Remove a directory of the work area.
    Remove(PathBuf),
}

/// Chores in the order in which they came.
#[derive(Default)]
pub(crate) struct Chores {
    list: Mutex<List>,
    changed: Condvar,
}

#[derive(Default)]
struct List {
    waiting: VecDeque<Chore>,
    closed: bool,
    packed: BTreeMap<CacheKey, (StepLayer, bool)>,
}

impl Chores {
    fn lock(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds one.
    pub(crate) fn add(&self, chore: Chore) {
        self.lock().waiting.push_back(chore);
        self.changed.notify_one();
    }

    /// Says that none will come any more.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Does chores until there are none and none will come.
    pub(crate) fn attend(&self, workshop: &Workshop<'_>) {
        while let Some(chore) = self.next() {
            match chore {
                Chore::Pack(result) => {
                    // What fails is tried again where the layer is needed, and fails there with its reason.
                    if let Ok(layer) = workshop.pack_one(&result) {
                        self.lock().packed.insert(result.key, layer);
                    }
                }
                // What cannot be removed now goes with the work area.
                Chore::Remove(directory) => drop(remove_tree(&directory)),
            }
        }
    }

    fn next(&self) -> Option<Chore> {
        let mut list = self.lock();
        loop {
            if let Some(chore) = list.waiting.pop_front() {
                return Some(chore);
            }
            if list.closed {
                return None;
            }
            list = self
                .changed
                .wait(list)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The layer of a step that was packed already.
    pub(crate) fn layer_of(&self, step: &CacheKey) -> Option<(StepLayer, bool)> {
        self.lock().packed.get(step).cloned()
    }
}
