//! Whether two builds of one request made the same, and what differs first. The invariant: steps are compared in the order of
//! the plan, where every stage comes after those that it needs, so the first difference is a cause and not a consequence.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

use image::{DiffId, Store};
use rootfs::layer::{Record, RecordsByPath};
use rootfs::trees::{TreesError, open_index};
use rootfs::{Kind, ScratchError};

use crate::build::Built;
use crate::cache::StepLayer;
use crate::graph::BuildPlan;
use crate::job::Executed;
use crate::step::Label;
use crate::times::rfc3339;

/// A step of any stage, and the layer that is made of its changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltStep {
    /// The stage's name.
    pub stage: String,
    /// The instruction.
    pub label: Label,
    /// Its layer; `None` where it changed nothing.
    pub layer: Option<DiffId>,
}

/// The first thing that two builds made differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The step, where it is one of a step and not of the configuration.
    pub step: Option<BuiltStep>,
    /// What differs: a path and how.
    pub what: String,
}

/// Why two builds could not be compared.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// The index of a layer cannot be had.
    #[error(transparent)]
    Index(#[from] TreesError),
    /// What does not fit into memory has no place.
    #[error(transparent)]
    Scratch(#[from] ScratchError),
    /// A layer cannot be read.
    #[error("read a layer")]
    Read(#[source] io::Error),
}

/// The steps of a plan with their layers, in the order of the plan.
pub(crate) fn steps_of(plan: &BuildPlan, executed: &Executed) -> Vec<BuiltStep> {
    let mut steps = Vec::new();
    for stage in &plan.stages {
        let made = executed.all.iter().find(|made| made.stage == stage.id);
        let layers = made.iter().flat_map(|made| &made.steps);
        for (planned, (layer, _)) in stage.steps.iter().zip(layers) {
            steps.push(BuiltStep {
                stage: stage.name.clone(),
                label: planned.label.clone(),
                layer: match layer {
                    StepLayer::Blob { diff_id, .. } => Some(*diff_id),
                    StepLayer::Empty => None,
                },
            });
        }
    }
    steps
}

/// Compares two builds whose request asked for every layer.
///
/// # Errors
/// When a layer that differs cannot be read.
pub fn first_difference(
    store: &Store,
    first: &Built,
    second: &Built,
) -> Result<Option<Difference>, CompareError> {
    for (one, two) in first.steps.iter().zip(&second.steps) {
        if one.layer != two.layer {
            let what = layers(store, one.layer, two.layer)?;
            let step = Some(one.clone());
            return Ok(Some(Difference { step, what }));
        }
    }
    Ok((first.digest() != second.digest()).then(|| Difference {
        step: None,
        what: format!(
            "the image's configuration: {}, then {}",
            first.id(),
            second.id()
        ),
    }))
}

/// Names the first entry that differs between two layers that do, and counts the others.
fn layers(store: &Store, one: Option<DiffId>, two: Option<DiffId>) -> Result<String, CompareError> {
    let (one, two) = (Side::open(store, one)?, Side::open(store, two)?);
    let (mut first, mut others) = (None, 0_u64);
    for both in one.records.beside(&two.records) {
        let both = both?;
        let how = match &both {
            (Some(a), Some(b)) => entries(&one, a, &two, b)?,
            (Some(_), None) => Some("only the first build made it".to_owned()),
            (None, _) => Some("only the second build made it".to_owned()),
        };
        let (Some(how), (Some(record), _) | (None, Some(record))) = (how, both) else {
            continue;
        };
        match first {
            None => first = Some(format!("{}: {how}", record.entry.path)),
            Some(_) => others += 1,
        }
    }
    let first = first.unwrap_or_else(|| "the order of the layer's entries".to_owned());
    Ok(match others {
        0 => first,
        1 => format!("{first}; one more path differs"),
        more => format!("{first}; {more} more paths differ"),
    })
}

/// One of two layers.
struct Side<'s> {
    store: &'s Store,
    diff_id: Option<DiffId>,
    records: RecordsByPath,
}

impl<'s> Side<'s> {
    fn open(store: &'s Store, diff_id: Option<DiffId>) -> Result<Self, CompareError> {
        let mut records = RecordsByPath::in_scratch(&store.scratch());
        if let Some(diff_id) = diff_id {
            let added = records.add(open_index(store, &diff_id)?);
            added.map_err(|source| TreesError::ReadIndex { diff_id, source })?;
        }
        Ok(Self {
            store,
            diff_id,
            records,
        })
    }

    /// The content of a file, from the layer's blob.
    fn content(&self, record: &Record) -> Result<Option<impl Read>, CompareError> {
        let Some(diff_id) = self.diff_id else {
            return Ok(None);
        };
        let Some(extent) = record.extents().into_iter().next() else {
            return Ok(None);
        };
        let open = || -> io::Result<_> {
            let mut file = File::open(self.store.blob_path(diff_id.digest()))?;
            file.seek(SeekFrom::Start(extent.stored_at))?;
            Ok(BufReader::new(file.take(extent.len)))
        };
        open().map(Some).map_err(CompareError::Read)
    }
}

/// How two entries of the same path differ; the content says more than the times, so it comes first.
fn entries(
    one: &Side<'_>,
    a: &Record,
    two: &Side<'_>,
    b: &Record,
) -> Result<Option<String>, CompareError> {
    let (left, right) = (&a.entry, &b.entry);
    let then = |what: &str, a: String, b: String| Ok(Some(format!("{what} {a}, then {b}")));
    match (&left.kind, &right.kind) {
        (Kind::File { .. }, Kind::File { .. }) => {
            if let Some(at) = first_byte(one, a, two, b)? {
                return Ok(Some(format!(
                    "content from byte {at} on ({} bytes, then {})",
                    left.size(),
                    right.size()
                )));
            }
        }
        (Kind::Symlink(a), Kind::Symlink(b)) if a != b => {
            let text = |target: &[u8]| String::from_utf8_lossy(target).into_owned();
            return then("link to", text(a), text(b));
        }
        (a, b) if a != b => return then("kind", name(a).to_owned(), name(b).to_owned()),
        _ => {}
    }
    if left.mode != right.mode {
        return then(
            "mode",
            format!("{:04o}", left.mode),
            format!("{:04o}", right.mode),
        );
    }
    if (left.uid, left.gid) != (right.uid, right.gid) {
        let owner = |entry: &rootfs::Entry| format!("{}:{}", entry.uid, entry.gid);
        return then("owner", owner(left), owner(right));
    }
    if left.mtime.secs != right.mtime.secs {
        return then("time", rfc3339(left.mtime.secs), rfc3339(right.mtime.secs));
    }
    let differs = left.xattrs != right.xattrs;
    Ok(differs.then(|| "extended attributes".to_owned()))
}

fn name(kind: &Kind) -> &'static str {
    match kind {
        Kind::File { .. } => "file",
        Kind::Dir => "directory",
        Kind::Symlink(_) => "symbolic link",
        Kind::Hardlink(_) => "hard link",
        Kind::Fifo => "fifo",
        Kind::Char(_) | Kind::Block(_) => "device",
        Kind::Whiteout | Kind::Opaque => "removal",
    }
}

/// The first byte that differs between two files, which is where the shorter one ends at the latest.
fn first_byte(
    one: &Side<'_>,
    a: &Record,
    two: &Side<'_>,
    b: &Record,
) -> Result<Option<u64>, CompareError> {
    let (left, right) = (one.content(a)?, two.content(b)?);
    let mut left = left.into_iter().flat_map(Read::bytes);
    let mut right = right.into_iter().flat_map(Read::bytes);
    let mut at = 0;
    loop {
        let bytes = (
            left.next().transpose().map_err(CompareError::Read)?,
            right.next().transpose().map_err(CompareError::Read)?,
        );
        match bytes {
            (None, None) => return Ok(None),
            (a, b) if a != b => return Ok(Some(at)),
            _ => at += 1,
        }
    }
}
