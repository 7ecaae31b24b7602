//! What a step does, as it is hashed. The invariant: everything in a [`Step`] changes its result and nothing else is in it;
//! what is only shown is a [`Label`], a different type, so a display name can never enter a cache key.

use serde::{Deserialize, Serialize};

use crate::furnish::Furnish;
use crate::graph::StageId;
use crate::mounts::{RunMount, SecretVariable};
use crate::remote::Pinned;
use crate::settings::RunSettings;

/// One step of a stage that makes or changes files. Instructions that only configure make no step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What is done.
    pub kind: StepKind,
    /// The environment in effect, in order, names unique.
    pub env: Vec<(String, String)>,
    /// USER in effect, verbatim; empty for root.
    pub user: String,
    /// WORKDIR in effect, absolute and clean.
    pub workdir: String,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StepKind {
    /// RUN.
    Run(RunStep),
    /// COPY and ADD.
    Copy(CopyStep),
    /// WORKDIR: makes the directory named by [`Step::workdir`], owned by the user in effect.
    Workdir,
    /// What the stage gets at its end beyond its instructions.
    Furnish(Furnish),
}

/// RUN.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunStep {
    /// The program and its arguments: shell form has SHELL in front already.
    pub argv: Vec<String>,
    /// A script from a heredoc that names its own interpreter; its path is appended to `argv`, which is empty then.
    pub script: Option<String>,
    /// The network asked for.
    pub network: RunNetwork,
    /// Build arguments in effect, which are visible to the program but not part of the image's environment.
    pub args: Vec<(String, String)>,
    /// `--mount`, in the order in which they are mounted. A secret's value is no part of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<RunMount>,
    /// Secrets that the program gets as variables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secret_env: Vec<SecretVariable>,
    /// What the command line says about all RUN steps.
    #[serde(default, skip_serializing_if = "RunSettings::is_default")]
    pub settings: RunSettings,
}

/// `RUN --network`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunNetwork {
    /// What the command line says.
    #[default]
    Default,
    /// Only `lo`.
    None,
    /// The host's.
    Host,
}

/// COPY and ADD.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyStep {
    /// Where the sources are.
    pub from: CopyFrom,
    /// Source paths and wildcards, expanded.
    pub sources: Vec<String>,
    /// Files given as heredocs: name and content, expanded.
    pub inline: Vec<(String, String)>,
    /// What was fetched from elsewhere.
    pub fetched: Vec<Fetched>,
    /// The destination, expanded; a trailing `/` is significant.
    pub destination: String,
    /// `--chown`, expanded.
    pub chown: Option<String>,
    /// `--chmod`, expanded.
    pub chmod: Option<String>,
    /// `--exclude` patterns, expanded.
    pub excludes: Vec<String>,
    /// `--parents`.
    pub parents: bool,
    /// `--link`.
    pub link: bool,
    /// Whether local archives are extracted: ADD without `--unpack=false`.
    pub unpack: bool,
    /// `# rbuild:closure`, `--closure auto`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closure: Option<CopyClosure>,
}

/// That what the copied programs need is copied too, to the places that it has in the stage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyClosure {
    /// Whether the Containerfile asks for it: then a program that would not start even so is an error.
    pub asked: bool,
    /// `with=`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub with: Vec<String>,
    /// `without=`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<String>,
    /// `also=`: absolute paths.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
    /// `PATH` in effect.
    pub path: String,
    /// `LD_LIBRARY_PATH` in effect.
    pub library_path: String,
    /// Variables in effect that rules ask for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<(String, String)>,
    /// The digest of the rules about what programs open by themselves.
    pub rules: String,
    /// What the stage is for, in the words of the OCI image specification.
    pub architecture: String,
}

/// Something that ADD fetched. Where it came from is not part of it: content is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetched {
    /// What it is.
    pub pinned: Pinned,
    /// Whether it is extracted, if it is an archive: `--unpack=true`.
    pub unpack: bool,
}

/// The tree that COPY takes its sources from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CopyFrom {
    /// The build context.
    Context,
    /// A named context that is a directory.
    NamedContext(String),
    /// An earlier stage.
    Stage(StageId),
    /// An image, by its index in [`crate::graph::BuildPlan::images`].
    Image(usize),
}

/// How a step is shown. Never hashed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// The instruction as written, continuation lines joined.
    pub text: String,
    /// Where it stands in the Containerfile; `None` for an ONBUILD trigger of a base image.
    pub span: Option<(usize, usize)>,
}

/// A step with its label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedStep {
    /// What is done.
    pub step: Step,
    /// How it is shown.
    pub label: Label,
}
