//! COPY and ADD. The invariant: what is copied is planned completely against the source and the destination before anything
//! is written, and the plan is the same for a layer and for a tree.

use std::collections::BTreeMap;
use std::path::PathBuf;

use containerfile::mode::Mode;
use image::Digest;
use rootfs::accounts::Accounts;
use rootfs::copy::{
    CopyError, CopyPlan, CopyRequest, CopySource, Owner, Parents, Rules, Seen, Verdict, plan,
    plan_completed,
};
use rootfs::{DirTree, Note, Ownership, Root, Time, Tree};

use super::completing::Found;
use super::fetched::{FetchedTree, fetched};
use super::gathered::{Detail, Gathered};
use super::layers::finish;
use super::lookup::{Done, Place};
use super::mounted::Lowest;
use super::{StageState, Workshop, needs_trees};
use crate::cache::StepLayer;
use crate::context::{ContextFiles, IGNORE_FILES, file_of};
use crate::event::BuildEvent;
use crate::explain::Listing;
use crate::graph::StageId;
use crate::job::StepFailure;
use crate::key;
use crate::rules::{Patterns, matches_component};
use crate::step::{CopyFrom, CopyStep, StepKind};
use crate::times::{OLDEST, whole};

/// A tree to copy from and the patterns that hide parts of it.
pub(super) struct Origin {
    pub(super) tree: Box<dyn Tree>,
    pub(super) ignore: Patterns,
    /// Where it is on the host, for files whose digests are worth remembering.
    pub(super) directory: Option<PathBuf>,
}

fn fail(error: &dyn std::error::Error) -> StepFailure {
    StepFailure::of_build(error)
}

impl Workshop<'_> {
    /// What a COPY reads, beyond the step itself: contents, whether of a context (read or remembered) or of a stage. An image
    /// is known by its layers.
    pub(crate) fn copied_inputs(
        &self,
        finished: &BTreeMap<StageId, StageState>,
        copy: &CopyStep,
        detail: Detail,
    ) -> Result<Gathered, StepFailure> {
        if copy.sources.is_empty() {
            return Ok(Gathered::default());
        }
        if let CopyFrom::Image(index) = &copy.from {
            let image = self.job.images.get(*index);
            return Ok(Gathered::of_image(image, detail));
        }
        let origin = self.origin(&copy.from, finished)?;
        let mut listing = Listing::of(&self.name_of_source(&copy.from));
        let digest = self.content_of(&origin, copy, detail, &mut listing)?;
        let files = Gathered::of_files(digest, listing, detail);
        match (&copy.closure, &copy.from) {
            // What is needed may be any file of the stage.
            (Some(_), CopyFrom::Stage(id)) => {
                let state = finished.get(id).ok_or_else(StepFailure::cancelled)?;
                let name = self.name_of_source(&copy.from);
                Ok(files.beside_stage(&name, &state.key, detail))
            }
            _ => Ok(files),
        }
    }

    /// The digest of the selected files: names, kinds, modes, link targets and contents; owners where COPY keeps them.
    fn content_of(
        &self,
        origin: &Origin,
        copy: &CopyStep,
        detail: Detail,
        listing: &mut Listing,
    ) -> Result<(Digest, Seen), StepFailure> {
        let excludes = Patterns::of_flags(&copy.excludes).map_err(|error| fail(&error))?;
        let sources: Vec<CopySource<'_>> = copy
            .sources
            .iter()
            .map(|path| CopySource::Path(path))
            .collect();
        // Into an empty directory: where the files go is part of the step, not of its inputs.
        let request = CopyRequest {
            sources: &sources,
            destination: "/",
            owner: owner_of(&copy.from),
            chmod: None,
            parents: if copy.parents {
                Parents::Kept
            } else {
                Parents::Named
            },
            unpack: false,
            date: &|time| self.date(copy, time),
            scratch: self.store.scratch(),
        };
        let rules = rules(&origin.ignore, &excludes);
        let selected = plan(&request, origin.tree.as_ref(), None, &rules.borrow())
            .map_err(|error| fail(&error))?
            .heeding(self.store.stop());
        let memo = self.memos.of(origin.directory.as_deref());
        let mut list = |path: &rootfs::TreePath, print| listing.add(path, &print);
        let digest = match detail {
            Detail::DigestAlone => selected.digest(&memo, self.now()),
            Detail::Named => selected.digest_listed(&memo, self.now(), &mut list),
        };
        Ok((digest.map_err(|error| fail(&error))?, selected.seen()))
    }

    /// The digest of everything that a plan would write.
    pub(super) fn content_of_plan(
        &self,
        plan: &CopyPlan<'_>,
        origin: &Origin,
    ) -> Result<Digest, StepFailure> {
        let memo = self.memos.of(origin.directory.as_deref());
        plan.digest(&memo, self.now()).map_err(|error| fail(&error))
    }

    /// The tree that something is taken from.
    pub(super) fn origin(
        &self,
        from: &CopyFrom,
        finished: &BTreeMap<StageId, StageState>,
    ) -> Result<Origin, StepFailure> {
        let nothing = || Patterns::of_text("").map_err(|error| fail(&error));
        match from {
            CopyFrom::Context => {
                let ignore = match &self.job.ignore {
                    Some((name, text)) => ignore_file(name, text)?,
                    None => nothing()?,
                };
                match &self.job.context {
                    Some(files) => {
                        let (tree, directory) = self.open_context(files)?;
                        Ok(Origin {
                            tree,
                            ignore,
                            directory,
                        })
                    }
                    None => Ok(Origin {
                        tree: Box::new(rootfs::View::new()),
                        ignore,
                        directory: None,
                    }),
                }
            }
            CopyFrom::NamedContext(name) => {
                let files = self.job.named_contexts.get(name).ok_or_else(|| {
                    fail(&std::io::Error::other(format!(
                        "find the build context {name}"
                    )))
                })?;
                let (tree, directory) = self.open_context(files)?;
                Ok(Origin {
                    ignore: own_ignore_file(tree.as_ref())?,
                    tree,
                    directory,
                })
            }
            CopyFrom::Image(index) => {
                let layers = self
                    .job
                    .images
                    .get(*index)
                    .map_or(&[][..], |image| &image.layers);
                Ok(Origin {
                    tree: Box::new(self.view_of(layers)?),
                    ignore: nothing()?,
                    directory: None,
                })
            }
            CopyFrom::Stage(id) => {
                let state = finished.get(id).ok_or_else(StepFailure::cancelled)?;
                let stage = self.job.stage(*id).ok_or_else(StepFailure::cancelled)?;
                let tree: Box<dyn Tree> = if needs_trees(self.job, stage) {
                    Box::new(self.mount_read_only(state)?)
                } else {
                    Box::new(self.view_of(&self.layers_of(state))?)
                };
                Ok(Origin {
                    tree,
                    ignore: nothing()?,
                    directory: None,
                })
            }
        }
    }

    /// A context, and its directory where it is one of the host.
    fn open_context(
        &self,
        files: &ContextFiles,
    ) -> Result<(Box<dyn Tree>, Option<PathBuf>), StepFailure> {
        match files {
            ContextFiles::Directory(directory) => {
                let root = Root::open(directory).map_err(|error| fail(&error))?;
                let tree = DirTree::new(root, Ownership::Recorded);
                Ok((Box::new(tree), Some(directory.clone())))
            }
            ContextFiles::Packed(packed) => {
                let tree = packed.tree(self.store).map_err(|error| fail(&error))?;
                Ok((Box::new(tree.clone()), None))
            }
        }
    }

    /// COPY straight into a layer.
    pub(crate) fn copy_to_layer(
        &self,
        place: &Place<'_>,
        state: &StageState,
        copy: &CopyStep,
    ) -> Result<Done, StepFailure> {
        let origin = self.origin(&copy.from, place.finished)?;
        let destination = self.view_of(&self.layers_of(state))?;
        let finished = place.finished;
        let (time, ((layer, same_times), inputs)) =
            self.with_plan(place, state, &origin, &destination, |plan| {
                std::thread::scope(|scope| {
                    // The contents are hashed for the cache while they stream into the layer, on another core.
                    let hash = || self.hash_beside(&origin, finished, copy, plan);
                    let hashing = std::thread::Builder::new().spawn_scoped(scope, hash);
                    let written = self.write_layer(plan)?;
                    // Beside what is left to hash.
                    self.unpack(place.stage.id, state, Some(&written.0));
                    self.tell_notes(plan.notes());
                    let inputs = hashing.ok().and_then(|thread| thread.join().ok()).flatten();
                    let inputs = inputs
                        .map_or_else(|| self.copied_inputs(finished, copy, Detail::Named), Ok)?;
                    Ok((written, self.inputs_if_unchanged(plan, &origin, inputs)?))
                })
            })?;
        Ok(Done {
            layer: Some(layer),
            tree: None,
            inputs,
            time,
            same_times,
            env: Vec::new(),
        })
    }

    /// What was copied is what was hashed, if the context was all the time as it was when the copy was planned. Else the result
    /// gets a key that is nobody's: no later build takes it for what it would have been.
    fn inputs_if_unchanged(
        &self,
        plan: &CopyPlan<'_>,
        origin: &Origin,
        mut inputs: Gathered,
    ) -> Result<Gathered, StepFailure> {
        let Some(seen) = inputs.seen.filter(|_| origin.directory.is_some()) else {
            return Ok(inputs);
        };
        let unchanged = match plan.unchanged() {
            Err(CopyError::Changed { .. }) => false,
            other => other
                .map(|()| seen == plan.seen())
                .map_err(|error| fail(&error))?,
        };
        if !unchanged {
            let message = "files of the build context changed while they were copied: the result is not used again";
            self.tell(BuildEvent::Notice {
                message: message.to_owned(),
            });
            let outline = plan.outline().map_err(|error| fail(&error))?.to_string();
            let now = self.job.now.to_string();
            inputs.digest = Some(key::hash(&[b"changed", outline.as_bytes(), now.as_bytes()]));
        }
        Ok(inputs)
    }

    /// Finds what a COPY reads; of a directory of the host only contents are hashed, to be remembered. `None`: ask again.
    fn hash_beside(
        &self,
        origin: &Origin,
        finished: &BTreeMap<StageId, StageState>,
        copy: &CopyStep,
        plan: &CopyPlan<'_>,
    ) -> Option<Gathered> {
        let Some(directory) = &origin.directory else {
            return self.copied_inputs(finished, copy, Detail::Named).ok();
        };
        // Whoever asks for the digests meets the same trouble.
        let _ = plan.remember(&self.memos.of(Some(directory)), self.now());
        None
    }

    fn now(&self) -> Time {
        Time {
            secs: self.job.now,
            nanos: 0,
        }
    }

    fn write_layer(&self, plan: &CopyPlan<'_>) -> Result<(StepLayer, bool), StepFailure> {
        let mut writer = self.layer_writer()?;
        plan.write_layer(&mut writer)
            .map_err(|error| fail(&error))?;
        finish(self.store, writer)
    }

    /// COPY into a mounted overlay.
    pub(crate) fn copy_to_tree(
        &self,
        place: &Place<'_>,
        state: &StageState,
        copy: &CopyStep,
    ) -> Result<Done, StepFailure> {
        let session = self.session()?;
        let origin = self.origin(&copy.from, place.finished)?;
        let mounted = self.mount(state, Lowest::Plain)?;
        let destination = mounted.tree(session)?;
        let root = mounted.root()?;
        let inputs = self.copied_inputs(place.finished, copy, Detail::Named)?;
        let written = self.with_plan(place, state, &origin, &destination, |plan| {
            let notes = plan
                .write_tree(&root, session.trees.ownership())
                .map_err(|error| fail(&error))?;
            self.tell_notes(&notes);
            self.inputs_if_unchanged(plan, &origin, inputs)
        });
        drop((destination, root));
        match written {
            Ok((time, inputs)) => Ok(Done {
                layer: None,
                tree: Some(mounted.finish(self)),
                inputs,
                time,
                same_times: true,
                env: Vec::new(),
            }),
            Err(failure) => {
                mounted.discard();
                Err(failure)
            }
        }
    }

    /// The time of a copy of something that has the time `time` in the source. What was fetched keeps its own: a commit of the
    /// context says nothing about it.
    fn date(&self, copy: &CopyStep, time: Time) -> Time {
        if copy.sources.is_empty() && copy.inline.is_empty() {
            return whole(time);
        }
        match copy.from {
            CopyFrom::Context | CopyFrom::NamedContext(_) => self.job.times.of_context(time),
            CopyFrom::Stage(_) => self.job.times.of_stage(time),
            CopyFrom::Image(_) => whole(time),
        }
    }

    /// Plans a COPY and hands the plan on; returns the step's time too.
    fn with_plan<T>(
        &self,
        place: &Place<'_>,
        state: &StageState,
        origin: &Origin,
        destination: &dyn Tree,
        write: impl FnOnce(&CopyPlan<'_>) -> Result<T, StepFailure>,
    ) -> Result<(i64, T), StepFailure> {
        let StepKind::Copy(copy) = &place.planned.step.kind else {
            return Err(StepFailure::saying("copy for a step that copies nothing"));
        };
        let paths = copy.sources.iter().map(|path| CopySource::Path(path));
        let inline = copy
            .inline
            .iter()
            .map(|(name, content)| CopySource::Inline {
                name,
                content: content.as_bytes(),
            });
        let fetched = fetched(self.store, &copy.fetched)?;
        let others = fetched.iter().map(FetchedTree::source);
        let sources: Vec<CopySource<'_>> = paths.chain(others).chain(inline).collect();
        let mode = copy
            .chmod
            .as_deref()
            .map(str::parse::<Mode>)
            .transpose()
            .map_err(|error| fail(&error))?;
        let chmod = mode
            .as_ref()
            .map(|mode| move |old: u32, is_dir: bool| mode.apply(old, is_dir));
        let request = CopyRequest {
            sources: &sources,
            destination: &absolute(&place.planned.step.workdir, &copy.destination),
            owner: self.owner(copy, destination)?,
            chmod: chmod
                .as_ref()
                .map(|chmod| chmod as &dyn Fn(u32, bool) -> u32),
            parents: if copy.parents {
                Parents::Kept
            } else {
                Parents::Dropped
            },
            unpack: copy.unpack,
            date: &|time| self.date(copy, time),
            scratch: self.store.scratch(),
        };
        let excludes = Patterns::of_flags(&copy.excludes).map_err(|error| fail(&error))?;
        let rules = rules(&origin.ignore, &excludes);
        let onto = (!copy.link).then_some(destination);
        let source = origin.tree.as_ref();
        let mut found = Found::default();
        let planned = match &copy.closure {
            None => plan(&request, source, onto, &rules.borrow()),
            Some(closure) => {
                let mut needed = |tree: &dyn Tree, copied: &[rootfs::TreePath]| {
                    closure.needed(tree, copied, self.job.closure_rules.set(), &mut found)
                };
                let both = (onto, destination);
                plan_completed(&request, source, both, &rules.borrow(), &mut needed)
            }
        };
        let plan = planned
            .map_err(|error| fail(&error))?
            .heeding(self.store.stop());
        self.tell_broken(copy, &found)?;
        let time = plan.newest().max(Some(state.time())).unwrap_or(OLDEST);
        let plan = plan.dated(self.job.times.of_step(time));
        Ok((time, write(&plan)?))
    }

    fn owner(&self, copy: &CopyStep, destination: &dyn Tree) -> Result<Owner, StepFailure> {
        match &copy.chown {
            Some(text) => {
                let accounts = Accounts::of(destination).map_err(|error| fail(&error))?;
                let (uid, gid) = accounts.resolve_owner(text).map_err(|error| fail(&error))?;
                Ok(Owner::Given { uid, gid })
            }
            None => Ok(owner_of(&copy.from)),
        }
    }

    fn tell_notes(&self, notes: &[Note]) {
        for note in notes {
            self.tell(BuildEvent::Notice {
                message: note.to_string(),
            });
        }
    }
}

/// S35: through the tree, since a link in it may lead anywhere.
fn own_ignore_file(context: &dyn Tree) -> Result<Patterns, StepFailure> {
    for name in IGNORE_FILES {
        if let Some(file) = file_of(context, name).map_err(|error| fail(&error))? {
            let text = std::io::read_to_string(file).map_err(|error| fail(&error))?;
            return ignore_file(name, &text);
        }
    }
    Patterns::of_text("").map_err(|error| fail(&error))
}

fn ignore_file(name: &str, text: &str) -> Result<Patterns, StepFailure> {
    Patterns::of_text(text).map_err(|error| {
        let failure = fail(&error);
        StepFailure::saying(format!("read {name}: {}", failure.message))
    })
}

/// Who owns what is copied without `--chown`.
fn owner_of(from: &CopyFrom) -> Owner {
    match from {
        CopyFrom::Context | CopyFrom::NamedContext(_) => Owner::Root,
        CopyFrom::Stage(_) | CopyFrom::Image(_) => Owner::Kept,
    }
}

/// Relative destinations count from the working directory; a trailing `/` stays.
fn absolute(workdir: &str, destination: &str) -> String {
    if destination.starts_with('/') {
        destination.to_owned()
    } else {
        format!("{}/{destination}", workdir.trim_end_matches('/'))
    }
}

/// The closures of [`Rules`], kept alive.
pub(super) struct OwnedRules<I, E> {
    ignore: I,
    exclude: E,
}

pub(super) fn rules<'p>(
    ignore: &'p Patterns,
    exclude: &'p Patterns,
) -> OwnedRules<
    impl Fn(&rootfs::TreePath, bool) -> Verdict + 'p,
    impl Fn(&rootfs::TreePath, bool) -> Verdict + 'p,
> {
    OwnedRules {
        ignore: |path: &rootfs::TreePath, is_dir| ignore.verdict(path, is_dir),
        exclude: |path: &rootfs::TreePath, is_dir| exclude.verdict(path, is_dir),
    }
}

impl<I, E> OwnedRules<I, E>
where
    I: Fn(&rootfs::TreePath, bool) -> Verdict,
    E: Fn(&rootfs::TreePath, bool) -> Verdict,
{
    pub(super) fn borrow(&self) -> Rules<'_> {
        Rules {
            glob: &matches_component,
            ignore: &self.ignore,
            exclude: &self.exclude,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::absolute;

    #[test]
    fn relative_destinations_count_from_the_working_directory() {
        assert_eq!(absolute("/srv", "a/"), "/srv/a/");
        assert_eq!(absolute("/", "a"), "/a");
        assert_eq!(absolute("/srv", "./"), "/srv/./");
        assert_eq!(absolute("/srv", "/x"), "/x");
    }
}
