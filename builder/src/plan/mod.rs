//! From what was written and asked to what will happen. Invariant: planning is pure: no file, network, environment or clock; equal
//! inputs give equal plans, and everything that can be wrong is reported before anything is done.
//!
//! [`Draft::of`] chooses the stages and finds the images that are needed; the caller looks these up and hands them to
//! [`Draft::finish`], which evaluates the stages. A base image's ONBUILD triggers may need further images, so the answer may be
//! [`Outcome::NeedsImages`] again. Semantics are BuildKit's (`dockerfile2llb`), except that `ENV` beats `ARG` in every order.

mod add;
mod checks;
mod closure;
mod configure;
mod copy;
mod evaluate;
mod findings;
mod furnish;
mod gather;
mod history;
mod images;
mod mounts;
mod path;
mod pins;
mod refusal;
mod run;
mod scope;
mod signals;
mod stages;
mod text;
pub mod user_policy;

use std::collections::{BTreeMap, BTreeSet};

use containerfile::{Containerfile, Diagnostic, Parsed};
use image::Platform;

pub use images::{ImageKey, ImageSource, WantedImage};
pub use pins::{Pins, WantedRemote};
pub(crate) use scope::is_proxy;
pub use scope::proxy_environment;

use checks::Checks;
use evaluate::Evaluation;
use findings::Findings;
use gather::Gathered;
use scope::Globals;
use stages::Stages;

use crate::completion::ClosureRules;
use crate::furnish::Furnishing;
use crate::graph::{BuildPlan, PinnedImage, StageId};
use crate::request::{BuildRequest, ClosurePolicy, NamedContext};
use crate::settings::RunSettings;

/// What of a request decides the plan.
#[derive(Clone, Debug)]
pub struct PlanOptions<'a> {
    /// `--build-arg`.
    pub build_args: &'a BTreeMap<String, String>,
    /// `--build-context`.
    pub named_contexts: &'a BTreeMap<String, NamedContext>,
    /// `--target`.
    pub target: Option<&'a str>,
    /// `--platform`: what the image is for.
    pub platform: &'a Platform,
    /// What the build runs on.
    pub build_platform: Platform,
    /// `--from`: what the first stage starts from, in place of what its FROM says.
    pub first_base: Option<&'a str>,
    /// `--skip-unused-stages=false`: whether stages above the target are built that it does not need.
    pub unused_stages: bool,
    /// `--label`.
    pub labels: &'a [(String, String)],
    /// `--inherit-labels`: whether the image has the labels of its base image.
    pub inherit_labels: bool,
    /// Whether `RUN --network=host` is allowed.
    pub allow_host_network: bool,
    /// What the command line says about RUN.
    pub run: &'a RunSettings,
    /// `--env`: what every stage has in its environment from the start.
    pub env: &'a [(String, String)],
    /// `--unsetenv`: what the image does not have in its environment.
    pub unset_env: &'a [String],
    /// `--unsetlabel`: labels of the base image that the image does not have.
    pub unset_labels: &'a [String],
    /// What the command line says about what stages get at their ends.
    pub furnishing: &'a Furnishing,
    /// `--closure auto`: whether programs that are copied into the image are completed.
    pub complete: bool,
    /// What programs open by themselves.
    pub closure_rules: &'a ClosureRules,
    /// The value of a declared `ARG SOURCE_DATE_EPOCH`.
    pub source_date_epoch: Option<i64>,
}

impl<'a> PlanOptions<'a> {
    /// Those of a request, for one of its platforms.
    #[must_use]
    pub fn of(request: &'a BuildRequest, platform: &'a Platform) -> Self {
        Self {
            build_args: &request.build_args,
            named_contexts: &request.named_contexts,
            target: request.target.as_deref(),
            platform,
            build_platform: Platform::host(),
            first_base: request.first_base.as_deref(),
            unused_stages: request.unused_stages,
            labels: &request.labels,
            inherit_labels: request.inherit_labels,
            allow_host_network: request.allow_host_network,
            run: &request.run,
            env: &request.env,
            unset_env: &request.unset_env,
            unset_labels: &request.unset_labels,
            furnishing: &request.furnishing,
            closure_rules: &request.closure_rules,
            complete: request.closure == ClosurePolicy::Auto,
            source_date_epoch: request.times.epoch(),
        }
    }
}

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// No stage has the name that `--target` gives.
    #[error("find the target stage {name:?}")]
    UnknownTarget {
        /// The name.
        name: String,
        /// The stage that was probably meant.
        nearest: Option<String>,
        /// All names.
        stages: Vec<String>,
    },
    /// The file cannot be built; at least one of the findings is an error.
    #[error("plan the build")]
    Invalid(Vec<Diagnostic>),
}

/// What [`Draft::finish`] comes to.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The plan, and warnings about the file.
    Planned(BuildPlan, Vec<Diagnostic>),
    /// These images have to be looked up too.
    NeedsImages(Vec<WantedImage>),
    /// These sources of ADD have to be fetched.
    NeedsRemotes(Vec<WantedRemote>),
}

/// A build whose stages are chosen and whose images are not looked up yet.
#[derive(Clone, Debug)]
pub struct Draft<'a> {
    file: &'a Containerfile,
    options: &'a PlanOptions<'a>,
    globals: Globals,
    stages: Stages<'a>,
    target: usize,
    checks: Checks<'a>,
    findings: Findings,
    /// What it comes to without any image.
    first: Outcome,
}

impl<'a> Draft<'a> {
    /// Chooses the stages, and reports all that is wrong and can be known without the base images.
    ///
    /// # Errors
    /// When there is no such target, or the file cannot be built.
    pub fn of(parsed: &'a Parsed, options: &'a PlanOptions<'a>) -> Result<Self, PlanError> {
        if parsed.has_errors() || parsed.file.stages.is_empty() {
            return Err(PlanError::Invalid(parsed.diagnostics.clone()));
        }
        let (file, mut findings) = (&parsed.file, Findings::default());
        let checks = Checks::of(parsed, options, &mut findings);
        let globals = Globals::of(file, options, &mut findings);
        let stages = Stages::of(file, options, &globals, &mut findings);
        let target = stages.target()?;
        let mut draft = Self {
            file,
            options,
            globals,
            stages,
            target,
            checks,
            findings,
            first: Outcome::NeedsImages(Vec::new()),
        };
        draft.first = draft.finish(&Pins::new())?;
        Ok(draft)
    }

    /// The images that stages start from or copy from, as far as they are known before the first is looked up.
    #[must_use]
    pub fn images(&self) -> &[WantedImage] {
        match &self.first {
            Outcome::NeedsImages(images) => images,
            Outcome::Planned(..) | Outcome::NeedsRemotes(_) => &[],
        }
    }

    /// Gives the plan, where it needs no image and nothing from elsewhere.
    pub fn take_planned(&mut self) -> Option<(BuildPlan, Vec<Diagnostic>)> {
        match std::mem::replace(&mut self.first, Outcome::NeedsImages(Vec::new())) {
            Outcome::Planned(plan, warnings) => Some((plan, warnings)),
            other => {
                self.first = other;
                None
            }
        }
    }

    /// What the name of an image that cannot be had may have meant.
    #[must_use]
    pub fn meant(&self, wanted: &WantedImage) -> Option<String> {
        self.stages.meant(wanted.written.as_deref()?)
    }

    /// Makes sure that there are stages of these names or numbers.
    ///
    /// # Errors
    /// When there is none of one name.
    pub fn check_stages(&self, names: &[String]) -> Result<(), PlanError> {
        names
            .iter()
            .try_for_each(|name| self.stages.called(name).map(drop))
    }

    /// Evaluates the stages whose images are there.
    ///
    /// # Errors
    /// When the file cannot be built.
    pub fn finish(&self, pins: &Pins) -> Result<Outcome, PlanError> {
        let mut findings = self.findings.clone();
        let gathered = Gathered::of(&self.stages, self.target, pins, &mut findings);
        for index in gathered.indices() {
            self.stages.report_after(index, &mut findings);
        }
        for (index, site) in gathered.sites(&self.stages, self.file.directives.escape) {
            refusal::refuse(&site, self.options.allow_host_network, &mut findings);
            gathered.report_source(&self.stages, index, &site, &mut findings);
        }
        let evaluation = Evaluation {
            file: self.file,
            options: self.options,
            globals: &self.globals,
            stages: &self.stages,
            gathered: &gathered,
            pins,
            completed: match self.options.complete {
                true => closure::of_image(&self.stages, self.target),
                false => BTreeSet::new(),
            },
        };
        let (stages, remotes) = evaluation.run(self.target, &mut findings);
        for warning in scope::unused_build_args(
            self.file,
            self.options.build_args,
            &gathered.declared_by_triggers(),
        ) {
            findings.push(warning);
        }
        let warnings = findings.into_warnings().map_err(PlanError::Invalid)?;
        let missing: Vec<WantedImage> = gathered
            .wanted
            .iter()
            .filter(|wanted| !pins.contains_key(&wanted.key))
            .cloned()
            .collect();
        if !missing.is_empty() {
            return Ok(Outcome::NeedsImages(missing));
        }
        if !remotes.is_empty() {
            return Ok(Outcome::NeedsRemotes(remotes));
        }
        let pinned = |wanted: &WantedImage| {
            let image = pins.get(&wanted.key)?.clone();
            Some(PinnedImage {
                name: wanted.name.clone(),
                image,
            })
        };
        let images = gathered.wanted.iter().filter_map(pinned).collect();
        let warnings = self.checks.apply(warnings)?;
        Ok(Outcome::Planned(
            BuildPlan {
                stages,
                target: StageId(self.target),
                images,
            },
            warnings,
        ))
    }
}
