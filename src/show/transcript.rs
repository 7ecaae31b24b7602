//! What is known of the build so far: names of stages, and output that waits for its line end. The invariant: it holds nothing of
//! steps that have ended.

use std::collections::BTreeMap;

use builder::{BuildEvent, Label, StageId};

use super::lines::Lines;

/// A step, by its stage and its place there.
pub(super) type StepId = (StageId, usize);

/// The build so far.
#[derive(Debug, Default)]
pub(super) struct Transcript {
    stages: BTreeMap<StageId, (String, usize)>,
    /// Standard output and standard error of the steps that run.
    streams: BTreeMap<StepId, [Lines; 2]>,
    /// The lines that the latest event has completed.
    fresh: Vec<String>,
}

impl Transcript {
    /// Takes an event in.
    pub(super) fn note(&mut self, event: &BuildEvent) {
        self.fresh.clear();
        match event {
            BuildEvent::Planned { stages } => {
                let summaries = stages
                    .iter()
                    .map(|stage| (stage.stage, (stage.name.clone(), stage.steps)));
                self.stages = summaries.collect();
            }
            BuildEvent::Output {
                stage,
                step,
                stderr,
                text,
            } => {
                let streams = self.streams.entry((*stage, *step)).or_default();
                streams[usize::from(*stderr)]
                    .push(text, |line| self.fresh.push(super::escape(line)));
            }
            BuildEvent::StepFinished { stage, step, .. } => {
                for mut stream in self.streams.remove(&(*stage, *step)).into_iter().flatten() {
                    stream.finish(|line| self.fresh.push(super::escape(line)));
                }
            }
            _ => {}
        }
    }

    /// The lines of output that the latest event completed, safe to be shown.
    pub(super) fn fresh_lines(&self) -> &[String] {
        &self.fresh
    }

    /// A step as `[name 2/5]`.
    pub(super) fn place(&self, stage: StageId, step: usize) -> String {
        let steps = self
            .stages
            .get(&stage)
            .map_or(step + 1, |(_, steps)| *steps);
        format!("[{} {}/{steps}]", self.stage_name(stage), step + 1)
    }

    /// The stage's name; one without is called by its number, as BuildKit does.
    pub(super) fn stage_name(&self, stage: StageId) -> String {
        match self.stages.get(&stage) {
            Some((name, _)) if name.parse::<usize>().is_err() => super::escape(name),
            _ => format!("stage-{}", stage.0),
        }
    }
}

/// The first line of an instruction, bounded.
pub(super) fn one_line(label: &Label) -> String {
    const WIDTH: usize = 120;
    let text = super::escape(label.text.lines().next().unwrap_or_default());
    if text.chars().count() <= WIDTH {
        return text;
    }
    text.chars().take(WIDTH - 1).chain(['…']).collect()
}
