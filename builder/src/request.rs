//! What is asked, complete: nothing that a build reads from its surroundings is missing here. The invariant: the values are
//! those of the command line, validated; the library adds no defaults of its own.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use containerfile::Source;
use image::{Format, Platform, Reference};

mod cache;
mod output;

pub use cache::{CacheDestination, CacheFrom, CacheMode, CacheTo, Caches};
pub(crate) use output::annotations_of;
pub use output::{Annotation, AnnotationLevel, ImageOutput, Output, Recipe};

use crate::attest::Attestations;
use crate::completion::ClosureRules;
use crate::context::PackedContext;
use crate::furnish::Furnishing;
use crate::remote::RemoteSource;
use crate::settings::{RunAccess, RunLimits, RunSettings};
use crate::times::Times;

/// One build.
#[derive(Clone, Debug)]
pub struct BuildRequest {
    /// The Containerfile.
    pub containerfile: Source,
    /// The build context.
    pub context: Context,
    /// The ignore file that applies to the context: its name for messages and its text.
    pub ignore: Option<(String, String)>,
    /// `--build-context`.
    pub named_contexts: BTreeMap<String, NamedContext>,
    /// `--build-arg`.
    pub build_args: BTreeMap<String, String>,
    /// `--target`.
    pub target: Option<String>,
    /// `--from`: the image that the first stage starts from, in place of what its FROM says.
    pub first_base: Option<String>,
    /// `--skip-unused-stages=false`.
    pub unused_stages: bool,
    /// `--platform`: at least one, each once. Several make an index.
    pub platforms: Vec<Platform>,
    /// `--label`, in order.
    pub labels: Vec<(String, String)>,
    /// `--inherit-labels`.
    pub inherit_labels: bool,
    /// How the image is put together.
    pub shape: Shape,
    /// `--no-cache`.
    pub no_cache: bool,
    /// `--http-proxy`: whether RUN gets the caller's proxy settings.
    pub http_proxy: bool,
    /// `--no-cache-filter`: stages that are built anew, by name or number.
    pub no_cache_stages: Vec<String>,
    /// `--explain-cache`.
    pub explain_cache: bool,
    /// Names the Containerfile and its context in a way that stays the same from build to build: with what was built of them
    /// before, an explanation compares. It is in no key.
    pub lineage: String,
    /// `--pull`.
    pub pull: PullPolicy,
    /// `--check-reproducible`: what the build is for, if it is compared with another one.
    pub comparison: Comparison,
    /// `--jobs`: how many stages run at once.
    pub jobs: usize,
    /// `--network`.
    pub network: Network,
    /// Whether `RUN --network=host` is allowed: `--network host` or `--allow network.host`.
    pub allow_host_network: bool,
    /// `--security-opt no-new-privileges`.
    pub no_new_privileges: bool,
    /// What the command line says about RUN and changes what it makes.
    pub run: RunSettings,
    /// What RUN gets access to.
    pub access: RunAccess,
    /// How much each RUN may use up.
    pub limits: RunLimits,
    /// `--env`, in order: every stage has it in its environment from the start.
    pub env: Vec<(String, String)>,
    /// `--unsetenv`.
    pub unset_env: Vec<String>,
    /// `--unsetlabel`.
    pub unset_labels: Vec<String>,
    /// `--ca`, `--accounts`.
    pub furnishing: Furnishing,
    /// `--user-policy`.
    pub user_policy: UserPolicy,
    /// `--closure`.
    pub closure: ClosurePolicy,
    /// `--closure-rules`, and the built-in ones.
    pub closure_rules: ClosureRules,
    /// `-t`.
    pub tags: Vec<Reference>,
    /// `-o`.
    pub outputs: Vec<Output>,
    /// `--cache-from`, `--cache-to`.
    pub caches: Caches,
    /// `--sbom`, `--provenance`, `--sign-by`.
    pub attestations: Attestations,
    /// Where the times of the image come from.
    pub times: Times,
    /// `--rewrite-timestamp`: whether files follow `times` too; else they have the time of the newest input at most.
    pub rewrite_timestamp: bool,
    /// The real time, in seconds since 1970: it decides which files are too young to be remembered by their times, and nothing
    /// else.
    pub now: i64,
}

/// Whether a build is one of two that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// It is not.
    None,
    /// The first one: it is kept, and has a layer of every step.
    First,
    /// The second one: it has a layer of every step, and nothing of it is kept.
    Second,
}

/// Where COPY takes its files from.
#[derive(Clone, Debug)]
pub enum Context {
    /// A directory.
    Directory(PathBuf),
    /// What somebody packed.
    Packed(Arc<PackedContext>),
    /// Nothing: the Containerfile came from standard input.
    Empty,
}

/// A `--build-context`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamedContext {
    /// A directory.
    Directory(PathBuf),
    /// A tar.
    Archive(PathBuf),
    /// A tar elsewhere.
    Remote(RemoteSource),
    /// An image in an OCI layout directory, by tag or digest, else the only one.
    OciLayout {
        /// The layout.
        directory: PathBuf,
        /// A tag, or `sha256:...`.
        version: Option<String>,
    },
    /// An image by reference.
    Image(Reference),
}

/// How an image is put together from what was built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// `--format`.
    pub format: Format,
    /// `--squash`, `--squash-all`.
    pub squash: Squash,
    /// `--omit-history`.
    pub omit_history: bool,
    /// `--annotation`, in order.
    pub annotations: Vec<Annotation>,
}

/// Which layers become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Squash {
    /// None.
    No,
    /// Those of this build; the base image keeps its own.
    Built,
    /// All of them.
    All,
}

/// When a registry is asked for an image that has a name in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullPolicy {
    /// Always.
    Always,
    /// Never; only when the store has none, that is.
    Missing,
    /// Not even when the store has none.
    Never,
    /// Always, but what the store has is good enough when the registry does not answer.
    Newer,
}

/// The network of RUN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Network {
    /// Only `lo`.
    None,
    /// The host's.
    Host,
    /// An own one, connected by pasta, the program at this path.
    Pasta(PathBuf),
}

/// What happens to programs that need more than was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClosurePolicy {
    /// What the stages have of it that they were copied from is copied too, and then as below.
    Auto,
    /// The build fails when the image's entry point could not start.
    Check,
    /// Nothing.
    Off,
}

/// What happens when the image would not run as a numeric, non-root user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserPolicy {
    /// The build fails.
    Enforce,
    /// A name becomes its numbers; the build fails where that is not possible.
    Rewrite,
    /// A warning.
    Warn,
    /// Nothing.
    Off,
}
