//! The image of a finished build. The invariant: the configuration's layers, the manifest's and the history's entries are made
//! from one list, in one order; a base image's own history and layers are carried over untouched.

use image::{Descriptor, DiffId, History, Image, ImageConfig, MediaType};

use crate::cache::StepLayer;
use crate::graph::{Base, BuildPlan, PlannedStage, StageId};
use crate::job::Executed;
use crate::request::{AnnotationLevel, Shape, annotations_of};
use crate::times::rfc3339;

/// What decides the image beside the layers.
pub(crate) struct Settings {
    /// The time of the image and its history, where it is not that of the newest input.
    pub(crate) epoch: Option<i64>,
    /// `USER`, where the policy changed it.
    pub(crate) user: Option<String>,
    /// Variables that it gets, where it has none of the name.
    pub(crate) env: Vec<(String, String)>,
}

/// An image that is not put together yet.
pub(crate) struct Draft {
    config: ImageConfig,
    layers: Vec<Descriptor>,
    /// How many of the layers are the base image's.
    pub(crate) of_base: usize,
}

/// What the image consists of; nothing is stored.
pub(crate) fn draft_of(plan: &BuildPlan, executed: &Executed, settings: &Settings) -> Draft {
    let chain = chain_of(plan, plan.target);
    let base = chain.first().and_then(|stage| match stage.base {
        Base::Image(index) => plan.images.get(index),
        Base::Scratch | Base::Stage(_) => None,
    });
    let mut parts = Parts::default();
    if let Some(base) = base {
        parts.carry_over(&base.image);
    }
    let mut at = settings.epoch.unwrap_or(executed.base_time);
    for stage in &chain {
        let steps = executed
            .chain
            .iter()
            .find(|steps| steps.stage == stage.id)
            .map_or(&[][..], |s| &s.steps);
        at = parts.add(stage, steps, settings.epoch, at);
    }
    let target = chain
        .last()
        .map(|stage| stage.config.clone())
        .unwrap_or_default();
    let config = ImageConfig {
        created: Some(rfc3339(at)),
        ..parts.configure(target, settings)
    };
    Draft {
        config,
        layers: parts.layers,
        of_base: base.map_or(0, |base| base.image.layers().len()),
    }
}

impl Draft {
    /// The layers, lowest first.
    pub(crate) fn diff_ids(&self) -> &[DiffId] {
        &self.config.rootfs.diff_ids
    }

    /// Puts one layer in the place of those above the first `kept` ones. As with `docker build --squash`, the instructions stay in
    /// the history without layers, and one more entry stands for the layer.
    #[must_use]
    pub(crate) fn squashed(mut self, kept: usize, layer: &StepLayer) -> Self {
        let merged = self.layers.len().saturating_sub(kept);
        self.layers.truncate(kept);
        self.config.rootfs.diff_ids.truncate(kept);
        let mut seen = 0;
        for entry in &mut self.config.history {
            seen += usize::from(!entry.empty_layer);
            entry.empty_layer |= seen > kept;
        }
        if let StepLayer::Blob { diff_id, size } = layer {
            let digest = *diff_id.digest();
            self.layers
                .push(Descriptor::new(MediaType::OciLayer, digest, *size));
            self.config.rootfs.diff_ids.push(*diff_id);
            self.config.history.push(History {
                created: self.config.created.clone(),
                comment: Some(format!("merge {merged} layers")),
                ..History::default()
            });
        }
        self
    }

    /// The image in a format.
    pub(crate) fn image(mut self, shape: &Shape) -> Result<Image, image::ImageError> {
        if shape.omit_history {
            self.config.history.clear();
        }
        let platform = self.config.platform();
        let annotations = annotations_of(
            &shape.annotations,
            AnnotationLevel::Manifest,
            Some(&platform),
        );
        Image::compose(&self.config, self.layers, annotations)?.in_format(shape.format)
    }
}

/// The target and the stages that it is based on, lowest first.
fn chain_of(plan: &BuildPlan, target: StageId) -> Vec<&PlannedStage> {
    let mut chain = Vec::new();
    let mut at = Some(target);
    while let Some(stage) = at.and_then(|id| plan.stages.iter().find(|stage| stage.id == id)) {
        chain.push(stage);
        at = match stage.base {
            Base::Stage(id) => Some(id),
            Base::Scratch | Base::Image(_) => None,
        };
    }
    chain.reverse();
    chain
}

#[derive(Default)]
struct Parts {
    layers: Vec<Descriptor>,
    diff_ids: Vec<DiffId>,
    history: Vec<History>,
}

impl Parts {
    fn carry_over(&mut self, base: &Image) {
        self.layers
            .extend(base.layers().iter().map(|layer| layer.descriptor.clone()));
        self.diff_ids
            .extend(base.layers().iter().map(|layer| layer.diff_id));
        self.history.clone_from(&base.config().history);
        if self.history.is_empty() {
            // A history that exists must account for every layer, and ours begins here.
            self.history = base.layers().iter().map(|_| History::default()).collect();
        }
    }

    /// Adds what a stage made; returns its time. An instruction without files has the time of what comes before it.
    fn add(
        &mut self,
        stage: &PlannedStage,
        steps: &[(StepLayer, i64)],
        epoch: Option<i64>,
        mut at: i64,
    ) -> i64 {
        for item in &stage.history {
            let step = item.step.and_then(|index| steps.get(index));
            let layer = step.and_then(|(layer, _)| match layer {
                StepLayer::Blob { diff_id, size } => Some((*diff_id, *size)),
                StepLayer::Empty => None,
            });
            if let (Some((_, time)), None) = (step, epoch) {
                at = *time;
            }
            self.history.push(History {
                created: Some(rfc3339(at)),
                created_by: Some(item.created_by.clone()),
                empty_layer: layer.is_none(),
                ..History::default()
            });
            if let Some((diff_id, size)) = layer {
                self.layers.push(Descriptor::new(
                    MediaType::OciLayer,
                    *diff_id.digest(),
                    size,
                ));
                self.diff_ids.push(diff_id);
            }
        }
        at
    }

    fn configure(&self, mut config: ImageConfig, settings: &Settings) -> ImageConfig {
        config.rootfs.diff_ids.clone_from(&self.diff_ids);
        config.history.clone_from(&self.history);
        if let Some(user) = &settings.user {
            config.config.user.clone_from(user);
        }
        for (name, value) in &settings.env {
            let env = &mut config.config.env;
            let named = |entry: &String| entry.split('=').next() == Some(name);
            if !env.iter().any(named) {
                env.push(format!("{name}={value}"));
            }
        }
        config
    }
}
