//! Which stages there are and what their names mean. Invariant: a stage refers only to earlier ones, so the order of the file is
//! an order in which they can be built, and there is no cycle.

use std::collections::HashMap;

use containerfile::{
    Containerfile, Diagnostic, Extension, From, Instruction, InstructionKind, Span, Spanned,
};
use image::{Platform, Reference};

use super::findings::{Checked, Findings, unset_help};
use super::images::{ImageKey, ImageSource, WantedImage};
use super::scope::Globals;
use super::{PlanError, PlanOptions};
use crate::request::NamedContext;
use crate::step::Label;
use containerfile::suggest::suggestion;

/// What a name in `FROM` or `--from` means.
#[derive(Clone, Debug)]
pub(super) enum Meaning {
    /// Nothing to start from, and for which machine.
    Scratch(Platform),
    /// An earlier stage.
    Stage(usize),
    /// An image.
    Image(Box<WantedImage>),
    /// A named context that is a directory, by its name on the command line.
    Directory(String),
}

/// A stage, its names looked up.
#[derive(Clone, Debug)]
struct Resolved<'a> {
    from: &'a From,
    /// Empty for a stage that a named context replaces.
    instructions: &'a [Instruction],
    /// Likewise.
    extensions: &'a [Extension],
    /// What it starts from; `None` when that could not be understood.
    base: Option<Meaning>,
    replaced: bool,
}

/// The stages of a file.
#[derive(Clone, Debug)]
pub(super) struct Stages<'a> {
    all: Vec<Resolved<'a>>,
    /// The numbers of the stages of each name in small letters, in order.
    named: HashMap<String, Vec<usize>>,
    options: &'a PlanOptions<'a>,
}

impl<'a> Stages<'a> {
    /// Looks up what every stage starts from.
    pub(super) fn of(
        file: &'a Containerfile,
        options: &'a PlanOptions<'a>,
        globals: &Globals,
        findings: &mut Findings,
    ) -> Self {
        let mut stages = Self {
            all: Vec::with_capacity(file.stages.len()),
            named: HashMap::new(),
            options,
        };
        for stage in &file.stages {
            let name = stage.from.name.as_ref().map(|name| name.value.as_str());
            let context = name.and_then(|name| stages.context(name));
            let platform = findings.keep(stages.platform(&stage.from, globals));
            let base = platform.and_then(|platform| match context {
                Some((key, context)) => Some(stages.named(key, context, platform, stage.from.span)),
                None => findings.keep(stages.base_of(&stage.from, platform, globals)),
            });
            let replaced = context.is_some();
            let (instructions, extensions) = match replaced {
                true => (&[][..], &[][..]),
                false => (&stage.instructions[..], &stage.extensions[..]),
            };
            if let Some(name) = name {
                let same = stages.named.entry(name.to_ascii_lowercase()).or_default();
                same.push(stages.all.len());
            }
            stages.all.push(Resolved {
                from: &stage.from,
                instructions,
                extensions,
                base,
                replaced,
            });
        }
        stages
    }

    /// The stage that the build is for.
    pub(super) fn target(&self) -> Result<usize, PlanError> {
        let last = self.all.len().saturating_sub(1);
        self.options
            .target
            .map_or(Ok(last), |wanted| self.called(wanted))
    }

    /// The stage of a name, in any case, or of a number.
    pub(super) fn called(&self, wanted: &str) -> Result<usize, PlanError> {
        let number = || {
            wanted
                .parse()
                .ok()
                .filter(|&number: &usize| number < self.all.len())
        };
        self.position(wanted, self.all.len())
            .or_else(number)
            .ok_or_else(|| PlanError::UnknownTarget {
                name: wanted.to_owned(),
                nearest: suggestion(&wanted.to_ascii_lowercase(), self.names()).map(str::to_owned),
                stages: self.names().map(str::to_owned).collect(),
            })
    }

    pub(super) fn opening(&self, index: usize) -> &'a From {
        self.all[index].from
    }

    pub(super) fn instructions(&self, index: usize) -> &'a [Instruction] {
        self.all[index].instructions
    }

    /// What comments ask for the whole stage.
    pub(super) fn extensions(&self, index: usize) -> &'a [Extension] {
        self.all[index].extensions
    }

    pub(super) fn base(&self, index: usize) -> Option<&Meaning> {
        self.all[index].base.as_ref()
    }

    /// Whether a named context stands in for the stage; its image is then taken as it is, without firing triggers.
    pub(super) fn is_replaced(&self, index: usize) -> bool {
        self.all[index].replaced
    }

    /// The `AS` name, or the number.
    pub(super) fn name(&self, index: usize) -> String {
        let name = self.all[index].from.name.as_ref();
        name.map_or_else(|| index.to_string(), |name| name.value.clone())
    }

    pub(super) fn opening_label(&self, index: usize) -> Label {
        let from = self.all[index].from;
        Label {
            text: from.text.to_string(),
            span: Some((from.span.start(), from.span.end())),
        }
    }

    /// The instructions that a stage leaves to those that start from it.
    pub(super) fn triggers(&self, index: usize) -> impl Iterator<Item = &'a Instruction> {
        self.instructions(index)
            .iter()
            .filter_map(|instruction| match &instruction.kind {
                InstructionKind::Onbuild(onbuild) => Some(&*onbuild.inner),
                _ => None,
            })
    }

    /// Whether stages are built that the target does not need.
    pub(super) fn wants_unused(&self) -> bool {
        self.options.unused_stages
    }

    /// The stages that `FROM --after` names; what a named context replaces is there already.
    pub(super) fn after(&self, index: usize) -> Vec<usize> {
        let after = self.opening(index).after.iter();
        after
            .filter_map(|name| self.awaited(index, name).ok())
            .filter(|&wanted| !self.is_replaced(wanted))
            .collect()
    }

    /// Reports a `FROM --after` that names no stage above.
    pub(super) fn report_after(&self, index: usize, findings: &mut Findings) {
        for name in &self.opening(index).after {
            findings.keep(self.awaited(index, name));
        }
    }

    fn awaited(&self, index: usize, name: &Spanned<String>) -> Checked<usize> {
        let (text, span) = (name.value.as_str(), name.span);
        let number = text.parse().ok().filter(|&number: &usize| number < index);
        if let Some(found) = self.position(text, index).or(number) {
            return Ok(found);
        }
        let later = self.called(text).is_ok();
        let message = match later {
            true => format!("--after={text}: only stages above this one can be waited for"),
            false => format!("--after={text}: there is no such stage"),
        };
        let mut error = Diagnostic::error(span, message);
        error.help = suggestion(&text.to_ascii_lowercase(), self.names())
            .filter(|_| !later)
            .map(|near| format!("did you mean {near:?}?"));
        Err(Box::new(error))
    }

    /// What `COPY --from` of a stage means: a number, a stage, a named context, or else an image.
    pub(super) fn copied(
        &self,
        current: usize,
        from: &Spanned<impl AsRef<str>>,
    ) -> Checked<Meaning> {
        let (text, span) = (from.value.as_ref(), from.span);
        let error = |message: String| Box::new(Diagnostic::error(span, message));
        if text.contains('$') {
            let help = "give the image a stage of its own: FROM $IMAGE AS name, then --from=name";
            return Err(Box::new(
                error("--from does not expand variables".to_owned()).with_help(help),
            ));
        }
        if let Ok(number) = text.parse::<usize>() {
            if number >= self.all.len() {
                let count = self.all.len();
                return Err(error(format!(
                    "there is no stage {number}: the file has {count}, counted from 0"
                )));
            }
            return self.earlier(current, number, span);
        }
        if let Some(index) = self
            .position(text, current)
            .or_else(|| self.position(text, self.all.len()))
        {
            return self.earlier(current, index, span);
        }
        if text.eq_ignore_ascii_case("scratch") {
            return Err(error(
                "scratch is empty, so there is nothing to copy from it".to_owned(),
            ));
        }
        self.image(text, self.options.platform.clone(), span)
    }

    /// A stage as the source of a copy: it has to come before the one that copies.
    fn earlier(&self, current: usize, wanted: usize, span: Span) -> Checked<Meaning> {
        let name = self.name(wanted);
        if wanted == current {
            let error = Diagnostic::error(span, format!("stage {name:?} cannot copy from itself"));
            return Err(Box::new(error.with_help(
                "what the stage holds already is there without --from; use RUN cp",
            )));
        }
        if wanted > current {
            let this = self.name(current);
            let message = if self.leads_to(wanted, current) {
                format!("stages {this:?} and {name:?} need each other: a cycle")
            } else {
                format!("cannot copy from stage {name:?}: it comes after stage {this:?}")
            };
            let error = Diagnostic::error(span, message);
            return Err(Box::new(
                error.with_help("a stage can use only those above it; move it up"),
            ));
        }
        Ok(self.alias(wanted))
    }

    /// Whether `from` needs `to`, by FROM and COPY, directly or not.
    fn leads_to(&self, from: usize, to: usize) -> bool {
        let mut seen = vec![false; self.all.len()];
        let mut open = vec![from];
        while let Some(index) = open.pop() {
            if std::mem::replace(&mut seen[index], true) {
                continue;
            }
            let base = match self.base(index) {
                Some(Meaning::Stage(base)) => Some(*base),
                _ => None,
            };
            let copies =
                self.instructions(index)
                    .iter()
                    .filter_map(|instruction| match &instruction.kind {
                        InstructionKind::Copy(copy) => copy.from.as_ref(),
                        _ => None,
                    });
            let copied = copies.filter_map(|from| {
                from.value
                    .parse()
                    .ok()
                    .filter(|&number: &usize| number < self.all.len())
                    .or_else(|| {
                        self.position(&from.value, index)
                            .or_else(|| self.position(&from.value, self.all.len()))
                    })
            });
            open.extend(base.into_iter().chain(copied));
        }
        seen[to]
    }

    /// A stage by number: itself, or the named context that replaces it.
    fn alias(&self, index: usize) -> Meaning {
        let stage = &self.all[index];
        match &stage.base {
            Some(base) if stage.replaced => base.clone(),
            _ => Meaning::Stage(index),
        }
    }

    /// The last stage of that name among the first `before`.
    fn position(&self, name: &str, before: usize) -> Option<usize> {
        let same = self.named.get(&name.to_ascii_lowercase())?;
        let above = same.partition_point(|index| *index < before);
        above.checked_sub(1).map(|last| same[last])
    }

    fn names(&self) -> impl Iterator<Item = &'a str> {
        self.all
            .iter()
            .filter_map(|stage| stage.from.name.as_ref())
            .map(|name| name.value.as_str())
    }

    /// Called while the stage itself is not in the list yet.
    fn base_name(&self, from: &From, globals: &Globals) -> Checked<String> {
        if let (Some(name), true) = (self.options.first_base, self.all.is_empty()) {
            return Ok(name.to_owned());
        }
        let expansion = globals.expand(&from.image)?;
        if expansion.text.is_empty() {
            let mut error = Diagnostic::error(
                from.image.span,
                "the base image's name is blank after expansion",
            );
            error.help = unset_help(&expansion)
                .map(|unset| format!("{unset}; FROM sees only an ARG before the first FROM"));
            return Err(Box::new(error));
        }
        Ok(expansion.text)
    }

    /// What `FROM` names. Called while the stage itself is not in the list yet, so that only earlier ones are found.
    fn base_of(&self, from: &From, platform: Platform, globals: &Globals) -> Checked<Meaning> {
        let name = self.base_name(from, globals)?;
        if name == "scratch" {
            return Ok(Meaning::Scratch(platform));
        }
        if let Some(index) = self.position(&name, self.all.len()) {
            return Ok(self.alias(index));
        }
        self.image(&name, platform, from.image.span)
    }

    /// What the name of an image that is not to be had may have meant.
    pub(super) fn meant(&self, name: &str) -> Option<String> {
        if self.position(name, self.all.len()).is_some() {
            // An earlier one would have been found.
            return Some(format!(
                "a stage {name:?} comes later; FROM can use only stages above it"
            ));
        }
        suggestion(&name.to_ascii_lowercase(), self.names())
            .map(|near| format!("did you mean the stage {near:?}?"))
    }

    fn platform(&self, from: &From, globals: &Globals) -> Checked<Platform> {
        let Some(word) = &from.platform else {
            return Ok(self.options.platform.clone());
        };
        let expansion = globals.expand(word)?;
        let error = |message: String| {
            let mut error = Diagnostic::error(word.span, message);
            error.help = unset_help(&expansion);
            Box::new(error)
        };
        if expansion.text.is_empty() {
            return Err(error("--platform is blank after expansion".to_owned()));
        }
        if expansion.text.contains(',') {
            return Err(error(format!(
                "--platform names several platforms, {}: a stage has one",
                expansion.text
            )));
        }
        expansion
            .text
            .parse()
            .map_err(|cause| error(format!("cannot {cause}")))
    }

    /// An image, or the named context that replaces it.
    fn image(&self, name: &str, platform: Platform, span: Span) -> Checked<Meaning> {
        if let Some((key, context)) = self.context(name) {
            return Ok(self.named(key, context, platform, span));
        }
        let reference: Reference = name.parse().map_err(|cause: image::ParseReferenceError| {
            let mut error = Diagnostic::error(span, format!("cannot {cause}"));
            error.help = self.meant(name);
            Box::new(error)
        })?;
        let wanted = WantedImage {
            name: reference.familiar(),
            key: ImageKey {
                source: ImageSource::Name(reference),
                platform,
            },
            span,
            written: Some(name.to_owned()),
        };
        Ok(Meaning::Image(Box::new(wanted)))
    }

    /// The `--build-context` that shadows a stage or an image of that name. `scratch` and `context` cannot be shadowed.
    fn context(&self, name: &str) -> Option<(&'a str, &'a NamedContext)> {
        if self.options.named_contexts.is_empty() || matches!(name, "scratch" | "context") {
            return None;
        }
        let reference = name.parse::<Reference>().ok();
        let same = |key: &str| {
            key.eq_ignore_ascii_case(name)
                || (reference.is_some() && key.parse::<Reference>().ok() == reference)
        };
        let contexts = self.options.named_contexts;
        contexts
            .iter()
            .find(|(key, _)| same(key))
            .map(|(key, context)| (key.as_str(), context))
    }

    fn named(&self, key: &str, context: &NamedContext, platform: Platform, span: Span) -> Meaning {
        let source = match context {
            NamedContext::Directory(_) | NamedContext::Archive(_) | NamedContext::Remote(_) => {
                return Meaning::Directory(key.to_owned());
            }
            NamedContext::OciLayout { directory, version } => ImageSource::OciLayout {
                directory: directory.clone(),
                version: version.clone(),
            },
            NamedContext::Image(reference) => ImageSource::Name(reference.clone()),
        };
        Meaning::Image(Box::new(WantedImage {
            key: ImageKey { source, platform },
            name: key.to_owned(),
            span,
            written: None,
        }))
    }
}
