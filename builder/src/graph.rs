//! What will happen, as data. The invariant: a [`BuildPlan`] holds only stages that the target needs, in an order in which
//! every stage comes after those that it needs; nothing in it is a name any more.

use image::{Image, ImageConfig};
use serde::{Deserialize, Serialize};

use crate::mounts::RunMount;
use crate::step::{Label, PlannedStep};

/// The position of a stage in its Containerfile, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StageId(pub usize);

/// Everything that a build does.
#[derive(Clone, Debug)]
pub struct BuildPlan {
    /// The stages, in an order that respects their needs.
    pub stages: Vec<PlannedStage>,
    /// The stage whose result is the image.
    pub target: StageId,
    /// The images that stages start from or copy from.
    pub images: Vec<PinnedImage>,
}

/// An image that a name was resolved to, once.
#[derive(Clone, Debug)]
pub struct PinnedImage {
    /// The name as shown to people.
    pub name: String,
    /// The image; its layers are in the store.
    pub image: Image,
}

/// A stage, evaluated.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PlannedStage {
    /// Which one.
    pub id: StageId,
    /// Its `AS` name, or its number as text.
    pub name: String,
    /// What it starts from.
    pub base: Base,
    /// The stages that `FROM --after` names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<StageId>,
    /// Its steps in order.
    pub steps: Vec<PlannedStep>,
    /// The configuration of an image made of this stage; its root file system and history are filled in at commit.
    pub config: ImageConfig,
    /// The history that this stage adds to its base's.
    pub history: Vec<HistoryItem>,
    /// Where the last USER stands, for the policy's message.
    pub user_label: Option<Label>,
    /// The FROM instruction.
    pub from_label: Label,
}

/// One line of an image's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryItem {
    /// The instruction, as docker history shows it.
    pub created_by: String,
    /// The index in [`PlannedStage::steps`] of the step that makes its layer; `None` for an empty layer.
    pub step: Option<usize>,
}

/// What a stage starts from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Base {
    /// Nothing.
    Scratch,
    /// An image, by its index in [`BuildPlan::images`].
    Image(usize),
    /// Another stage.
    Stage(StageId),
}

impl PlannedStage {
    /// The stages that must be finished before this one starts.
    pub fn needs(&self) -> Vec<StageId> {
        use crate::step::{CopyFrom, StepKind};
        let base = match self.base {
            Base::Stage(id) => Some(id),
            Base::Scratch | Base::Image(_) => None,
        };
        let used = self.steps.iter().flat_map(|planned| {
            let from: Vec<&CopyFrom> = match &planned.step.kind {
                StepKind::Copy(copy) => vec![&copy.from],
                StepKind::Run(run) => run.mounts.iter().filter_map(RunMount::from).collect(),
                StepKind::Furnish(furnish) => furnish.sources(),
                StepKind::Workdir => Vec::new(),
            };
            from.into_iter().filter_map(|from| match from {
                CopyFrom::Stage(id) => Some(*id),
                _ => None,
            })
        });
        let mut ids: Vec<StageId> = base
            .into_iter()
            .chain(self.after.iter().copied())
            .chain(used)
            .collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }
}
