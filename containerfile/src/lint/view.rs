//! A file as a build without arguments would see it: what each stage starts from, and at each instruction the user, the shell, the
//! working directory and the values of its words.
//!
//! Invariant: a value that depends on a base image, on the platform or on a build argument says so; nothing is made up.

mod content;
mod evaluate;
mod values;

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

use crate::ast::{
    Command, Containerfile, Instruction, InstructionKind, Span, Spanned, Stage, Text, Word,
};
use crate::source::Source;

use super::Options;
use super::image::ImageFacts;
use super::image_name::ImageName;
use super::shell::{Held, Program};

pub(super) use content::{Copying, PATH, USUAL, flag_or_keyword};
pub(crate) use values::AUTOMATIC;
pub(super) use values::{Certainty, Value};

/// Files with more instructions are not compared with themselves.
const HUGE: usize = 2000;

/// The file, resolved.
#[derive(Debug)]
pub(super) struct View<'a> {
    pub(super) source: &'a Source,
    pub(super) file: &'a Containerfile,
    pub(super) options: &'a Options,
    pub(super) stages: Vec<StageView<'a>>,
    /// More instructions than anybody writes: what would compare all of them with all others is not asked.
    pub(super) huge: bool,
}

/// One stage.
#[derive(Debug)]
pub(super) struct StageView<'a> {
    pub(super) stage: &'a Stage,
    /// What stands after FROM.
    pub(super) image: Value,
    /// `--platform`.
    pub(super) platform: Option<Value>,
    pub(super) base: Base,
    /// What the first stage below it starts from.
    pub(super) root: Root,
    /// The USER in effect at its end: stage and step.
    pub(super) user: Option<(usize, usize)>,
    /// Its instructions, those that ONBUILD of the stage below adds first.
    pub(super) steps: Vec<Step<'a>>,
}

/// What a stage starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Base {
    /// Nothing.
    Scratch,
    /// An earlier stage.
    Stage(usize),
    /// An image.
    Image,
}

/// Where a chain of stages begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Root {
    /// With nothing.
    Scratch,
    /// With the image of this stage.
    Image(usize),
}

/// An instruction, and what holds where it stands.
#[derive(Debug)]
pub(super) struct Step<'a> {
    pub(super) instruction: &'a Instruction,
    /// The FROM that adds it, for a trigger of the stage below: it is examined where it is written.
    pub(super) fired_by: Option<&'a Span>,
    /// What is in effect where it stands.
    pub(super) at: Rc<Effect<'a>>,
    /// The programs that it runs while it is built.
    programs: Held,
    /// The values of its words that are not themselves, by where they start.
    values: Box<[(Span, Rc<Value>)]>,
}

/// What earlier instructions decide about a later one; steps between two of these share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Effect<'a> {
    /// The USER: stage and step.
    pub(super) user: Option<(usize, usize)>,
    /// The SHELL, where one is set.
    pub(super) shell: Option<&'a [Spanned<Text>]>,
    /// The working directory, where it is known.
    pub(super) workdir: Option<Rc<str>>,
    /// Whether a WORKDIR of the file has been absolute.
    pub(super) workdir_set: bool,
}

impl Step<'_> {
    /// What a word of this instruction is.
    pub(super) fn value(&self, word: &Word) -> Value {
        let place = self
            .values
            .binary_search_by_key(&word.span, |(span, _)| *span);
        place.map_or_else(
            |_| Value::literal(&word.raw),
            |at| Value::clone(&self.values[at].1),
        )
    }

    /// The same, where it is kept.
    fn shared_value(&self, word: &Word) -> Rc<Value> {
        let place = self
            .values
            .binary_search_by_key(&word.span, |(span, _)| *span);
        place.map_or_else(
            |_| Rc::new(Value::literal(&word.raw)),
            |at| self.values[at].1.clone(),
        )
    }

    /// The values that are not what was written, and where the words are.
    pub(super) fn expanded(&self) -> impl Iterator<Item = (Span, &Value)> {
        self.values.iter().map(|(span, value)| (*span, &**value))
    }

    /// The programs that it runs while it is built.
    pub(super) fn programs(&self) -> Cow<'_, [Program]> {
        self.programs.get()
    }

    /// The instruction, or the one behind ONBUILD.
    pub(super) fn inner(&self) -> &InstructionKind {
        match &self.instruction.kind {
            InstructionKind::Onbuild(onbuild) => &onbuild.inner.kind,
            kind => kind,
        }
    }
}

/// A USER, and what it says.
#[derive(Clone, Debug)]
pub(super) struct UserSet<'v> {
    pub(super) word: &'v Word,
    pub(super) value: Value,
}

impl UserSet<'_> {
    /// The sides of the colon.
    pub(super) fn parts(&self) -> (&str, Option<&str>) {
        match self.value.text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (&self.value.text, None),
        }
    }
}

impl<'a> View<'a> {
    /// Resolves a file.
    pub(super) fn of(source: &'a Source, file: &'a Containerfile, options: &'a Options) -> Self {
        let stages = evaluate::stages(source, file, options);
        let steps: usize = stages.iter().map(|stage| stage.steps.len()).sum();
        Self {
            source,
            file,
            options,
            stages,
            huge: steps > HUGE,
        }
    }

    /// The stage that is built when none is named.
    pub(super) fn last(&self) -> Option<&StageView<'a>> {
        self.stages.last()
    }

    /// The number of that stage and of those below it, its own first.
    pub(super) fn shipped(&self) -> Vec<usize> {
        self.stages
            .len()
            .checked_sub(1)
            .map_or_else(Vec::new, |last| self.chain(last))
    }

    /// A stage and those below it.
    pub(super) fn chain(&self, index: usize) -> Vec<usize> {
        let below = |index: &usize| match self.stages[*index].base {
            Base::Stage(below) => Some(below),
            Base::Scratch | Base::Image => None,
        };
        std::iter::successors(Some(index), below).collect()
    }

    /// Instructions where they are written, with their stage's number; triggers once.
    pub(super) fn steps(&self) -> impl Iterator<Item = (usize, &Step<'a>)> {
        let numbered = self.stages.iter().enumerate();
        numbered
            .flat_map(|(index, stage)| stage.steps.iter().map(move |step| (index, step)))
            .filter(|(_, step)| step.fired_by.is_none())
    }

    /// The instructions that end up in the final image, stages below first.
    pub(super) fn shipped_steps(&self) -> impl Iterator<Item = &Step<'a>> {
        let chain = self.shipped();
        chain
            .into_iter()
            .rev()
            .flat_map(|index| self.stages[index].steps.iter())
    }

    /// Every program of a RUN, with the stage and the instruction that run it.
    pub(super) fn programs(&self) -> impl Iterator<Item = (usize, &Step<'a>, Cow<'_, Program>)> {
        self.steps().flat_map(|(index, step)| {
            step.programs
                .each()
                .map(move |program| (index, step, program))
        })
    }

    /// What a USER in effect says.
    pub(super) fn user(&self, at: Option<(usize, usize)>) -> Option<UserSet<'_>> {
        let (stage, step) = at?;
        let step = self.stages.get(stage)?.steps.get(step)?;
        let InstructionKind::User(word) = step.inner() else {
            return None;
        };
        let value = step.value(word);
        Some(UserSet { word, value })
    }

    /// The USER of the final image.
    pub(super) fn final_user(&self) -> Option<UserSet<'_>> {
        self.user(self.last()?.user)
    }

    /// The USER of the final image, where its text is known.
    pub(super) fn known_final_user(&self) -> Option<UserSet<'_>> {
        self.final_user()
            .filter(|user| user.value.known().is_some())
    }

    /// The name of the image that a stage's chain begins with; `None` for scratch and for a name that is not known.
    pub(super) fn root_image(&self, index: usize) -> Option<ImageName<'_>> {
        match self.stages[index].root {
            Root::Image(root) => {
                let image = &self.stages[root].image;
                (image.certainty == Certainty::Known).then(|| ImageName::parse(&image.text))
            }
            Root::Scratch => None,
        }
    }

    /// The images that stages begin with, by their names.
    pub(super) fn base_images(&self) -> impl Iterator<Item = &str> {
        let on_images = self.stages.iter().filter(|stage| stage.base == Base::Image);
        on_images.filter_map(|stage| stage.image.known())
    }

    /// What is known of the image that a stage's chain begins with, if it is at hand.
    pub(super) fn root_facts(&self, index: usize) -> Option<&'a ImageFacts> {
        let Root::Image(root) = self.stages[index].root else {
            return None;
        };
        let name = self.stages[root].image.known()?;
        self.options.images.get(name).map(Arc::as_ref)
    }

    /// The same of the final image.
    pub(super) fn final_facts(&self) -> Option<&'a ImageFacts> {
        self.root_facts(self.stages.len().checked_sub(1)?)
    }

    /// Whether a stage starts with nothing.
    pub(super) fn is_from_scratch(&self, index: usize) -> bool {
        self.stages[index].root == Root::Scratch
    }

    /// The last ENTRYPOINT and the last CMD of the final image, where they are the file's own.
    pub(super) fn entry(&self) -> (Option<&'a Command>, Option<&'a Command>) {
        let (mut entrypoint, mut cmd) = (None, None);
        for index in self.shipped().into_iter().rev() {
            let mut own_cmd = false;
            for step in &self.stages[index].steps {
                match &step.instruction.kind {
                    InstructionKind::Entrypoint(command) => {
                        entrypoint = Some(command);
                        // As in builds: it clears what was meant for another program.
                        cmd = cmd.filter(|_| own_cmd);
                    }
                    InstructionKind::Cmd(command) => (cmd, own_cmd) = (Some(command), true),
                    _ => {}
                }
            }
        }
        (entrypoint, cmd)
    }

    /// The command that the final image surely starts: that of the file, where no ENTRYPOINT of an image stands before it.
    pub(super) fn started(&self) -> Option<&'a Command> {
        let (entrypoint, cmd) = self.entry();
        entrypoint.or(cmd.filter(|_| self.base_configures_nothing()))
    }

    /// Whether the final image begins with nothing or with a distribution's image, which has no ENTRYPOINT, STOPSIGNAL or HEALTHCHECK.
    pub(super) fn base_configures_nothing(&self) -> bool {
        self.stages.len().checked_sub(1).is_some_and(|last| {
            self.is_from_scratch(last)
                || self
                    .root_image(last)
                    .is_some_and(|image| image.is_distribution())
        })
    }

    /// Whether the final image says what to start.
    pub(super) fn starts_something(&self) -> bool {
        let (entrypoint, cmd) = self.entry();
        entrypoint.is_some() || cmd.is_some()
    }

    /// The path of the program that the final image starts, where it is absolute and in exec form.
    pub(super) fn entry_path(&self) -> Option<&'a str> {
        let (entrypoint, cmd) = self.entry();
        match entrypoint.or(cmd)? {
            Command::Exec(words) => words.first().map(|word| word.value.as_str()),
            Command::Shell(_) => None,
        }
        .filter(|path| path.starts_with('/'))
    }
}
