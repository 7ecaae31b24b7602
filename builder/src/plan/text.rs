//! A plan as text: what `--dry-run` prints and tests compare. Invariant: equal plans give equal texts, and everything that decides
//! what is done is shown.

use std::fmt::{self, Display, Formatter};

use crate::furnish::{AccountsStep, Furnish, Roots};
use crate::graph::{Base, BuildPlan, PlannedStage};
use crate::mounts::{RunMount, RunMountSource};
use crate::step::{CopyFrom, CopyStep, Fetched, RunNetwork, RunStep, Step, StepKind};

impl Display for BuildPlan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (index, pinned) in self.images.iter().enumerate() {
            writeln!(
                f,
                "image {index}: {} {}",
                pinned.name,
                pinned.image.digest()
            )?;
        }
        for stage in &self.stages {
            let target = if stage.id == self.target {
                ", the target"
            } else {
                ""
            };
            writeln!(
                f,
                "stage {} {}: {}{target}",
                stage.id.0,
                stage.name,
                Start(&stage.base)
            )?;
            self::stage(f, stage)?;
        }
        Ok(())
    }
}

fn stage(f: &mut Formatter<'_>, stage: &PlannedStage) -> fmt::Result {
    for (index, planned) in stage.steps.iter().enumerate() {
        write!(f, "  step {index}: ")?;
        step(f, &planned.step)?;
    }
    let config = &stage.config.config;
    let optional = |words: &Option<Vec<String>>| words.as_ref().map(|words| format!("{words:?}"));
    let names = |names: &image::Names| names.keys().cloned().collect::<Vec<_>>().join(" ");
    let labels = config
        .labels
        .iter()
        .map(|(name, value)| format!("{name}={value:?}"))
        .collect::<Vec<_>>();
    let health = config
        .healthcheck
        .as_ref()
        .map(|check| format!("{:?}", check.test));
    let fields = [
        ("platform", stage.config.platform().to_string()),
        ("env", format!("{:?}", config.env)),
        ("workdir", config.working_dir.clone()),
        ("user", config.user.clone()),
        (
            "entrypoint",
            optional(&config.entrypoint).unwrap_or_default(),
        ),
        ("cmd", optional(&config.cmd).unwrap_or_default()),
        (
            "shell",
            if config.shell.is_empty() {
                String::new()
            } else {
                format!("{:?}", config.shell)
            },
        ),
        ("ports", names(&config.exposed_ports)),
        ("volumes", names(&config.volumes)),
        ("labels", labels.join(" ")),
        (
            "stop signal",
            config.stop_signal.clone().unwrap_or_default(),
        ),
        ("health", health.unwrap_or_default()),
        (
            "onbuild",
            if config.on_build.is_empty() {
                String::new()
            } else {
                format!("{:?}", config.on_build)
            },
        ),
        ("author", stage.config.author.clone().unwrap_or_default()),
    ];
    fields
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .try_for_each(|(name, value)| writeln!(f, "  {name}: {value}"))
}

fn step(f: &mut Formatter<'_>, step: &Step) -> fmt::Result {
    match &step.kind {
        StepKind::Workdir => {
            let owner = if step.user.is_empty() {
                "root"
            } else {
                &step.user
            };
            writeln!(f, "make directory {} for {owner}", step.workdir)
        }
        StepKind::Copy(copy) => self::copy(f, copy, &step.workdir),
        StepKind::Run(run) => self::run(f, run, step),
        StepKind::Furnish(furnish) => self::furnish(f, furnish),
    }
}

fn run(f: &mut Formatter<'_>, run: &RunStep, step: &Step) -> fmt::Result {
    match &run.script {
        Some(script) => writeln!(f, "run the script {script:?}")?,
        None => writeln!(f, "run {:?}", run.argv)?,
    }
    let owner = if step.user.is_empty() {
        "root"
    } else {
        &step.user
    };
    let network = match run.network {
        RunNetwork::Default => "",
        RunNetwork::None => ", without network",
        RunNetwork::Host => ", on the host's network",
    };
    writeln!(f, "    as {owner} in {}{network}", step.workdir)?;
    let pairs = |pairs: &[(String, String)]| {
        pairs
            .iter()
            .map(|(name, value)| format!("{name}={value:?}"))
            .collect::<Vec<_>>()
            .join(" ")
    };
    writeln!(f, "    env {}", pairs(&step.env))?;
    if !run.args.is_empty() {
        writeln!(f, "    args {}", pairs(&run.args))?;
    }
    run.mounts
        .iter()
        .try_for_each(|mount| self::mount(f, mount))?;
    run.secret_env
        .iter()
        .try_for_each(|secret| writeln!(f, "    secret {} as ${}", secret.id, secret.name))
}

fn mount(f: &mut Formatter<'_>, mount: &RunMount) -> fmt::Result {
    let what = match &mount.source {
        RunMountSource::Bind {
            from,
            source,
            writable,
        } => {
            let writable = if *writable { ", writable" } else { "" };
            format!("{source:?} from {}{writable}", origin(from))
        }
        RunMountSource::Cache(cache) => format!("the cache {:?}", cache.id),
        RunMountSource::Tmpfs { .. } => "memory".to_owned(),
        RunMountSource::Secret { id, .. } => format!("the secret {id:?}"),
        RunMountSource::Ssh { id, .. } => format!("the agent {id:?}"),
    };
    writeln!(f, "    mount {what} at {}", mount.target)
}

fn origin(from: &CopyFrom) -> String {
    match from {
        CopyFrom::Context => "the context".to_owned(),
        CopyFrom::NamedContext(name) => format!("context {name}"),
        CopyFrom::Stage(id) => format!("stage {}", id.0),
        CopyFrom::Image(index) => format!("image {index}"),
    }
}

fn furnish(f: &mut Formatter<'_>, furnish: &Furnish) -> fmt::Result {
    match furnish {
        Furnish::Certificates(step) => {
            let from = match &step.roots {
                Roots::Own { .. } => "what is there, or Mozilla's list".to_owned(),
                Roots::Of(from) => origin(from),
                Roots::Given(_) => "--ca".to_owned(),
            };
            let needed = if step.if_needed { ", if needed" } else { "" };
            writeln!(f, "CA bundle from {from} and {:?}{needed}", step.extra)
        }
        Furnish::Accounts(AccountsStep { uid, gid, name }) => {
            writeln!(f, "accounts for {name}, {uid}:{gid}")
        }
        Furnish::Records(step) => {
            let from: Vec<String> = step.sources.iter().map(origin).collect();
            writeln!(f, "package records from {}", from.join(", "))
        }
    }
}

fn copy(f: &mut Formatter<'_>, copy: &CopyStep, workdir: &str) -> fmt::Result {
    let from = origin(&copy.from);
    let inside = if copy.destination.starts_with('/') {
        String::new()
    } else {
        format!(" in {workdir}")
    };
    writeln!(
        f,
        "copy {:?} from {from} to {:?}{inside}",
        copy.sources, copy.destination
    )?;
    for Fetched { pinned, unpack } in &copy.fetched {
        let unpacked = if *unpack { ", unpacked" } else { "" };
        writeln!(f, "    fetched {pinned}{unpacked}")?;
    }
    for (name, content) in &copy.inline {
        writeln!(f, "    file {name:?} with {content:?}")?;
    }
    let values = [("chown", &copy.chown), ("chmod", &copy.chmod)];
    for (name, value) in values
        .iter()
        .filter_map(|(name, value)| value.as_ref().map(|value| (name, value)))
    {
        writeln!(f, "    {name} {value}")?;
    }
    if !copy.excludes.is_empty() {
        writeln!(f, "    without {:?}", copy.excludes)?;
    }
    let switches = [
        ("parents", copy.parents),
        ("link", copy.link),
        ("unpack", copy.unpack),
    ];
    switches
        .iter()
        .filter(|(_, set)| *set)
        .try_for_each(|(name, _)| writeln!(f, "    {name}"))
}

/// What a stage starts from.
struct Start<'a>(&'a Base);

impl Display for Start<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Base::Scratch => write!(f, "from scratch"),
            Base::Image(index) => write!(f, "from image {index}"),
            Base::Stage(id) => write!(f, "from stage {}", id.0),
        }
    }
}
