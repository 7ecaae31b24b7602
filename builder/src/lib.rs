//! Containerfile to image: plan, cache, execute, commit, export.
#![forbid(unsafe_code)]

mod attest;
mod build;
mod cache;
mod cancel;
pub mod check;
mod commit;
mod completion;
pub mod context;
mod depot;
mod endpointed;
mod error;
pub mod event;
mod execute;
pub mod explain;
mod export;
pub mod facts;
mod forecast;
mod foreign;
pub mod furnish;
mod graph;
mod host;
mod job;
mod key;
mod memos;
pub mod mounts;
mod named;
pub mod plan;
mod planning;
mod provenance;
mod prune;
mod ready;
mod remote;
mod reproduce;
pub mod request;
mod resolve;
mod rules;
mod sbom;
mod session;
pub mod settings;
mod shared;
mod squash;
mod starts;
pub mod step;
mod times;

pub use attest::Attestations;
pub use build::{Built, BuiltImage, build};
pub use cancel::Cancel;
pub use completion::ClosureRules;
pub use error::BuildError;
pub use event::{BuildEvent, Direction, StageSummary};
pub use explain::{Cause, Change, Reason, Verdict};
pub use export::Exported;
pub use forecast::forecast;
pub use furnish::{
    AccountsPolicy, AccountsStep, CertificatesPolicy, CertificatesStep, Furnish, Furnishing,
    RecordsPolicy, RecordsStep, Roots,
};
pub use graph::{Base, BuildPlan, HistoryItem, PinnedImage, PlannedStage, StageId};
pub use host::{FindCredentials, FindSession, FindUnpacking, Host, Reach};
pub use job::{FailureDetails, StepFailure};
pub use mounts::{Access, CacheMount, CacheSharing, RunMount, RunMountSource, SecretVariable};
pub use planning::{Planned, PlannedTarget, plan};
pub use provenance::{Detail, Provenance, Taken};
pub use prune::{
    PRUNE_ENTRY, PruneError, clear_cache, has_superseded, prune_entry, remove_superseded,
};
pub use ready::{UNPACK_ENTRY, unpack_entry};
pub use remote::{
    GitError, GitProgram, GitSource, ParseGitError, ParseRemoteError, Pinned, RemoteKind,
    RemoteSource, SecretError,
};
pub use reproduce::{BuiltStep, CompareError, Difference, first_difference};
pub use request::{
    Annotation, AnnotationLevel, BuildRequest, CacheDestination, CacheFrom, CacheMode, CacheTo,
    Caches, ClosurePolicy, Comparison, Context, ImageOutput, NamedContext, Network, Output,
    PullPolicy, Recipe, Shape, Squash, UserPolicy,
};
pub use resolve::{Indexing, pull, transfers};
pub use sbom::{Bill, SbomError, SbomFormat};
pub use session::{ENTRY, RemoteError, session_entry};
pub use settings::{
    Agent, Dns, HOST_GATEWAY, KeepId, RunAccess, RunLimits, RunSettings, Secret, Volume,
};
pub use step::{
    CopyClosure, CopyFrom, CopyStep, Fetched, Label, PlannedStep, RunNetwork, RunStep, Step,
    StepKind,
};
pub use times::{Times, rfc3339};
