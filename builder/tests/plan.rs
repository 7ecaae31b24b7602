//! The planner, from text to plan: no file is read and nothing is built.

#[path = "plan/checks.rs"]
mod checks;
#[path = "plan/closure.rs"]
mod closure;
#[path = "plan/configuration.rs"]
mod configuration;
#[path = "plan/copies.rs"]
mod copies;
#[path = "plan/fixtures.rs"]
mod fixtures;
#[path = "plan/mounts.rs"]
mod mounts;
#[path = "plan/onbuild.rs"]
mod onbuild;
#[path = "plan/refusals.rs"]
mod refusals;
#[path = "plan/scale.rs"]
mod scale;
#[path = "plan/snapshots.rs"]
mod snapshots;
#[path = "plan/stages.rs"]
mod stages;
#[path = "plan/support.rs"]
mod support;
#[path = "plan/user.rs"]
mod user;
#[path = "plan/variables.rs"]
mod variables;
