//! A build, validated. The invariant: every value is complete; nothing here is read from the environment again.

use std::collections::BTreeMap;
use std::path::PathBuf;

use builder::{
    Caches, ClosurePolicy, ClosureRules, NamedContext, Output, PullPolicy, RemoteSource, Shape,
    UserPolicy,
};
use image::{Platform, Reference};

use super::attest::AttestSettings;
use super::times::TimeSettings;
use super::{FurnishSettings, NetworkArg, StepSettings};
use crate::args::limits::LimitSettings;
use crate::args::registry::RegistrySettings;
use crate::show::Progress;

/// Where the Containerfile is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ContainerfileSource {
    /// `Containerfile` or `Dockerfile` in the context.
    InContext,
    /// This file; in a context that is no directory, the file of that name in it.
    File(PathBuf),
    /// The file at this URL.
    Remote(RemoteSource),
    /// Standard input.
    Stdin,
}

/// Where the files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ContextSource {
    /// This directory, or the tar of this name.
    Path(PathBuf),
    /// A tar on standard input, or a Containerfile there and no files.
    Stdin,
    /// A tar elsewhere, or a Containerfile there and no files.
    Remote(RemoteSource),
    /// There are none.
    Empty,
}

/// A build, validated.
#[derive(Clone, Debug)]
pub(crate) struct BuildSettings {
    /// What is read before the build starts.
    pub sources: Sources,
    /// What is built of it.
    pub image: ImageSettings,
    /// What it gets beyond its instructions.
    pub furnish: FurnishSettings,
    /// What goes with it.
    pub attest: AttestSettings,
    /// What RUN may do.
    pub isolation: Isolation,
    /// What RUN gets.
    pub steps: StepSettings,
    /// What each RUN may use up.
    pub limits: LimitSettings,
    /// Where results go and how progress is shown.
    pub results: Results,
    /// Caches that machines share.
    pub caches: Caches,
    /// How registries are spoken to.
    pub registry: RegistrySettings,
    /// Whether only the plan is shown.
    pub dry_run: bool,
    /// Whether it is built twice and compared.
    pub check_reproducible: bool,
    /// Whether only the linter is asked.
    pub check: bool,
    /// Whether the linter is asked before the build.
    pub lint: bool,
}

/// What is read before the build starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sources {
    /// The Containerfile.
    pub containerfile: ContainerfileSource,
    /// The files.
    pub context: ContextSource,
    /// `--build-context`.
    pub named: BTreeMap<String, NamedContext>,
    /// `--ignorefile`.
    pub ignore_file: Option<PathBuf>,
}

/// What is built.
#[derive(Clone, Debug)]
pub(crate) struct ImageSettings {
    /// `--target`.
    pub target: Option<String>,
    /// `--from`.
    pub first_base: Option<String>,
    /// `--skip-unused-stages=false`.
    pub unused_stages: bool,
    /// `--build-arg`.
    pub build_args: BTreeMap<String, String>,
    /// `--platform`.
    pub platforms: Vec<Platform>,
    /// `--label`.
    pub labels: Vec<(String, String)>,
    /// `--inherit-labels`.
    pub inherit_labels: bool,
    /// How the image is put together.
    pub shape: Shape,
    /// `--no-cache-filter`.
    pub no_cache_stages: Vec<String>,
    /// `--pull`.
    pub pull: PullPolicy,
    /// `--no-cache`.
    pub no_cache: bool,
    /// `--jobs`.
    pub jobs: usize,
    /// `--user-policy`.
    pub user_policy: UserPolicy,
    /// `--closure`.
    pub closure: ClosurePolicy,
    /// `--closure-rules`.
    pub closure_rules: ClosureRules,
    /// `-t`.
    pub tags: Vec<Reference>,
    /// Where its times come from.
    pub times: TimeSettings,
}

/// What RUN may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Isolation {
    /// `--network`.
    pub network: NetworkArg,
    /// `--http-proxy`.
    pub http_proxy: bool,
    /// `--network host` or `--allow network.host`.
    pub allow_host_network: bool,
    /// `--security-opt no-new-privileges`.
    pub no_new_privileges: bool,
}

/// Where results go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Results {
    /// `-o`, at least one.
    pub outputs: Vec<Output>,
    /// `--iidfile`.
    pub iidfile: Option<PathBuf>,
    /// `--metadata-file`.
    pub metadata_file: Option<PathBuf>,
    /// `--logfile`.
    pub logfile: Option<PathBuf>,
    /// `--explain-cache`.
    pub explain_cache: bool,
    /// `--progress` and `-q`.
    pub progress: Progress,
}
