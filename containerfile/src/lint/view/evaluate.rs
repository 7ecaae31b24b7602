//! From the tree to what each instruction sees. Invariant: each stage is gone through once, after the one that it starts from.

use std::collections::HashMap;
use std::rc::Rc;

use crate::ast::{
    Arg, Containerfile, CopySource, EscapeChar, Instruction, InstructionKind, Pairs, Span, Stage,
    Transfer, Word,
};
use crate::path;
use crate::source::Source;

use super::super::Options;
use super::super::image::ImageFacts;
use super::super::shell::{self, Held};
use super::values::{AUTOMATIC, Certainty, Value, Variables};
use super::{Base, Effect, HUGE, Root, StageView, Step};

/// What holds at the end of a stage, for those that start from it.
#[derive(Clone, Debug)]
struct State<'a> {
    variables: Variables,
    effect: Rc<Effect<'a>>,
    triggers: Vec<&'a Instruction>,
}

/// Resolves all stages; an image whose name a context of the build has is not known.
pub(super) fn stages<'a>(
    source: &'a Source,
    file: &'a Containerfile,
    options: &'a Options,
) -> Vec<StageView<'a>> {
    let globals = globals(file);
    let mut names: HashMap<&str, usize> = HashMap::new();
    let mut ends: HashMap<usize, State<'a>> = HashMap::new();
    let mut views: Vec<StageView<'a>> = Vec::new();
    for (index, stage) in file.stages.iter().enumerate() {
        let mut image = globals.value(&stage.from.image, file.directives.escape);
        if options.contexts.contains(&image.text) {
            image = Value::unknown();
        }
        let platform = stage.from.platform.as_ref();
        let platform = platform.map(|word| globals.value(word, file.directives.escape));
        let base = base(&image, &names);
        let facts = image.known().filter(|_| base == Base::Image);
        let state = match facts.and_then(|name| options.images.get(name)) {
            Some(facts) => on_image(facts),
            None => start(base, &ends),
        };
        let root = match base {
            Base::Scratch => Root::Scratch,
            Base::Stage(below) => views[below].root,
            Base::Image => Root::Image(index),
        };
        let mut evaluation = Evaluation {
            source,
            escape: file.directives.escape,
            globals: &globals,
            index,
            state,
            steps: Vec::with_capacity(stage.instructions.len()),
        };
        evaluation.stage(stage);
        let Evaluation { steps, state, .. } = evaluation;
        views.push(StageView {
            stage,
            image,
            platform,
            base,
            root,
            user: state.effect.user,
            steps,
        });
        // Only by its name can another stage start from it.
        if let Some(name) = &stage.from.name {
            names.insert(&name.value, index);
            ends.insert(index, state);
        }
    }
    views
}

/// The arguments before the first FROM, as FROM sees them.
fn globals(file: &Containerfile) -> Variables {
    let mut globals = Variables::default();
    for name in AUTOMATIC {
        globals.set_arg(name, Rc::new(Value::unknown()));
    }
    for entry in file.global_args.iter().flat_map(|arg| &arg.value.entries) {
        let value = match &entry.default {
            Some(word) => globals.value(word, file.directives.escape),
            None if AUTOMATIC.contains(&entry.name.raw.as_str()) => Value::unknown(),
            None => without_default(&entry.name.raw),
        };
        globals.set_arg(entry.name.raw.clone(), Rc::new(value));
    }
    globals
}

fn without_default(name: &str) -> Value {
    Value {
        certainty: Certainty::Argument,
        unset: [name.to_owned()].into(),
        ..Value::literal("")
    }
}

fn base(image: &Value, names: &HashMap<&str, usize>) -> Base {
    match image.known() {
        Some("scratch") => Base::Scratch,
        Some(name) => match names.get(name.to_lowercase().as_str()) {
            Some(&index) => Base::Stage(index),
            None => Base::Image,
        },
        None => Base::Image,
    }
}

/// What BuildKit sets where there is nothing.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

fn start<'a>(base: Base, ends: &HashMap<usize, State<'a>>) -> State<'a> {
    if let Base::Stage(below) = base
        && let Some(state) = ends.get(&below)
    {
        return state.clone();
    }
    let mut variables = Variables::default();
    variables.open = base == Base::Image;
    if base == Base::Scratch {
        variables.set_env("PATH", Rc::new(Value::literal(DEFAULT_PATH)));
    }
    State {
        variables,
        effect: Rc::new(Effect {
            workdir: (base == Base::Scratch).then(|| "/".into()),
            ..Effect::default()
        }),
        triggers: Vec::new(),
    }
}

/// What an image that is at hand says.
fn on_image<'a>(facts: &ImageFacts) -> State<'a> {
    let mut variables = Variables::default();
    // Its triggers may set more.
    variables.open = facts.has_triggers;
    variables.set_env("PATH", Rc::new(Value::literal(DEFAULT_PATH)));
    for (name, value) in &facts.env {
        variables.set_env(name.as_str(), Rc::new(Value::literal(value)));
    }
    let workdir = path::join("/", &facts.working_dir);
    State {
        variables,
        effect: Rc::new(Effect {
            workdir: (!facts.has_triggers).then(|| workdir.into()),
            ..Effect::default()
        }),
        triggers: Vec::new(),
    }
}

/// One stage on its way.
struct Evaluation<'a, 'g> {
    source: &'a Source,
    escape: EscapeChar,
    globals: &'g Variables,
    index: usize,
    state: State<'a>,
    steps: Vec<Step<'a>>,
}

impl<'a> Evaluation<'a, '_> {
    fn stage(&mut self, stage: &'a Stage) {
        for trigger in std::mem::take(&mut self.state.triggers) {
            self.instruction(trigger, Some(&stage.from.span));
        }
        for instruction in &stage.instructions {
            self.instruction(instruction, None);
        }
    }

    fn instruction(&mut self, instruction: &'a Instruction, fired_by: Option<&'a Span>) {
        let mut step = Step {
            instruction,
            fired_by,
            at: self.state.effect.clone(),
            programs: Held::default(),
            values: self.values(instruction),
        };
        if fired_by.is_none() {
            let programs = shell::programs(self.source, self.escape, instruction, step.at.shell);
            step.programs = Held::new(self.source, programs, self.steps.len() > HUGE);
        }
        match &instruction.kind {
            InstructionKind::User(_) => {
                let here = (self.index, self.steps.len());
                self.effect().user = Some(here);
            }
            InstructionKind::Shell(words) => self.effect().shell = Some(words),
            InstructionKind::Workdir(word) => self.workdir(&step.value(word)),
            InstructionKind::Onbuild(onbuild) => self.state.triggers.push(&onbuild.inner),
            InstructionKind::Arg(arg) => self.arg(arg),
            InstructionKind::Env(pairs) => self.env(pairs, &step),
            _ => {}
        }
        self.steps.push(step);
    }

    /// What is in effect from here on.
    fn effect(&mut self) -> &mut Effect<'a> {
        Rc::make_mut(&mut self.state.effect)
    }

    fn workdir(&mut self, value: &Value) {
        let state = self.effect();
        let absolute = value.text.starts_with('/');
        state.workdir_set |= absolute || value.certainty == Certainty::Unknown;
        state.workdir = match (value.known(), &state.workdir) {
            (Some(written), _) if absolute => Some(path::join("/", written).into()),
            (Some(written), Some(before)) => Some(path::join(before, written).into()),
            _ => None,
        };
    }

    /// As in builds: the default counts, else what stands before the first FROM.
    fn arg(&mut self, arg: &Arg) {
        for entry in &arg.entries {
            let name = &entry.name.raw;
            let value = match &entry.default {
                Some(word) => Rc::new(self.state.variables.value(word, self.escape)),
                None => match self.globals.arg(name) {
                    Some(value) => value.clone(),
                    None if is_proxy(name) => Rc::new(Value::unknown()),
                    None => Rc::new(without_default(name)),
                },
            };
            self.state.variables.set_arg(name.clone(), value);
        }
    }

    /// All values see the environment before the instruction.
    fn env(&mut self, pairs: &Pairs, step: &Step<'_>) {
        for pair in &pairs.pairs {
            let value = step.shared_value(&pair.value);
            self.state.variables.set_env(pair.name.raw.clone(), value);
        }
    }

    /// The values of the words that are not what is written.
    fn values(&self, instruction: &Instruction) -> Box<[(Span, Rc<Value>)]> {
        let special = |word: &&Word| word.raw.contains(['$', '"', '\'', self.escape.as_char()]);
        let words = words(&instruction.kind).into_iter().filter(special);
        let value = |word: &Word| self.state.variables.shared_value(word, self.escape);
        let mut values: Vec<_> = words.map(|word| (word.span, value(word))).collect();
        values.sort_by_key(|(span, _)| *span);
        values.into()
    }
}

fn is_proxy(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    matches!(
        name.as_str(),
        "HTTP_PROXY" | "HTTPS_PROXY" | "FTP_PROXY" | "NO_PROXY" | "ALL_PROXY"
    )
}

/// The words that are expanded.
fn words(kind: &InstructionKind) -> Vec<&Word> {
    match kind {
        InstructionKind::Add(add) => transfer(&add.transfer)
            .chain(add.checksum.as_deref())
            .collect(),
        InstructionKind::Copy(copy) => transfer(&copy.transfer).collect(),
        InstructionKind::Arg(arg) => {
            let entries = arg.entries.iter();
            entries.filter_map(|entry| entry.default.as_ref()).collect()
        }
        InstructionKind::Env(pairs) | InstructionKind::Label(pairs) => {
            let pairs = pairs.pairs.iter();
            pairs.flat_map(|pair| [&pair.name, &pair.value]).collect()
        }
        InstructionKind::Expose(words) | InstructionKind::Volume(words) => words.iter().collect(),
        InstructionKind::Stopsignal(word)
        | InstructionKind::User(word)
        | InstructionKind::Workdir(word) => vec![word],
        InstructionKind::Run(_)
        | InstructionKind::Cmd(_)
        | InstructionKind::Entrypoint(_)
        | InstructionKind::Healthcheck(_)
        | InstructionKind::Maintainer(_)
        | InstructionKind::Onbuild(_)
        | InstructionKind::Shell(_) => Vec::new(),
    }
}

fn transfer(transfer: &Transfer) -> impl Iterator<Item = &Word> {
    let sources = transfer.sources.iter().filter_map(|source| match source {
        CopySource::Path(word) => Some(word),
        CopySource::Heredoc(_) => None,
    });
    sources
        .chain([&transfer.destination])
        .chain(transfer.chown.as_deref())
        .chain(transfer.chmod.as_deref())
}
