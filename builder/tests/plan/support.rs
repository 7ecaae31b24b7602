//! A planner with invented base images.

use std::collections::BTreeMap;

use containerfile::{Diagnostic, Severity, Source};
use image::{Digest, Image, ImageConfig, Platform};
use rbuild_builder::plan::{Draft, Outcome, Pins, PlanError, PlanOptions};
use rbuild_builder::{
    BuildPlan, CopyStep, Furnishing, NamedContext, Pinned, PlannedStage, PlannedStep, RunSettings,
    RunStep, StepKind,
};

/// What a test asks for.
pub(crate) struct Asked {
    pub(crate) text: String,
    build_args: BTreeMap<String, String>,
    contexts: BTreeMap<String, NamedContext>,
    target: Option<String>,
    first_base: Option<String>,
    unused_stages: bool,
    platform: Platform,
    labels: Vec<(String, String)>,
    inherit_labels: bool,
    host_network: bool,
    epoch: Option<i64>,
    run: RunSettings,
    env: Vec<(String, String)>,
    unset: Vec<String>,
    furnishing: Furnishing,
    pub(crate) complete: bool,
    rules: rbuild_builder::ClosureRules,
    images: BTreeMap<String, ImageConfig>,
}

/// A planned file.
pub(crate) struct Planned {
    pub(crate) plan: BuildPlan,
    pub(crate) warnings: Vec<Diagnostic>,
}

/// Asks for a plan of a text; the platform is linux/amd64, built on linux/arm64.
pub(crate) fn of(text: &str) -> Asked {
    Asked {
        text: text.to_owned(),
        build_args: BTreeMap::new(),
        contexts: BTreeMap::new(),
        target: None,
        first_base: None,
        unused_stages: false,
        platform: Platform::linux("amd64"),
        labels: Vec::new(),
        inherit_labels: true,
        host_network: false,
        epoch: None,
        run: RunSettings::default(),
        env: Vec::new(),
        unset: Vec::new(),
        furnishing: Furnishing::default(),
        complete: false,
        rules: rbuild_builder::ClosureRules::default(),
        images: BTreeMap::new(),
    }
}

/// The plan of a text without any options.
pub(crate) fn plan(text: &str) -> Planned {
    of(text).plan()
}

/// The errors of a text: place and message.
pub(crate) fn errors(text: &str) -> Vec<String> {
    of(text).errors()
}

impl Asked {
    pub(crate) fn arg(mut self, name: &str, value: &str) -> Self {
        self.build_args.insert(name.into(), value.into());
        self
    }

    pub(crate) fn context(mut self, name: &str, context: NamedContext) -> Self {
        self.contexts.insert(name.into(), context);
        self
    }

    pub(crate) fn target(mut self, target: &str) -> Self {
        self.target = Some(target.into());
        self
    }

    pub(crate) fn from(mut self, image: &str) -> Self {
        self.first_base = Some(image.into());
        self
    }

    pub(crate) fn with_unused_stages(mut self) -> Self {
        self.unused_stages = true;
        self
    }

    pub(crate) fn platform(mut self, platform: &str) -> Self {
        self.platform = platform.parse().unwrap();
        self
    }

    pub(crate) fn label(mut self, name: &str, value: &str) -> Self {
        self.labels.push((name.into(), value.into()));
        self
    }

    pub(crate) fn without_labels_of_the_base(mut self) -> Self {
        self.inherit_labels = false;
        self
    }

    pub(crate) fn host_network(mut self) -> Self {
        self.host_network = true;
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    pub(crate) fn unset(mut self, name: &str) -> Self {
        self.unset.push(name.into());
        self
    }

    pub(crate) fn epoch(mut self, epoch: i64) -> Self {
        self.epoch = Some(epoch);
        self
    }

    /// The configuration of the image that is shown under a name.
    pub(crate) fn image(mut self, name: &str, change: impl FnOnce(&mut ImageConfig)) -> Self {
        let mut config = ImageConfig::new(&self.platform);
        change(&mut config);
        self.images.insert(name.into(), config);
        self
    }

    pub(crate) fn plan(self) -> Planned {
        self.finish().unwrap_or_else(|error| panic!("{error:?}"))
    }

    /// What the name of the first of them may have meant.
    pub(crate) fn meant(self) -> Option<String> {
        let parsed = containerfile::parse(&Source::new("Containerfile", self.text.clone()));
        let options = self.options();
        let draft = Draft::of(&parsed, &options).unwrap();
        draft.meant(&draft.images()[0])
    }

    /// Plans, whatever comes of it.
    pub(crate) fn attempt(self) -> Result<Planned, PlanError> {
        self.finish()
    }

    /// The rounds of look-ups: the names asked for in each.
    pub(crate) fn rounds(self) -> Vec<Vec<String>> {
        let mut rounds = Vec::new();
        self.run(&mut rounds)
            .unwrap_or_else(|error| panic!("{error:?}"));
        rounds
    }

    pub(crate) fn error(self) -> PlanError {
        match self.finish() {
            Ok(planned) => panic!("planned:\n{}", planned.plan),
            Err(error) => error,
        }
    }

    pub(crate) fn diagnostics(self) -> Vec<Diagnostic> {
        match self.error() {
            PlanError::Invalid(found) => found,
            other @ PlanError::UnknownTarget { .. } => panic!("{other:?}"),
        }
    }

    pub(crate) fn errors(self) -> Vec<String> {
        let source = Source::new("Containerfile", self.text.clone());
        let errors = self.diagnostics().into_iter();
        let errors = errors.filter(|found| found.severity == Severity::Error);
        errors
            .map(|found| format!("{} | {}", source.slice(found.span), found.message))
            .collect()
    }

    fn finish(self) -> Result<Planned, PlanError> {
        self.run(&mut Vec::new())
    }

    fn options(&self) -> PlanOptions<'_> {
        PlanOptions {
            complete: self.complete,
            closure_rules: &self.rules,
            build_args: &self.build_args,
            named_contexts: &self.contexts,
            target: self.target.as_deref(),
            platform: &self.platform,
            build_platform: Platform::linux("arm64"),
            first_base: self.first_base.as_deref(),
            unused_stages: self.unused_stages,
            labels: &self.labels,
            inherit_labels: self.inherit_labels,
            allow_host_network: self.host_network,
            source_date_epoch: self.epoch,
            run: &self.run,
            env: &self.env,
            unset_env: &self.unset,
            unset_labels: &self.unset,
            furnishing: &self.furnishing,
        }
    }

    fn run(self, rounds: &mut Vec<Vec<String>>) -> Result<Planned, PlanError> {
        let parsed = containerfile::parse(&Source::new("Containerfile", self.text.clone()));
        let options = self.options();
        let draft = Draft::of(&parsed, &options)?;
        let mut wanted = draft.images().to_vec();
        let mut pins = Pins::new();
        loop {
            if !wanted.is_empty() {
                rounds.push(wanted.iter().map(|image| image.name.clone()).collect());
            }
            for image in wanted {
                let config = self.images.get(&image.name).cloned();
                let config = config.unwrap_or_else(|| ImageConfig::new(&image.key.platform));
                let made = Image::compose(&config, Vec::new(), BTreeMap::new()).unwrap();
                assert!(
                    pins.insert(image.key, made).is_none(),
                    "asked twice for {}",
                    image.name
                );
            }
            match draft.finish(&pins)? {
                Outcome::Planned(plan, warnings) => return Ok(Planned { plan, warnings }),
                Outcome::NeedsImages(more) => wanted = more,
                Outcome::NeedsRemotes(remotes) => {
                    wanted = Vec::new();
                    rounds.push(remotes.iter().map(|one| one.source.to_string()).collect());
                    for remote in remotes {
                        let pinned = Pinned::File {
                            digest: Digest::of(remote.source.to_string()),
                            name: "fetched".to_owned(),
                            mtime: 7,
                        };
                        pins.insert_remote(remote.source, pinned);
                    }
                }
            }
        }
    }
}

impl Planned {
    pub(crate) fn target(&self) -> &PlannedStage {
        let target = self.plan.target;
        self.plan
            .stages
            .iter()
            .find(|stage| stage.id == target)
            .unwrap()
    }

    pub(crate) fn stage_names(&self) -> Vec<&str> {
        self.plan
            .stages
            .iter()
            .map(|stage| stage.name.as_str())
            .collect()
    }

    pub(crate) fn stage(&self, name: &str) -> &PlannedStage {
        self.plan
            .stages
            .iter()
            .find(|stage| stage.name == name)
            .unwrap()
    }

    pub(crate) fn config(&self) -> &image::ContainerConfig {
        &self.target().config.config
    }

    /// The environment of the image without the default PATH.
    pub(crate) fn env(&self) -> Vec<&str> {
        let env = self.config().env.iter().map(String::as_str);
        env.filter(|entry| !entry.starts_with("PATH=")).collect()
    }

    pub(crate) fn warned(&self) -> Vec<&str> {
        self.warnings
            .iter()
            .map(|found| found.message.as_str())
            .collect()
    }

    pub(crate) fn step(&self, index: usize) -> &PlannedStep {
        &self.target().steps[index]
    }

    pub(crate) fn run(&self, index: usize) -> &RunStep {
        match &self.step(index).step.kind {
            StepKind::Run(run) => run,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn copy(&self, index: usize) -> &CopyStep {
        match &self.step(index).step.kind {
            StepKind::Copy(copy) => copy,
            other => panic!("{other:?}"),
        }
    }

    /// The history of the target; a layer is marked by its step's number.
    pub(crate) fn history(&self) -> Vec<String> {
        let items = self.target().history.iter();
        items
            .map(|item| match item.step {
                Some(step) => format!("{step}: {}", item.created_by),
                None => item.created_by.clone(),
            })
            .collect()
    }
}

/// Pairs as `NAME=VALUE`.
pub(crate) fn shown(pairs: &[(String, String)]) -> Vec<String> {
    pairs
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect()
}
