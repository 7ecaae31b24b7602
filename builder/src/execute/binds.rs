//! Bind mounts of a RUN. The invariant: what a step sees belongs to the image's ids and never to the caller; it is read-only, or an
//! overlay whose changes are thrown away, so that neither the context nor another stage is ever written.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use image::Digest;
use rootfs::copy::{CopyPlan, CopyRequest, CopySource, Owner, Parents, plan};
use rootfs::trees::UnpackedLayer;
use rootfs::{DirTree, Root, Time, Tree, TreePath};
use sandbox::{Overlay, Upper, subtree};

use super::copying::{Origin, rules};
use super::gathered::{Detail, Gathered};
use super::lookup::Place;
use super::mounts::Mounted;
use super::views::{UsedContext, path_of};
use super::{SessionTools, StageState, Workshop, needs_trees};
use crate::graph::StageId;
use crate::job::StepFailure;
use crate::key;
use crate::mounts::{RunMount, RunMountSource};
use crate::rules::Patterns;
use crate::step::{CopyFrom, CopyStep, RunStep};
use crate::times::OLDEST;

fn fail(error: &dyn std::error::Error) -> StepFailure {
    StepFailure::of_build(error)
}

impl Workshop<'_> {
    /// What a RUN mounts, beyond the step itself: contents of contexts, keys of stages, layers of images.
    pub(crate) fn mounted_inputs(
        &self,
        finished: &BTreeMap<StageId, StageState>,
        run: &RunStep,
        detail: Detail,
    ) -> Result<Gathered, StepFailure> {
        let mut all = Gathered::default();
        let mut parts = Vec::new();
        for mount in &run.mounts {
            let source = match &mount.source {
                RunMountSource::Bind { source, .. } => source,
                RunMountSource::Cache(cache) => &cache.source,
                _ => continue,
            };
            if let Some(from) = mount.from() {
                let copy = whole(from, source);
                let gathered = self.source_inputs(finished, &copy, detail)?;
                parts.extend(gathered.digest);
                all.inputs.extend(gathered.inputs);
            }
        }
        let parts: Vec<String> = parts.iter().map(Digest::to_string).collect();
        let parts: Vec<&[u8]> = parts.iter().map(String::as_bytes).collect();
        all.digest = (!parts.is_empty()).then(|| key::hash(&parts));
        Ok(all)
    }

    /// As [`Workshop::copied_inputs`], but a stage is known by its key: a whole one may be mounted.
    fn source_inputs(
        &self,
        finished: &BTreeMap<StageId, StageState>,
        copy: &CopyStep,
        detail: Detail,
    ) -> Result<Gathered, StepFailure> {
        match &copy.from {
            CopyFrom::Stage(id) => {
                let state = finished.get(id).ok_or_else(StepFailure::cancelled)?;
                let name = self.name_of_source(&copy.from);
                Ok(Gathered::of_stage(&name, &state.key, detail))
            }
            _ => self.copied_inputs(finished, copy, detail),
        }
    }

    /// What names the files of a source, as far as they can be named without reading them.
    pub(super) fn identity(
        &self,
        finished: &BTreeMap<StageId, StageState>,
        from: &CopyFrom,
    ) -> Result<String, StepFailure> {
        Ok(match from {
            CopyFrom::Stage(id) => {
                let state = finished.get(id).ok_or_else(StepFailure::cancelled)?;
                state.key.to_string()
            }
            CopyFrom::Image(_) => {
                let copy = whole(from, "/");
                let gathered = self.copied_inputs(finished, &copy, Detail::DigestAlone)?;
                let digest = gathered.digest;
                digest.map(|digest| digest.to_string()).unwrap_or_default()
            }
            CopyFrom::Context => "context".to_owned(),
            CopyFrom::NamedContext(name) => format!("context {name}"),
        })
    }

    pub(super) fn bind_mount(
        &self,
        session: &SessionTools<'_>,
        place: &Place<'_>,
        mount: &RunMount,
        (from, source, writable): (&CopyFrom, &str, bool),
        used: &mut Vec<UsedContext>,
    ) -> Result<Mounted, StepFailure> {
        let mut source = source.to_owned();
        // It keeps the directory open until the mount is made.
        let mut data = None;
        let mut lowers = match from {
            CopyFrom::Stage(_) | CopyFrom::Image(_) => {
                let mut lowers = self.layers_to_bind(session, place, from)?;
                if let Some(kept) = self.files_of_caller(session, &lowers)? {
                    lowers.insert(0, kept);
                }
                lowers
            }
            CopyFrom::Context | CopyFrom::NamedContext(_) => {
                let view = self.view_of_context(session, place, from, &source)?;
                used.extend(view.used);
                (source, data) = (view.path, view.data);
                vec![view.lower]
            }
        };
        if self.job.disturbed {
            let shown = self.overlay_to_bind(session, lowers.clone(), data.as_ref(), false)?;
            lowers.extend(self.other_order(session, &shown)?);
        }
        let overlay = self.overlay_to_bind(session, lowers, data.as_ref(), writable)?;
        let attached = session
            .work
            .directory("bind")
            .map_err(|error| fail(&error))?;
        let found = subtree(overlay, &source, &attached).map_err(|error| fail(&error))?;
        let (tree, directory) = found.ok_or_else(|| {
            StepFailure::saying(format!(
                "mount {source} at {}: it is not there",
                mount.target
            ))
        })?;
        Ok(Mounted::Tree {
            tree,
            directory,
            read_only: !writable,
        })
    }

    fn overlay_to_bind(
        &self,
        session: &SessionTools<'_>,
        mut lowers: Vec<PathBuf>,
        data: Option<&Root>,
        is_writable: bool,
    ) -> Result<OwnedFd, StepFailure> {
        let directory = |name: &str| session.work.directory(name).map_err(|error| fail(&error));
        let mut upper = None;
        if is_writable {
            let home = directory("discarded")?;
            let discarded = Upper {
                upper: home.join("upper"),
                work: home.join("work"),
            };
            for directory in [&discarded.upper, &discarded.work] {
                fs::create_dir(directory).map_err(|error| fail(&error))?;
            }
            self.imitate_root(lowers.first().map(PathBuf::as_path), &discarded.upper)?;
            upper = Some(discarded);
        }
        // Without an upper directory the kernel wants two lower ones.
        while lowers.len() + usize::from(upper.is_some() || data.is_some()) < 2 {
            lowers.push(directory("empty")?);
        }
        let overlay = Overlay {
            lowers,
            data_only: data.map(path_of).into_iter().collect(),
            upper,
        };
        overlay.mount().map_err(|error| fail(&error))
    }

    /// The directories of a stage or an image, topmost first.
    fn layers_to_bind(
        &self,
        session: &SessionTools<'_>,
        place: &Place<'_>,
        from: &CopyFrom,
    ) -> Result<Vec<PathBuf>, StepFailure> {
        let layers = match from {
            CopyFrom::Stage(id) => {
                let state = place.finished.get(id).ok_or_else(StepFailure::cancelled)?;
                let stage = self.job.stage(*id).ok_or_else(StepFailure::cancelled)?;
                if needs_trees(self.job, stage) {
                    return self.lowers(state);
                }
                self.layers_of(state)
            }
            CopyFrom::Image(index) => self
                .job
                .images
                .get(*index)
                .map(|image| image.layers.clone())
                .unwrap_or_default(),
            CopyFrom::Context | CopyFrom::NamedContext(_) => Vec::new(),
        };
        self.bring(&layers)?;
        let unpacked: Vec<UnpackedLayer> = session
            .trees
            .layers(self.store, &layers)
            .map_err(|error| fail(&error))?;
        Ok(unpacked
            .into_iter()
            .rev()
            .map(|layer| layer.directory)
            .collect())
    }

    /// Copies a part of a source into a directory of the store.
    pub(super) fn copy_into(
        &self,
        session: &SessionTools<'_>,
        place: &Place<'_>,
        (from, source): (&CopyFrom, &str),
        directory: &Path,
        target: &TreePath,
    ) -> Result<(), StepFailure> {
        let destination = format!("/{target}/").replace("//", "/");
        let root = Root::open(directory).map_err(|error| fail(&error))?;
        let existing = root.try_clone().map_err(|error| fail(&error))?;
        let existing = DirTree::new(existing, session.trees.ownership());
        let to = (destination.as_str(), Some(&existing as &dyn Tree));
        self.with_files(place, (from, source), to, |plan, _| {
            plan.write_tree(&root, session.trees.ownership())
                .and_then(|_| plan.unchanged())
                .map_err(|error| fail(&error))
        })
    }

    /// Plans the copying of one path, which is no pattern, as it is. Times stay those of the source, unlike a COPY's: a build
    /// tool that keeps results in a cache mount decides by them what changed.
    pub(super) fn with_files<T>(
        &self,
        place: &Place<'_>,
        (from, source): (&CopyFrom, &str),
        (destination, existing): (&str, Option<&dyn Tree>),
        act: impl FnOnce(CopyPlan<'_>, &Origin) -> Result<T, StepFailure>,
    ) -> Result<T, StepFailure> {
        let origin = self.origin(from, place.finished)?;
        let nothing = Patterns::of_flags(&[]).map_err(|error| fail(&error))?;
        let literal = literal(source);
        let request = CopyRequest {
            sources: &[CopySource::Path(&literal)],
            destination,
            owner: match from {
                CopyFrom::Context | CopyFrom::NamedContext(_) => Owner::Root,
                CopyFrom::Stage(_) | CopyFrom::Image(_) => Owner::Kept,
            },
            chmod: None,
            parents: Parents::Dropped,
            unpack: false,
            date: &|time| time,
            scratch: self.store.scratch(),
        };
        let rules = rules(&origin.ignore, &nothing);
        let plan = plan(&request, origin.tree.as_ref(), existing, &rules.borrow())
            .map_err(|error| fail(&error))?
            .heeding(self.store.stop());
        let time = plan.newest().unwrap_or(OLDEST);
        let plan = plan.dated(Time {
            secs: time,
            nanos: 0,
        });
        act(plan, &origin)
    }
}

/// A path as a pattern that only it matches.
fn literal(path: &str) -> String {
    let mut literal = String::with_capacity(path.len());
    for c in path.chars() {
        if "*?[\\".contains(c) {
            literal.push('\\');
        }
        literal.push(c);
    }
    literal
}

/// The copying that has the same inputs as a mount of `source`.
fn whole(from: &CopyFrom, source: &str) -> CopyStep {
    CopyStep {
        closure: None,
        from: from.clone(),
        sources: vec![literal(source)],
        inline: Vec::new(),
        fetched: Vec::new(),
        destination: "/".to_owned(),
        chown: None,
        chmod: None,
        excludes: Vec::new(),
        parents: false,
        link: false,
        unpack: false,
    }
}
