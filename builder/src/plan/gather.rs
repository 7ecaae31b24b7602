//! What a build needs: stages, images and fired triggers. Invariant: closed, every stage and image that a gathered stage refers
//! to is gathered too, as far as the triggers of its base image are known.

use std::collections::{BTreeMap, HashMap};

use containerfile::{EscapeChar, Instruction, InstructionKind, Mount, MountKey, Spanned};

use super::Pins;
use super::findings::{Checked, Findings, Site};
use super::images::{ImageKey, WantedImage};
use super::stages::{Meaning, Stages};

/// The needed stages.
pub(super) struct Gathered {
    /// Each with the triggers that its base image fires.
    stages: BTreeMap<usize, Vec<Instruction>>,
    /// Their images, in the order of the file, each once.
    pub(super) wanted: Vec<WantedImage>,
    /// Where each of these is.
    numbers: HashMap<ImageKey, usize>,
}

impl Gathered {
    /// Gathers what the target needs, or all stages up to it.
    pub(super) fn of(
        stages: &Stages<'_>,
        target: usize,
        pins: &Pins,
        findings: &mut Findings,
    ) -> Self {
        let mut gathered = Self {
            stages: BTreeMap::new(),
            wanted: Vec::new(),
            numbers: HashMap::new(),
        };
        let mut open = match stages.wants_unused() {
            true => (0..=target).collect(),
            false => vec![target],
        };
        while let Some(index) = open.pop() {
            if gathered.stages.contains_key(&index) {
                continue;
            }
            let fired = fired(stages, index, pins, findings);
            gathered.stages.insert(index, fired);
            if let Some(Meaning::Stage(base)) = stages.base(index) {
                open.push(*base);
            }
            open.extend(stages.after(index));
            let sites = gathered.sites_of(stages, index, EscapeChar::default());
            let used = sites.iter().flat_map(|site| used(stages, index, site));
            let furnished = furnished(stages, index);
            open.extend(used.chain(furnished).filter_map(|meaning| match meaning {
                Ok(Meaning::Stage(source)) => Some(source),
                _ => None,
            }));
        }
        gathered.find_images(stages);
        gathered
    }

    /// The numbers of the stages, in the order of the file.
    pub(super) fn indices(&self) -> impl Iterator<Item = usize> {
        self.stages.keys().copied()
    }

    /// Where an image will stand in the plan.
    pub(super) fn image_index(&self, key: &ImageKey) -> Option<usize> {
        self.numbers.get(key).copied()
    }

    /// All instructions that take effect in a stage: first the triggers that it fires.
    pub(super) fn sites_of<'s>(
        &'s self,
        stages: &Stages<'s>,
        index: usize,
        escape: EscapeChar,
    ) -> Vec<Site<'s>> {
        let from = stages.opening(index).span;
        let of_image = self
            .stages
            .get(&index)
            .into_iter()
            .flatten()
            .map(|trigger| Site::fired(trigger, from));
        let of_stage = match stages.base(index) {
            Some(Meaning::Stage(base)) => Some(stages.triggers(*base)),
            _ => None,
        };
        let own = of_stage
            .into_iter()
            .flatten()
            .chain(stages.instructions(index));
        of_image
            .chain(own.map(|instruction| Site::in_file(instruction, escape)))
            .collect()
    }

    /// All instructions of all stages.
    pub(super) fn sites<'s>(
        &'s self,
        stages: &Stages<'s>,
        escape: EscapeChar,
    ) -> Vec<(usize, Site<'s>)> {
        let of = |index| {
            self.sites_of(stages, index, escape)
                .into_iter()
                .map(move |site| (index, site))
        };
        self.indices().flat_map(of).collect()
    }

    /// Reports a `--from` or `from=` that means nothing.
    pub(super) fn report_source(
        &self,
        stages: &Stages<'_>,
        index: usize,
        site: &Site<'_>,
        findings: &mut Findings,
    ) {
        for error in used(stages, index, site)
            .into_iter()
            .filter_map(Result::err)
        {
            findings.push(*error);
        }
    }

    /// The names that fired triggers declare as arguments.
    pub(super) fn declared_by_triggers(&self) -> Vec<String> {
        let args = self
            .stages
            .values()
            .flatten()
            .filter_map(|trigger| match &trigger.kind {
                InstructionKind::Arg(arg) => Some(&arg.entries),
                _ => None,
            });
        args.flatten()
            .map(|entry| entry.name.raw.to_string())
            .collect()
    }

    fn find_images(&mut self, stages: &Stages<'_>) {
        for index in self.indices().collect::<Vec<_>>() {
            let sites = self.sites_of(stages, index, EscapeChar::default());
            let used = sites
                .iter()
                .flat_map(|site| used(stages, index, site))
                .chain(furnished(stages, index))
                .filter_map(Result::ok);
            let images: Vec<WantedImage> = stages
                .base(index)
                .cloned()
                .into_iter()
                .chain(used)
                .filter_map(|meaning| match meaning {
                    Meaning::Image(image) => Some(*image),
                    _ => None,
                })
                .collect();
            for image in images {
                if !self.numbers.contains_key(&image.key) {
                    self.numbers.insert(image.key.clone(), self.wanted.len());
                    self.wanted.push(image);
                }
            }
        }
    }
}

/// Everything beside the context that an instruction takes files from.
fn used(stages: &Stages<'_>, index: usize, site: &Site<'_>) -> Vec<Checked<Meaning>> {
    match &site.instruction.kind {
        InstructionKind::Run(run) => run
            .mounts
            .iter()
            .filter_map(|mount| mounted(stages, index, site, mount))
            .collect(),
        _ => copied(stages, index, site).into_iter().collect(),
    }
}

/// What comments about the whole stage take files from.
fn furnished(stages: &Stages<'_>, index: usize) -> impl Iterator<Item = Checked<Meaning>> {
    let extensions = stages.extensions(index).iter();
    let from = extensions.filter_map(|extension| extension.value("from"));
    from.map(move |from| stages.copied(index, from))
}

/// What a mount is mounted from; `None` where it does not say. Its value holds no variable.
pub(super) fn mounted(
    stages: &Stages<'_>,
    index: usize,
    site: &Site<'_>,
    mount: &Mount,
) -> Option<Checked<Meaning>> {
    let from = mount
        .option(MountKey::From)
        .filter(|from| !from.raw.is_empty())?;
    let from = Spanned::new(from.raw.clone(), site.place(from.span));
    let meaning = stages.copied(index, &from);
    Some(meaning.map_err(|error| Box::new(site.placed(*error))))
}

/// What a copying instruction copies from; `None` for the context and for all other instructions.
pub(super) fn copied(
    stages: &Stages<'_>,
    index: usize,
    site: &Site<'_>,
) -> Option<Checked<Meaning>> {
    let InstructionKind::Copy(copy) = &site.instruction.kind else {
        return None;
    };
    let from = copy.from.as_ref()?;
    let from = Spanned::new(from.value.clone(), site.place(from.span));
    let meaning = stages.copied(index, &from);
    Some(meaning.map_err(|error| Box::new(site.placed(*error))))
}

/// The triggers of a stage's base image, parsed.
fn fired(
    stages: &Stages<'_>,
    index: usize,
    pins: &Pins,
    findings: &mut Findings,
) -> Vec<Instruction> {
    let Some(Meaning::Image(wanted)) = stages.base(index).filter(|_| !stages.is_replaced(index))
    else {
        return Vec::new();
    };
    let Some(image) = pins.get(&wanted.key) else {
        return Vec::new();
    };
    let span = stages.opening(index).span;
    let mut triggers = Vec::new();
    for text in &image.config().config.on_build {
        match containerfile::parse_onbuild_trigger(text) {
            Ok(trigger) => triggers.push(trigger),
            Err(found) => {
                for mut diagnostic in found {
                    diagnostic.span = span;
                    diagnostic.message = format!(
                        "{} (in the base image's trigger: ONBUILD {text})",
                        diagnostic.message
                    );
                    diagnostic.fix = None;
                    findings.push(diagnostic);
                }
            }
        }
    }
    triggers
}
