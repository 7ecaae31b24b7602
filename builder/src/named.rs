//! Named contexts that are no directories yet. The invariant: only what a step names is fetched or read.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::context::{ContextError, ContextFiles, Opened, PackedContext, open, open_remote};
use crate::event::BuildEvent;
use crate::host::Reach;
use crate::planning::Planned;
use crate::provenance::Taken;
use crate::request::NamedContext;

/// Where the files of the named contexts of one build are.
#[derive(Debug, Default)]
pub(crate) struct NamedFiles {
    files: BTreeMap<String, ContextFiles>,
    /// What was made for them goes with them.
    kept: Vec<PackedContext>,
}

impl NamedFiles {
    /// Opens what the steps of the plans name.
    pub(crate) fn open(
        reach: &Reach<'_>,
        contexts: &BTreeMap<String, NamedContext>,
        planned: &Planned,
        events: &(dyn Fn(BuildEvent) + Sync),
    ) -> Result<Self, ContextError> {
        let mut named = Self::default();
        for (name, context) in contexts {
            if let NamedContext::Directory(path) = context {
                let files = ContextFiles::Directory(path.clone());
                named.files.insert(name.clone(), files);
                continue;
            }
            let opened = match context {
                NamedContext::Archive(path) if is_named(planned, name) => open(reach, name, path)?,
                NamedContext::Remote(source) if is_named(planned, name) => {
                    open_remote(reach, source, events)?
                }
                _ => continue,
            };
            let Opened::Files(packed) = opened else {
                return Err(ContextError::NoArchive { name: name.clone() });
            };
            named.files.insert(name.clone(), packed.files());
            named.kept.push(packed);
        }
        Ok(named)
    }

    /// Where what was fetched for them is from.
    pub(crate) fn origins(&self) -> impl Iterator<Item = Taken> {
        let kept = self.kept.iter();
        kept.filter_map(|context| context.origin().cloned())
    }

    /// The files by the names of their contexts.
    pub(crate) fn files(&self) -> &BTreeMap<String, ContextFiles> {
        &self.files
    }
}

/// Whether a step takes files from that context, whatever the kind of the step.
fn is_named(planned: &Planned, name: &str) -> bool {
    let steps = planned
        .targets
        .iter()
        .flat_map(|target| &target.plan.stages)
        .flat_map(|stage| &stage.steps);
    steps
        .into_iter()
        .filter_map(|step| serde_json::to_value(&step.step.kind).ok())
        .any(|kind| names(&kind, name))
}

/// A [`crate::CopyFrom::NamedContext`] somewhere in a serialised step.
fn names(value: &Value, name: &str) -> bool {
    match value {
        Value::Object(fields) => fields
            .iter()
            .any(|(key, value)| (key == "NamedContext" && value == name) || names(value, name)),
        Value::Array(values) => values.iter().any(|value| names(value, name)),
        _ => false,
    }
}
