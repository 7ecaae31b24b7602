//! The image of a finished build. The invariant: the configuration's layers, the manifest's and the history's entries are made
//! from one list, in one order; a base image's own history and layers are carried over untouched.

use std::collections::BTreeMap;

use image::{Descriptor, DiffId, History, Image, ImageConfig, MediaType};

use crate::cache::StepLayer;
use crate::graph::{Base, BuildPlan, PlannedStage, StageId};
use crate::job::Executed;

/// What decides the image beside the layers.
pub(crate) struct Settings<'s> {
    pub(crate) annotations: &'s [(String, String)],
    /// Stands for "now", seconds since 1970.
    pub(crate) timestamp: i64,
    /// `USER`, where the policy changed it.
    pub(crate) user: Option<String>,
}

/// Puts the image together; nothing is stored.
pub(crate) fn image_of(
    plan: &BuildPlan,
    executed: &Executed,
    settings: &Settings<'_>,
) -> Result<Image, image::ImageError> {
    let chain = chain_of(plan, plan.target);
    let base = chain.first().and_then(|stage| match stage.base {
        Base::Image(index) => plan.images.get(index),
        Base::Scratch | Base::Stage(_) => None,
    });
    let mut parts = Parts::default();
    if let Some(base) = base {
        parts.carry_over(&base.image);
    }
    let mut created = None;
    for stage in &chain {
        let steps = executed
            .chain
            .iter()
            .find(|steps| steps.stage == stage.id)
            .map_or(&[][..], |s| &s.steps);
        created = created.max(steps.iter().map(|(_, at)| *at).max());
        parts.add(stage, steps, settings.timestamp);
    }
    let target = chain
        .last()
        .map(|stage| stage.config.clone())
        .unwrap_or_default();
    let config = ImageConfig {
        created: Some(rfc3339(created.unwrap_or(settings.timestamp))),
        ..parts.configure(target, settings.user.clone())
    };
    let annotations: BTreeMap<String, String> = settings.annotations.iter().cloned().collect();
    Image::compose(&config, parts.layers, annotations)
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

    fn add(&mut self, stage: &PlannedStage, steps: &[(StepLayer, i64)], timestamp: i64) {
        for item in &stage.history {
            let step = item.step.and_then(|index| steps.get(index));
            let layer = step.and_then(|(layer, _)| match layer {
                StepLayer::Blob { diff_id, size } => Some((*diff_id, *size)),
                StepLayer::Empty => None,
            });
            self.history.push(History {
                created: Some(rfc3339(
                    step.map_or(timestamp_of(steps, timestamp), |(_, at)| *at),
                )),
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
    }

    fn configure(&self, mut config: ImageConfig, user: Option<String>) -> ImageConfig {
        config.rootfs.diff_ids.clone_from(&self.diff_ids);
        config.history.clone_from(&self.history);
        if let Some(user) = user {
            config.config.user = user;
        }
        config
    }
}

/// Instructions without files have no time of their own: that of the stage's last step keeps a cached build's image equal.
fn timestamp_of(steps: &[(StepLayer, i64)], timestamp: i64) -> i64 {
    steps.iter().map(|(_, at)| *at).max().unwrap_or(timestamp)
}

/// RFC 3339 in UTC. The calendar is Howard Hinnant's `civil_from_days`.
pub(crate) fn rfc3339(seconds: i64) -> String {
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::rfc3339;

    #[test]
    fn times_are_those_that_date_prints() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_827_696, "2000-02-29T12:34:56Z"),
            (1_795_321_320, "2026-11-22T04:22:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(seconds), text);
        }
    }
}
