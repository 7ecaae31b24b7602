//! What a stage gets at its end. The invariant: first it is decided completely what is added, looking at the stage and the sources
//! alone, then it is written, to a layer or into a tree; so both give the same files.

mod accounts;
mod certificates;
mod records;

use std::collections::BTreeMap;
use std::io::Write as _;

use rootfs::tree::Follow;
use rootfs::{Entry, Kind, Root, Tree, TreePath};
use rustix::fs::Mode;

use super::gathered::{Detail, Gathered};
use super::layers::finish;
use super::lookup::{Done, Place};
use super::mounted::Lowest;
use super::{SessionTools, StageState, Workshop};
use crate::cache::StepLayer;
use crate::event::BuildEvent;
use crate::explain::{Cause, Inputs};
use crate::furnish::Furnish;
use crate::graph::StageId;
use crate::job::StepFailure;
use crate::key;
use crate::step::CopyFrom;
use crate::times::Times;

/// A file or directory to make, in place of what may be there.
pub(super) struct Piece {
    pub(super) mode: u32,
    pub(super) owner: (u32, u32),
    /// `None` for a directory.
    pub(super) content: Option<Vec<u8>>,
}

/// What is added, by canonical path.
#[derive(Default)]
pub(super) struct Addition {
    pub(super) pieces: BTreeMap<TreePath, Piece>,
    /// Variables that the image gets, where it has none of the name.
    pub(super) env: Vec<(String, String)>,
    /// What is told about it.
    pub(super) notices: Vec<String>,
}

fn fail(error: &dyn std::error::Error) -> StepFailure {
    StepFailure::of_build(error)
}

impl Addition {
    /// Adds something at a path, and the directories above it that the tree lacks. Links of the tree are followed.
    pub(super) fn put(
        &mut self,
        tree: &dyn Tree,
        path: &str,
        piece: Piece,
    ) -> Result<TreePath, StepFailure> {
        let path = TreePath::clamped(path).map_err(|error| fail(&error))?;
        let path = tree
            .resolve(&path, Follow::All)
            .map_err(|error| fail(&error))?;
        let mut above = path.parent();
        while !above.is_root() && !self.pieces.contains_key(&above) {
            match tree.node(&above).map_err(|error| fail(&error))? {
                Some(meta) if meta.is_dir() => break,
                Some(_) => {
                    let text = format!("make {path}: {above} is not a directory");
                    return Err(StepFailure::saying(text));
                }
                None => {
                    let next = above.parent();
                    self.pieces.insert(above, Piece::directory(0o755, (0, 0)));
                    above = next;
                }
            }
        }
        self.pieces.insert(path.clone(), piece);
        Ok(path)
    }
}

impl Piece {
    pub(super) fn directory(mode: u32, owner: (u32, u32)) -> Self {
        Self {
            mode,
            owner,
            content: None,
        }
    }

    /// A file of root's that everybody can read.
    pub(super) fn file(content: impl Into<Vec<u8>>) -> Self {
        Self {
            mode: 0o644,
            owner: (0, 0),
            content: Some(content.into()),
        }
    }
}

impl Workshop<'_> {
    /// What it depends on beside the stage: whole states of other stages, which says more than is read of them but needs no look.
    pub(super) fn furnish_inputs(
        &self,
        finished: &BTreeMap<StageId, StageState>,
        furnish: &Furnish,
        detail: Detail,
    ) -> Result<Gathered, StepFailure> {
        let mut inputs = Inputs::default();
        let mut parts = Vec::new();
        for from in furnish.sources() {
            let gathered = match from {
                CopyFrom::Stage(id) => {
                    let state = finished.get(id).ok_or_else(StepFailure::cancelled)?;
                    Gathered::of_stage(&self.name_of_source(from), &state.key, detail)
                }
                CopyFrom::Image(index) => Gathered::of_image(self.job.images.get(*index), detail),
                CopyFrom::Context | CopyFrom::NamedContext(_) => {
                    let bundle = self.bundle_bytes(from, finished)?;
                    let digest = key::hash(&[b"file", &bundle]);
                    inputs.add(Cause::Flag, "from", &digest);
                    parts.push(digest.to_string());
                    continue;
                }
            };
            parts.push(
                gathered
                    .digest
                    .map(|digest| digest.to_string())
                    .unwrap_or_default(),
            );
            inputs.extend(gathered.inputs);
        }
        for path in furnish.extra() {
            let (bytes, _) = self.context_file(path)?;
            let digest = key::hash(&[b"file", &bytes]);
            inputs.add(Cause::Flag, &format!("extra={path}"), &digest);
            parts.push(digest.to_string());
        }
        let parts: Vec<&[u8]> = parts.iter().map(String::as_bytes).collect();
        Ok(Gathered {
            digest: (!parts.is_empty()).then(|| key::hash(&parts)),
            inputs,
            ..Gathered::default()
        })
    }

    /// Decides what is added.
    fn addition(
        &self,
        place: &Place<'_>,
        furnish: &Furnish,
        tree: &dyn Tree,
    ) -> Result<Addition, StepFailure> {
        let addition = match furnish {
            Furnish::Certificates(step) => self.certificates(place, step, tree),
            Furnish::Accounts(step) => accounts::addition(step, tree),
            Furnish::Records(step) => self.records(place, step, tree),
        }?;
        for message in &addition.notices {
            let message = message.clone();
            self.tell(BuildEvent::Notice { message });
        }
        Ok(addition)
    }

    /// The time of the newest thing that it depends on.
    fn time_of_furnishing(
        &self,
        place: &Place<'_>,
        state: &StageState,
        furnish: &Furnish,
    ) -> Result<i64, StepFailure> {
        let mut time = state.time();
        for from in furnish.sources() {
            let of_source = match from {
                CopyFrom::Stage(id) => place.finished.get(id).map(StageState::time),
                CopyFrom::Image(index) => self.job.images.get(*index).map(|image| image.created),
                CopyFrom::Context | CopyFrom::NamedContext(_) => None,
            };
            time = time.max(of_source.unwrap_or(time));
        }
        if self.job.times == Times::Newest {
            for path in furnish.extra() {
                time = time.max(self.context_file(path)?.1);
            }
        }
        Ok(time)
    }

    pub(super) fn furnish_in_layer(
        &self,
        place: &Place<'_>,
        state: &StageState,
        furnish: &Furnish,
    ) -> Result<Done, StepFailure> {
        let inputs = self.furnish_inputs(place.finished, furnish, Detail::Named)?;
        let view = self.view_of(&self.layers_of(state))?;
        let addition = self.addition(place, furnish, &view)?;
        let time = self.time_of_furnishing(place, state, furnish)?;
        let (layer, same_times) = self.layer_of_addition(&addition, time)?;
        self.unpack(place.stage.id, state, Some(&layer));
        Ok(Done {
            layer: Some(layer),
            tree: None,
            inputs,
            time,
            same_times,
            env: addition.env,
        })
    }

    fn layer_of_addition(
        &self,
        addition: &Addition,
        time: i64,
    ) -> Result<(StepLayer, bool), StepFailure> {
        let mut writer = self.layer_writer()?;
        for (path, piece) in &addition.pieces {
            let kind = match &piece.content {
                None => Kind::Dir,
                Some(content) => Kind::File {
                    size: content.len() as u64,
                },
            };
            let entry = Entry {
                uid: piece.owner.0,
                gid: piece.owner.1,
                mtime: self.job.times.of_step(time),
                ..Entry::new(path.clone(), kind, piece.mode)
            };
            let written = match &piece.content {
                None => writer.append(entry),
                Some(content) => writer.append_stream(entry, &content[..]),
            };
            written.map_err(|error| fail(&error))?;
        }
        finish(self.store, writer)
    }

    pub(super) fn furnish_in_tree(
        &self,
        place: &Place<'_>,
        state: &StageState,
        furnish: &Furnish,
    ) -> Result<Done, StepFailure> {
        let session = self.session()?;
        let inputs = self.furnish_inputs(place.finished, furnish, Detail::Named)?;
        let mounted = self.mount(state, Lowest::Plain)?;
        let tree = mounted.tree(session)?;
        let addition = self.addition(place, furnish, &tree)?;
        let time = self.time_of_furnishing(place, state, furnish)?;
        drop(tree);
        if addition.pieces.is_empty() {
            mounted.discard();
            return Ok(Done {
                layer: Some(StepLayer::Empty),
                tree: None,
                inputs,
                time,
                same_times: true,
                env: addition.env,
            });
        }
        write(session, &mounted.root()?, &addition)?;
        Ok(Done {
            layer: None,
            tree: Some(mounted.settle(self, self.job.times.of_step(time))?),
            inputs,
            time,
            same_times: true,
            env: addition.env,
        })
    }

    /// A file of the build context, and its time.
    fn context_file(&self, path: &str) -> Result<(Vec<u8>, i64), StepFailure> {
        let origin = self.origin(&CopyFrom::Context, &BTreeMap::new())?;
        let place = TreePath::scoped(path).map_err(|error| fail(&error))?;
        if origin.ignore.verdict(&place, false) != rootfs::copy::Verdict::Keep {
            let text = format!("read {path} of the build context: the ignore file excludes it");
            return Err(StepFailure::saying(text));
        }
        let found = origin.tree.lookup(&place).map_err(|error| fail(&error))?;
        let Some((place, meta)) = found else {
            let text = format!("read {path} of the build context: there is no such file");
            return Err(StepFailure::saying(text));
        };
        let bytes = origin
            .tree
            .read_at(&place, 0, certificates::LARGEST)
            .map_err(|error| fail(&error))?;
        Ok((bytes, meta.mtime.secs))
    }
}

fn write(session: &SessionTools<'_>, root: &Root, addition: &Addition) -> Result<(), StepFailure> {
    for (path, piece) in &addition.pieces {
        let made = match &piece.content {
            None => {
                match root.make_dir(path, 0o700) {
                    Err(error)
                        if error.errno() == Some(rustix::io::Errno::EXIST.raw_os_error()) => {}
                    other => other.map_err(|error| fail(&error))?,
                }
                root.canonical_directory(path)
                    .map_err(|error| fail(&error))?
            }
            Some(content) => {
                match root.remove_file(path) {
                    Err(error) if error.is_absent() => {}
                    other => other.map_err(|error| fail(&error))?,
                }
                let file = root.create_file(path).map_err(|error| fail(&error))?;
                let mut file = std::fs::File::from(file);
                file.write_all(content).map_err(|error| fail(&error))?;
                file.into()
            }
        };
        rootfs::own(&made, path, piece.owner, session.trees.ownership())
            .map_err(|error| fail(&error))?;
        rustix::fs::fchmod(&made, Mode::from_raw_mode(piece.mode)).map_err(|error| fail(&error))?;
    }
    Ok(())
}
