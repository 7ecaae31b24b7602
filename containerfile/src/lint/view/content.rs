//! What may be in the final image, as far as the text says. Invariant: the answer "no" is certain; all doubt is a "may".

use crate::ast::{
    CopySource, Heredoc, InstructionKind, Span, Spanned, Stage, Text, Transfer, Word,
};
use crate::extensions::ExtensionName;
use crate::path;

use super::{Root, Step, View};

/// Directories that images have anyway.
pub(crate) const USUAL: [&str; 18] = [
    "bin", "boot", "dev", "etc", "home", "lib", "lib32", "lib64", "media", "mnt", "opt", "proc",
    "root", "run", "sbin", "srv", "usr", "var",
];

/// A COPY or an ADD.
#[derive(Clone, Debug)]
pub(crate) struct Copying<'s> {
    pub(crate) transfer: &'s Transfer,
    /// `--from`.
    pub(crate) from: Option<&'s Spanned<Text>>,
    pub(crate) is_add: bool,
}

impl Step<'_> {
    /// What it copies, also behind ONBUILD.
    pub(crate) fn copying(&self) -> Option<Copying<'_>> {
        let (transfer, from, is_add) = match self.inner() {
            InstructionKind::Copy(copy) => (&copy.transfer, copy.from.as_deref(), false),
            InstructionKind::Add(add) => (&add.transfer, None, true),
            _ => return None,
        };
        Some(Copying {
            transfer,
            from,
            is_add,
        })
    }

    /// A path as the instruction sees it, absolute and clean, if it is known.
    pub(crate) fn path(&self, word: &Word) -> Option<String> {
        let value = self.value(word);
        let written = value.known()?;
        match &self.at.workdir {
            _ if written.starts_with('/') => Some(path::clean(written)),
            Some(workdir) => Some(path::join(workdir, written)),
            None => None,
        }
    }
}

impl Copying<'_> {
    /// The sources that are paths.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Word> {
        self.transfer
            .sources
            .iter()
            .filter_map(|source| match source {
                CopySource::Path(word) => Some(word),
                CopySource::Heredoc(_) => None,
            })
    }
}

/// Where programs without a directory are looked for, as long as nothing sets PATH.
pub(crate) const PATH: [&str; 6] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];

/// The last instruction that surely makes a file of the final image, alone.
#[derive(Debug)]
pub(crate) struct Made<'v, 'a> {
    pub(crate) step: &'v Step<'a>,
    pub(crate) transfer: &'v Transfer,
    /// What the file holds, where it is written in place.
    pub(crate) content: Option<&'v Heredoc>,
}

impl<'a> View<'a> {
    /// What makes a file of the final image; `None` where a later instruction may have changed it.
    pub(crate) fn made(&self, wanted: &str) -> Option<Made<'_, 'a>> {
        let mut made = None;
        for step in self.shipped_steps() {
            let Some(copying) = step.copying() else {
                if matches!(step.instruction.kind, InstructionKind::Run(_)) {
                    made = None;
                }
                continue;
            };
            let Some(destination) = step.path(&copying.transfer.destination) else {
                made = None;
                continue;
            };
            let into = step
                .value(&copying.transfer.destination)
                .text
                .ends_with('/');
            let [source] = copying.transfer.sources.as_slice() else {
                made = made.filter(|_| path::below(wanted, &destination).is_none());
                continue;
            };
            let content = match source {
                CopySource::Heredoc(heredoc) => Some(&**heredoc),
                CopySource::Path(_) => None,
            };
            let file = match (into, content) {
                (true, Some(heredoc)) => path::join(&destination, &heredoc.name),
                (true, None) => String::new(),
                (false, _) => destination.clone(),
            };
            if file == wanted && !matches!(step.instruction.kind, InstructionKind::Onbuild(_)) {
                let transfer = copying.transfer;
                made = Some(Made {
                    step,
                    transfer,
                    content,
                });
            } else if path::below(wanted, &destination).is_some() {
                made = None;
            }
        }
        made
    }
}

impl View<'_> {
    /// The stage that `--from` names, for an instruction of the stage `before`.
    pub(crate) fn stage_named(&self, name: &str, before: usize) -> Option<usize> {
        let named = |index: &usize| {
            let own = self.stages[*index].stage.from.name.as_ref();
            own.is_some_and(|own| own.value.eq_ignore_ascii_case(name))
        };
        let number = name.parse().ok().filter(|number| *number < before);
        (0..before).rev().find(named).or(number)
    }

    /// Whether the final image may have something at a path, which is absolute and clean.
    pub(crate) fn may_contain(&self, wanted: &str) -> bool {
        let base = match (self.final_facts(), self.last()) {
            (Some(facts), _) => facts.find(wanted).is_some(),
            (None, Some(last)) => matches!(last.root, Root::Image(_)),
            (None, None) => true,
        };
        base || self.may_add(wanted)
    }

    /// Whether the file may put something at a path of the final image, whatever the base has there.
    pub(crate) fn may_add(&self, wanted: &str) -> bool {
        if self.huge {
            return true;
        }
        let makes = |index: usize| {
            let stage = &self.stages[index];
            let mut steps = stage.steps.iter();
            furnished(stage.stage, wanted) || steps.any(|step| self.may_make(index, step, wanted))
        };
        self.shipped().into_iter().any(makes)
    }

    /// Whether one instruction of a stage may put something at a path.
    pub(crate) fn may_make(&self, index: usize, step: &Step<'_>, wanted: &str) -> bool {
        let reaches = |made: &str| made == wanted || path::below(made, wanted).is_some();
        match &step.instruction.kind {
            InstructionKind::Run(_) => true,
            InstructionKind::Workdir(word) => step.path(word).is_none_or(|made| reaches(&made)),
            _ => {
                let Some(copying) = step.copying() else {
                    return false;
                };
                let Some(made) = step.path(&copying.transfer.destination) else {
                    return true;
                };
                // What programs need may be anywhere that a package puts files.
                let completes = !step.instruction.extensions.is_empty();
                reaches(&made)
                    || completes && !matches!(wanted, "/tmp" | "/etc/passwd")
                    || path::below(wanted, &made).is_some_and(|rest| {
                        copying
                            .paths()
                            .any(|source| self.may_hold(index, step, &copying, source, rest))
                    })
            }
        }
    }

    /// Whether a copied source may be, or hold, something called like the end of `rest`.
    fn may_hold(
        &self,
        index: usize,
        step: &Step<'_>,
        copying: &Copying<'_>,
        source: &Word,
        rest: &str,
    ) -> bool {
        let stage = copying
            .from
            .and_then(|from| self.stage_named(&from.value, index));
        let (Some(stage), Some(tree)) = (
            stage,
            step.value(source).known().map(|text| path::join("/", text)),
        ) else {
            return true;
        };
        let first = tree
            .trim_start_matches('/')
            .split('/')
            .next()
            .unwrap_or_default();
        let fresh = match self.root_image(stage) {
            Some(image) => image.is_distribution() && !USUAL.contains(&first),
            None => self.is_from_scratch(stage),
        };
        let last = rest.rsplit('/').next().unwrap_or(rest);
        !fresh
            || first.is_empty()
            || self.stage_mentions(stage, last)
            || self.stage_gets(stage, &tree)
    }

    /// Whether the text of a stage, or of one below it, holds a word.
    fn stage_mentions(&self, index: usize, word: &str) -> bool {
        self.chain(index).into_iter().any(|index| {
            let stage = &self.stages[index];
            let own = self.source.slice(stage.stage.span).contains(word);
            own || stage
                .steps
                .iter()
                .any(|step| step.fired_by.is_some() && step.instruction.text.contains(word))
        })
    }

    /// Whether a stage, or one below it, copies whole trees to a place in or around a directory.
    fn stage_gets(&self, index: usize, tree: &str) -> bool {
        let near = |made: &str| {
            made == tree || path::below(made, tree).is_some() || path::below(tree, made).is_some()
        };
        let mut steps = self
            .chain(index)
            .into_iter()
            .flat_map(|index| &self.stages[index].steps);
        steps.any(|step| {
            let made = step
                .copying()
                .map(|copying| step.path(&copying.transfer.destination));
            made.is_some_and(|made| made.is_none_or(|made| near(&made)))
        })
    }
}

/// Whether a comment in a stage asks rbuild for something at a path.
fn furnished(stage: &Stage, wanted: &str) -> bool {
    let mut names = stage.extensions.iter().map(|asked| asked.name.value);
    names.any(|name| match name {
        ExtensionName::Accounts => {
            matches!(
                wanted,
                "/tmp" | "/etc/passwd" | "/etc/group" | "/etc/nsswitch.conf"
            ) || wanted.starts_with("/home")
        }
        ExtensionName::CaCertificates => wanted.starts_with("/etc/ssl/certs"),
        ExtensionName::Closure => false,
    })
}

/// The place of a flag of an instruction, or of the instruction's keyword.
pub(crate) fn flag_or_keyword(step: &Step<'_>, flag: &str) -> Span {
    let instruction = match &step.instruction.kind {
        InstructionKind::Onbuild(onbuild) => &onbuild.inner,
        _ => step.instruction,
    };
    let flag = instruction
        .flags
        .iter()
        .find(|written| written.name.value == flag);
    flag.map_or(instruction.keyword, |written| written.span)
}
