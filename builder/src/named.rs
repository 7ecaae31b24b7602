//! Named contexts that are no directories yet. The invariant: only what a step names is fetched or unpacked.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::context::{ContextError, Opened, PrivateContext, open, open_remote};
use crate::event::BuildEvent;
use crate::host::Reach;
use crate::planning::Planned;
use crate::request::NamedContext;

/// Where the files of the named contexts of one build are.
#[derive(Debug, Default)]
pub(crate) struct NamedDirectories {
    directories: BTreeMap<String, PathBuf>,
    /// Their files go with them.
    kept: Vec<PrivateContext>,
}

impl NamedDirectories {
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
                named.directories.insert(name.clone(), path.clone());
                continue;
            }
            let opened = match context {
                NamedContext::Archive(path) if is_named(planned, name) => {
                    archive(reach, name, path)?
                }
                NamedContext::Remote(source) if is_named(planned, name) => {
                    open_remote(reach, source, events)?
                }
                _ => continue,
            };
            let Opened::Files(private) = opened else {
                return Err(ContextError::NoArchive { name: name.clone() });
            };
            named
                .directories
                .insert(name.clone(), private.path().to_owned());
            named.kept.push(private);
        }
        Ok(named)
    }

    /// The directories by the names of their contexts.
    pub(crate) fn directories(&self) -> &BTreeMap<String, PathBuf> {
        &self.directories
    }
}

fn archive(reach: &Reach<'_>, name: &str, path: &Path) -> Result<Opened, ContextError> {
    let file = File::open(path).map_err(|source| ContextError::Read {
        name: name.to_owned(),
        source,
    })?;
    open(reach, name, file)
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
