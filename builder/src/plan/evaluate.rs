//! What each stage does, instruction by instruction. Invariant: a stage is evaluated only after the one it starts from, with the
//! values that hold at each instruction; its plan holds no variable any more.

use std::collections::{BTreeMap, BTreeSet};

use containerfile::{Arg, Containerfile, Diagnostic, InstructionKind, Pair, Pairs, Word};
use image::ImageConfig;

use super::findings::{Checked, Findings, Site};
use super::gather::Gathered;
use super::history;
use super::images::WantedImage;
use super::path;
use super::scope::{Globals, Scope};
use super::stages::{Meaning, Stages};
use super::{Pins, PlanOptions, WantedRemote};
use crate::graph::{Base, HistoryItem, PlannedStage, StageId};
use crate::step::{CopyFrom, Label, PlannedStep, Step, StepKind};

/// BuildKit's `system.DefaultPathEnv`: what programs are found by where the base image says nothing.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// All that stages are evaluated from.
pub(super) struct Evaluation<'a> {
    pub(super) file: &'a Containerfile,
    pub(super) options: &'a PlanOptions<'a>,
    pub(super) globals: &'a Globals,
    pub(super) stages: &'a Stages<'a>,
    pub(super) gathered: &'a Gathered,
    pub(super) pins: &'a Pins,
    /// The stages in which `--closure auto` completes what is copied.
    pub(super) completed: BTreeSet<usize>,
}

impl Evaluation<'_> {
    /// The gathered stages, without those whose base image is not looked up yet, and the remote sources that are still to be
    /// fetched: steps that need one are missing.
    pub(super) fn run(
        &self,
        target: usize,
        findings: &mut Findings,
    ) -> (Vec<PlannedStage>, Vec<WantedRemote>) {
        let mut ends = Ends::of(self);
        let mut planned = Vec::new();
        let mut remotes = Vec::new();
        for index in self.gathered.indices() {
            let Some((base, mut state)) = self.start(index, &mut ends, findings) else {
                continue;
            };
            // A stage that starts from another one has them from there.
            let inherited = matches!(base, Base::Stage(_));
            for (name, value) in self.options.env.iter().filter(|_| !inherited) {
                state.scope.env.set(name, value.clone());
            }
            let mut evaluator = StageEvaluator {
                context: self,
                index,
                state,
                cmd_set: false,
                steps: Vec::new(),
                history: Vec::new(),
                findings: &mut *findings,
                remotes: &mut remotes,
            };
            for site in self
                .gathered
                .sites_of(self.stages, index, self.file.directives.escape)
            {
                let checked = evaluator.instruction(&site);
                evaluator.findings.keep(checked);
            }
            evaluator.furnish(index == target);
            let (steps, history, state) = (evaluator.steps, evaluator.history, evaluator.state);
            let user_label = state.user_label.clone();
            let mut config = match ends.is_awaited(index) {
                true => {
                    let config = state.config();
                    ends.keep(index, state);
                    config
                }
                false => state.into_config(),
            };
            if index == target {
                self.finish(&mut config);
            }
            planned.push(PlannedStage {
                id: StageId(index),
                name: self.stages.name(index),
                base,
                after: self.stages.after(index).into_iter().map(StageId).collect(),
                steps,
                config,
                history,
                user_label,
                from_label: self.stages.opening_label(index),
            });
        }
        (planned, remotes)
    }

    /// What the command line says about the image's configuration.
    fn finish(&self, image: &mut ImageConfig) {
        let options = self.options;
        image.config.env.retain(|entry| {
            let name = entry
                .split_once('=')
                .map_or(entry.as_str(), |(name, _)| name);
            !options.unset_env.iter().any(|unset| unset == name)
        });
        let labels = &mut image.config.labels;
        labels.retain(|name, _| !options.unset_labels.contains(name));
        labels.extend(options.labels.iter().cloned());
    }

    /// What a stage starts from, and what holds at its beginning.
    fn start(
        &self,
        index: usize,
        ends: &mut Ends,
        findings: &mut Findings,
    ) -> Option<(Base, State)> {
        match self.stages.base(index)? {
            Meaning::Scratch(platform) => {
                Some((Base::Scratch, State::new(ImageConfig::new(platform))))
            }
            Meaning::Stage(base) => {
                let mut state = ends.start_from(*base)?;
                state.image.config.on_build.clear();
                Some((Base::Stage(StageId(*base)), state))
            }
            Meaning::Image(wanted) => {
                let number = self.gathered.image_index(&wanted.key)?;
                Some((Base::Image(number), self.of_image(index, wanted, findings)?))
            }
            Meaning::Directory(name) => {
                let from = self.stages.opening(index);
                let message = format!(
                    "named context {name:?} is a directory, which no stage can start from yet"
                );
                let help = "use oci-layout:DIRECTORY or docker-image://NAME, or FROM scratch and COPY --from";
                findings.push(Diagnostic::error(from.image.span, message).with_help(help));
                None
            }
        }
    }

    fn of_image(
        &self,
        index: usize,
        wanted: &WantedImage,
        findings: &mut Findings,
    ) -> Option<State> {
        let config = self.pins.get(&wanted.key)?.config();
        let place = self.stages.opening(index).image.span;
        let (found, asked) = (config.platform(), &wanted.key.platform);
        // Old images do not say what they are for.
        let fits = found.architecture.is_empty() || asked.fit(&found).is_some();
        if !fits {
            let message = format!("{} is for {found}, not for {asked}", wanted.name);
            findings.push(Diagnostic::warning(
                "InvalidBaseImagePlatform",
                place,
                message,
            ));
        }
        // Only what the OCI specification and Docker's own instructions define is inherited: fields such as `container_config`,
        // `Hostname` or `Image` tell how the base was made, not how its children are.
        let mut inherited = ImageConfig::new(if fits { asked } else { &found });
        inherited.author.clone_from(&config.author);
        inherited.config = config.config.clone();
        if !self.options.inherit_labels {
            inherited.config.labels.clear();
        }
        inherited
            .config
            .other
            .retain(|name, _| name == "StopTimeout");
        inherited.config.on_build.clear();
        let mut state = State::new(inherited);
        let unusable = state.malformed.len();
        if unusable > 0 {
            let message = format!(
                "{} has {unusable} environment entries that are not NAME=VALUE; they are dropped",
                wanted.name
            );
            findings.push(Diagnostic::warning(
                "MalformedBaseEnvironment",
                place,
                message,
            ));
        }
        state.malformed.clear();
        Some(state)
    }
}

/// What holds at the ends of stages that others start from, for as long as one of them is to come.
struct Ends {
    uses: BTreeMap<usize, usize>,
    states: BTreeMap<usize, State>,
}

impl Ends {
    fn of(evaluation: &Evaluation<'_>) -> Self {
        let mut uses = BTreeMap::new();
        for index in evaluation.gathered.indices() {
            if let Some(Meaning::Stage(base)) = evaluation.stages.base(index) {
                *uses.entry(*base).or_default() += 1;
            }
        }
        Self {
            uses,
            states: BTreeMap::new(),
        }
    }

    /// Whether a stage that is to come starts from this one.
    fn is_awaited(&self, index: usize) -> bool {
        self.uses.contains_key(&index)
    }

    fn keep(&mut self, index: usize, state: State) {
        self.states.insert(index, state);
    }

    fn start_from(&mut self, index: usize) -> Option<State> {
        let left = self.uses.get_mut(&index)?;
        *left -= 1;
        if *left == 0 {
            return self.states.remove(&index);
        }
        self.states.get(&index).cloned()
    }
}

/// What holds at some point of a stage.
#[derive(Clone, Debug)]
pub(super) struct State {
    /// The configuration so far; the environment is in `scope`.
    pub(super) image: ImageConfig,
    pub(super) scope: Scope,
    pub(super) user_label: Option<Label>,
    /// Entries of the base image's environment that are none (S39).
    malformed: Vec<String>,
}

impl State {
    fn new(mut image: ImageConfig) -> Self {
        let mut scope = Scope::default();
        let mut malformed = Vec::new();
        for entry in std::mem::take(&mut image.config.env) {
            match entry.split_once('=') {
                Some((name, value)) if !name.is_empty() && !entry.contains('\0') => {
                    scope.env.set(name, value.to_owned());
                }
                _ => malformed.push(entry),
            }
        }
        if scope.env.get("PATH").is_none() {
            scope.env.set("PATH", DEFAULT_PATH.to_owned());
        }
        let directory = &mut image.config.working_dir;
        if !directory.is_empty() {
            *directory = path::join("/", directory);
        }
        Self {
            image,
            scope,
            user_label: None,
            malformed,
        }
    }

    /// The directory that relative paths start from.
    pub(super) fn workdir(&self) -> &str {
        match self.image.config.working_dir.as_str() {
            "" => "/",
            directory => directory,
        }
    }

    /// The configuration of an image made here.
    fn config(&self) -> ImageConfig {
        let mut image = self.image.clone();
        image.config.env = self.environment();
        image
    }

    fn into_config(mut self) -> ImageConfig {
        self.image.config.env = self.environment();
        self.image
    }

    fn environment(&self) -> Vec<String> {
        let pairs = self.scope.env.pairs().iter();
        pairs
            .map(|(name, value)| format!("{name}={value}"))
            .collect()
    }
}

/// One stage in the making.
pub(super) struct StageEvaluator<'e, 'f> {
    pub(super) context: &'e Evaluation<'e>,
    pub(super) index: usize,
    pub(super) state: State,
    /// Whether this stage has a `CMD` of its own, which `ENTRYPOINT` leaves alone.
    pub(super) cmd_set: bool,
    steps: Vec<PlannedStep>,
    history: Vec<HistoryItem>,
    pub(super) findings: &'f mut Findings,
    pub(super) remotes: &'f mut Vec<WantedRemote>,
}

impl StageEvaluator<'_, '_> {
    fn instruction(&mut self, site: &Site<'_>) -> Checked<()> {
        match &site.instruction.kind {
            InstructionKind::Add(add) => self.add(site, add),
            InstructionKind::Arg(arg) => self.arg(site, arg),
            InstructionKind::Cmd(command) => self.cmd(command),
            InstructionKind::Copy(copy) => self.copy(site, copy),
            InstructionKind::Entrypoint(command) => self.entrypoint(command),
            InstructionKind::Env(pairs) => self.env(site, pairs),
            InstructionKind::Expose(ports) => self.expose(site, ports),
            InstructionKind::Healthcheck(check) => self.healthcheck(check),
            InstructionKind::Label(pairs) => self.label(site, pairs),
            InstructionKind::Maintainer(author) => self.maintainer(&author.value),
            InstructionKind::Onbuild(onbuild) => self.onbuild(&onbuild.trigger),
            InstructionKind::Run(run) => self.run(site, run),
            InstructionKind::Shell(words) => self.shell(words),
            InstructionKind::Stopsignal(signal) => self.stopsignal(site, signal),
            InstructionKind::User(user) => self.user(site, user),
            InstructionKind::Volume(paths) => self.volume(site, paths),
            InstructionKind::Workdir(directory) => self.workdir(site, directory),
        }
    }

    /// Notes an instruction that makes no layer.
    pub(super) fn configured(&mut self, created_by: String) {
        self.history.push(HistoryItem {
            created_by,
            step: None,
        });
    }

    /// Adds a step, which makes a layer.
    pub(super) fn step(&mut self, site: &Site<'_>, step: Step, created_by: String) {
        self.labelled(step, site.label(), created_by);
    }

    /// Adds a step that is no instruction.
    pub(super) fn labelled(&mut self, step: Step, label: Label, created_by: String) {
        self.history.push(HistoryItem {
            created_by,
            step: Some(self.steps.len()),
        });
        self.steps.push(PlannedStep { step, label });
    }

    /// Whether something beyond the language was added.
    pub(super) fn is_furnished(&self) -> bool {
        let mut steps = self.steps.iter();
        steps.any(|planned| matches!(planned.step.kind, StepKind::Furnish(_)))
    }

    /// The stages and images that files were copied from, in order, each once.
    pub(super) fn copied_from(&self) -> Vec<CopyFrom> {
        let mut sources: Vec<CopyFrom> = Vec::new();
        for planned in &self.steps {
            if let StepKind::Copy(copy) = &planned.step.kind
                && matches!(copy.from, CopyFrom::Stage(_) | CopyFrom::Image(_))
                && !sources.contains(&copy.from)
            {
                sources.push(copy.from.clone());
            }
        }
        sources
    }

    /// All values see the environment before the instruction.
    fn env(&mut self, site: &Site<'_>, pairs: &Pairs) -> Checked<()> {
        let scope = &self.state.scope;
        let values = self.pairs(site, pairs, |name| {
            site.expand_variable(name, scope, "the name of an ENV")
        })?;
        self.configured(history::pairs("ENV", &values, pairs.legacy));
        for (name, value) in values {
            self.state.scope.env.set(&name, value);
        }
        Ok(())
    }

    fn label(&mut self, site: &Site<'_>, pairs: &Pairs) -> Checked<()> {
        let scope = &self.state.scope;
        let values = self.pairs(site, pairs, |name| {
            site.expand_name(name, scope, "the name of a LABEL")
        })?;
        self.configured(history::pairs("LABEL", &values, pairs.legacy));
        self.state.image.config.labels.extend(values);
        Ok(())
    }

    fn pairs(
        &self,
        site: &Site<'_>,
        pairs: &Pairs,
        name: impl Fn(&Word) -> Checked<String>,
    ) -> Checked<Vec<(String, String)>> {
        let expand = |pair: &Pair| {
            let value = site.expand(&pair.value, &self.state.scope)?;
            Ok((name(&pair.name)?, value))
        };
        pairs.pairs.iter().map(expand).collect()
    }

    /// As in BuildKit's `dispatchArg`: the command line, else the default, else the global value; so a default hides the automatic
    /// value of `TARGETARCH`. The default is expanded only when it counts, and sees the entries before it.
    fn arg(&mut self, site: &Site<'_>, arg: &Arg) -> Checked<()> {
        let globals = self.context.globals;
        let mut shown = Vec::new();
        for entry in &arg.entries {
            let name =
                site.expand_variable(&entry.name, &self.state.scope, "the name of an ARG")?;
            let value = match (globals.build_arg(&name), &entry.default) {
                (Some(given), _) => Some(given.to_owned()),
                (None, Some(word)) => Some(site.expand(word, &self.state.scope)?),
                (None, None) => globals.get(&name).map(str::to_owned),
            };
            shown.push(history::argument(&name, value.as_deref()));
            if let Some(value) = value {
                self.state.scope.args.set(&name, value);
            }
        }
        self.configured(format!("ARG {}", shown.join(" ")));
        Ok(())
    }

    fn workdir(&mut self, site: &Site<'_>, word: &Word) -> Checked<()> {
        let written = site.expand(word, &self.state.scope)?;
        let directory = path::join(self.state.workdir(), &written);
        self.state.image.config.working_dir.clone_from(&directory);
        let created_by = format!("WORKDIR {directory}");
        if directory == "/" {
            self.configured(created_by);
            return Ok(());
        }
        let user = self.state.image.config.user.clone();
        let step = Step {
            kind: StepKind::Workdir,
            env: Vec::new(),
            user,
            workdir: directory,
        };
        self.step(site, step, created_by);
        Ok(())
    }

    /// Stored verbatim: who a name is can be said only when there are files.
    fn user(&mut self, site: &Site<'_>, word: &Word) -> Checked<()> {
        let user = site.expand(word, &self.state.scope)?;
        self.configured(format!("USER {user}"));
        self.state.image.config.user = user;
        self.state.user_label = Some(site.label());
        Ok(())
    }
}
