//! Containerfile to image: plan, cache, execute, commit, export.
#![forbid(unsafe_code)]

mod cache;
pub mod event;
pub mod graph;
mod key;
pub mod request;
pub mod step;

pub use event::{BuildEvent, StageSummary};
pub use graph::{Base, BuildPlan, HistoryItem, PinnedImage, PlannedStage, StageId};
pub use request::{BuildRequest, Context, NamedContext, Network, Output, UserPolicy};
pub use step::{CopyFrom, CopyStep, Label, PlannedStep, RunNetwork, RunStep, Step, StepKind};
