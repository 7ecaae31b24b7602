//! The unpacked layers of a store beside their indexes. The invariant: nothing is changed by looking, and a tree goes only when
//! nobody uses it.

use std::fs;
use std::path::Path;

use image::store::Sweep;
use image::{Area, ChainId, DiffId, Store};

use super::{Trees, TreesError, is_trusted, known_index, push, remove_tree};
use crate::root::Root;
use crate::tree::DirTree;
use crate::view::{Difference, View};

/// The file in a layer's directory that says which layers it is unpacked from: it and all below it, lowest first.
pub(super) const CHAIN: &str = "chain";

/// What became of one unpacked layer.
#[derive(Debug)]
pub enum TreeState {
    /// It is as the layer.
    Whole,
    /// It counts as not there: it is made again when it is needed.
    Absent,
    /// What it should be is not known, for this reason.
    Unknown(String),
    /// It is not the layer.
    Damaged(Vec<Difference>),
    /// It stands under the name of another.
    Misnamed,
}

impl Trees {
    /// Compares every unpacked layer of this kind of session with its index, and tells of each by its name.
    pub fn check_layers(&self, store: &Store, tell: &mut dyn FnMut(&str, TreeState)) {
        for name in self.layer_names() {
            let home = self.directory.join("layers").join(&name);
            tell(&name, self.state(store, &name, &home));
        }
    }

    fn layer_names(&self) -> Vec<String> {
        let own = format!("{}-", self.tag());
        let entries = fs::read_dir(self.directory.join("layers"));
        let names = entries.into_iter().flatten().flatten();
        let mut names: Vec<String> = names
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| name.starts_with(&own))
            .collect();
        names.sort();
        names
    }

    fn state(&self, store: &Store, name: &str, home: &Path) -> TreeState {
        let tree = home.join("tree");
        if !tree.exists() || !is_trusted(home) {
            return TreeState::Absent;
        }
        let chain = match read_chain(home) {
            Some(chain) => chain,
            None => return TreeState::Unknown("it does not say which layer it is".to_owned()),
        };
        let named = ChainId::of(&chain).map(|id| self.layer_home(&id));
        if named.as_deref().and_then(Path::file_name) != Some(name.as_ref()) {
            return TreeState::Misnamed;
        }
        match self.compare(store, &chain, &tree) {
            Ok(differences) if differences.is_empty() => TreeState::Whole,
            Ok(differences) => TreeState::Damaged(differences),
            Err(why) => TreeState::Unknown(why),
        }
    }

    fn compare(
        &self,
        store: &Store,
        chain: &[DiffId],
        tree: &Path,
    ) -> Result<Vec<Difference>, String> {
        let mut view = View::in_scratch(&store.scratch());
        for diff_id in chain {
            // Making it again would change the store.
            let index = known_index(store, diff_id)
                .ok_or_else(|| format!("the index of layer {diff_id} is damaged or missing"))?;
            push(&mut view, index).map_err(|error| error.to_string())?;
        }
        let root = Root::open(tree).map_err(|error| error.to_string())?;
        Ok(view.differences(&DirTree::new(root, self.ownership)))
    }

    /// Removes an unpacked layer, and the step's tree that it may be, unless somebody uses it; says whether it is gone.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn discard_layer(&self, sweep: &Sweep<'_>, name: &str) -> Result<bool, TreesError> {
        let home = self.directory.join("layers").join(name);
        let step = fs::read_link(home.join("tree")).ok();
        let step = step.as_deref().and_then(Path::file_name);
        let held = |name: &str| sweep.is_held(Area::Trees, name);
        if held(name) || step.and_then(|step| step.to_str()).is_some_and(held) {
            return Ok(false);
        }
        if let Some(step) = step {
            remove_tree(&self.directory.join("steps").join(step))?;
        }
        remove_tree(&home)?;
        Ok(true)
    }
}

fn read_chain(home: &Path) -> Option<Vec<DiffId>> {
    let text = fs::read_to_string(home.join(CHAIN)).ok()?;
    text.lines().map(|line| line.parse().ok()).collect()
}

/// Says which layers a directory is unpacked from.
pub(super) fn write_chain(home: &Path, chain: &[DiffId]) -> Result<(), TreesError> {
    let path = home.join(CHAIN);
    let text: String = chain.iter().map(|diff_id| format!("{diff_id}\n")).collect();
    fs::write(&path, text).map_err(super::at("write", &path))
}
