//! The names that can be used at the cursor: stages, build arguments, environment variables.
//!
//! Invariant: what stands behind the cursor, or in the instruction that it is in, has no name yet.

use std::collections::BTreeMap;

use crate::ast::{Arg, InstructionKind, Stage};
use crate::lint::AUTOMATIC;
use crate::statement::Keyword;

use super::cursor::{Cursor, Place};

const PLATFORM: &str = "set by the builder";

/// Names, and a few words about each.
#[derive(Debug, Default)]
pub(super) struct Scope {
    /// The stages before this one, in their order.
    pub(super) stages: Vec<(String, String)>,
    /// What `$` can be followed by.
    pub(super) variables: BTreeMap<String, String>,
    /// What ARG can declare to make use of it.
    pub(super) arguments: BTreeMap<String, String>,
}

impl Scope {
    pub(super) fn of(cursor: &Cursor) -> Self {
        let file = &cursor.parsed.file;
        let before = file.stages.iter();
        let begun: Vec<&Stage> = before
            .take_while(|stage| stage.from.span.start() < cursor.instruction)
            .collect();
        let in_from = match &cursor.place {
            Place::FlagValue { keyword, .. } | Place::Word { keyword, .. } => {
                *keyword == Keyword::From
            }
            _ => false,
        };
        let mut scope = Self::default();
        let own = usize::from(!in_from);
        for stage in &begun[..begun.len().saturating_sub(own)] {
            if let Some(name) = &stage.from.name {
                let written = cursor.source.slice(name.span).to_owned();
                scope
                    .stages
                    .push((written, format!("FROM {}", stage.from.image.raw)));
            }
        }
        let global: BTreeMap<String, String> = automatic()
            .chain(file.global_args.iter().flat_map(|arg| declared(&arg.value)))
            .collect();
        match begun.split_last().filter(|_| !in_from) {
            None => scope.variables = global,
            Some((stage, below)) => {
                scope.variables = visible(stage, below, cursor.instruction);
                scope.arguments = global;
            }
        }
        scope
    }
}

fn automatic() -> impl Iterator<Item = (String, String)> {
    AUTOMATIC
        .iter()
        .map(|name| ((*name).to_owned(), PLATFORM.to_owned()))
}

fn declared(arg: &Arg) -> impl Iterator<Item = (String, String)> {
    arg.entries.iter().map(|entry| {
        let name = entry.name.raw.to_string();
        let detail = match &entry.default {
            Some(default) => format!("ARG {name}={}", default.raw),
            None => format!("ARG {name}"),
        };
        (name, detail)
    })
}

/// What a stage and those that it is made from declare before the byte `at`.
fn visible(stage: &Stage, below: &[&Stage], at: usize) -> BTreeMap<String, String> {
    let base = below.iter().rposition(|one| {
        let name = one.from.name.as_ref();
        name.is_some_and(|name| name.value.eq_ignore_ascii_case(&stage.from.image.raw))
    });
    let mut names = match base {
        Some(base) => visible(below[base], &below[..base], at),
        None => BTreeMap::new(),
    };
    for instruction in stage.instructions.iter().filter(|one| one.span.end() < at) {
        match &instruction.kind {
            InstructionKind::Arg(arg) => names.extend(declared(arg)),
            InstructionKind::Env(pairs) => names.extend(pairs.pairs.iter().map(|pair| {
                let name = pair.name.raw.to_string();
                (name.clone(), format!("ENV {name}={}", pair.value.raw))
            })),
            _ => {}
        }
    }
    names
}
