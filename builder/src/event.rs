//! What is told while a build goes on. The invariant: events say what happened in values, never in formatted text, and come
//! in an order in which every `StepStarted` has exactly one end.

use serde::{Deserialize, Serialize};

use crate::explain::Verdict;
use crate::graph::StageId;
use crate::step::Label;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum BuildEvent {
    /// The plan is made: how many steps each stage has.
    Planned {
        /// The stages that will be built.
        stages: Vec<StageSummary>,
    },
    /// Bytes of an image arrive or leave.
    Transfer {
        /// Which way they go.
        direction: Direction,
        /// What is transferred: an image name and a short digest.
        name: String,
        /// Bytes so far.
        done: u64,
        /// Bytes in all, where known.
        total: Option<u64>,
    },
    /// A stage begins.
    StageStarted {
        /// Which.
        stage: StageId,
    },
    /// A step begins.
    StepStarted {
        /// Its stage.
        stage: StageId,
        /// Its index in the stage.
        step: usize,
        /// The instruction.
        label: Label,
    },
    /// A step's result was taken from the cache.
    StepCached {
        /// Its stage.
        stage: StageId,
        /// Its index in the stage.
        step: usize,
        /// The instruction.
        label: Label,
    },
    /// Why a step was taken from the cache or was not, where that was asked for; it comes before the step's other events.
    CacheExplained {
        /// Its stage.
        stage: StageId,
        /// Its index in the stage.
        step: usize,
        /// The instruction.
        label: Label,
        /// What the cache had.
        #[serde(flatten)]
        verdict: Verdict,
    },
    /// A step printed something.
    Output {
        /// Its stage.
        stage: StageId,
        /// Its index in the stage.
        step: usize,
        /// Whether it came from standard error.
        stderr: bool,
        /// The text, lossily decoded; usually whole lines.
        text: String,
    },
    /// A step ended.
    StepFinished {
        /// Its stage.
        stage: StageId,
        /// Its index in the stage.
        step: usize,
        /// How long it took, in milliseconds.
        milliseconds: u64,
        /// Whether it succeeded.
        success: bool,
    },
    /// Something worth a line that is no error.
    Notice {
        /// The text.
        message: String,
    },
    /// The image is complete.
    Committed {
        /// Its manifest's digest.
        digest: String,
    },
}

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// From a registry.
    Fetch,
    /// To a registry.
    Push,
}

/// A stage as the display needs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageSummary {
    /// Which.
    pub stage: StageId,
    /// Its name.
    pub name: String,
    /// How many steps it has.
    pub steps: usize,
}
