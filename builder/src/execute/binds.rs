//! Bind mounts of a RUN. The invariant: what a step sees belongs to the image's ids and never to the caller; it is read-only, or an
//! overlay whose changes are thrown away, so that neither the context nor another stage is ever written.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use image::{Area, Digest};
use rootfs::copy::{CopyPlan, CopyRequest, CopySource, Owner, plan};
use rootfs::trees::{UnpackedLayer, boot_id, remove_tree};
use rootfs::{DirTree, Root, Time, Tree, TreePath};
use rustix::fs::Mode;
use sandbox::subtree;

use super::copying::rules;
use super::gathered::{Detail, Gathered};
use super::lookup::Place;
use super::mounted::{read_only, writable};
use super::mounts::Mounted;
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
    ) -> Result<Mounted, StepFailure> {
        let (lowers, source) = match from {
            CopyFrom::Stage(_) | CopyFrom::Image(_) => {
                let mut lowers = self.layers_to_bind(session, place, from)?;
                if let Some(kept) = self.files_of_caller(session, &lowers)? {
                    lowers.insert(0, kept);
                }
                (lowers, source.to_owned())
            }
            CopyFrom::Context | CopyFrom::NamedContext(_) => {
                let (view, name) = self.view_of_context(session, place, from, source)?;
                (vec![view], name)
            }
        };
        let overlay = match self.job.disturbed {
            true => {
                let shown = self.overlay_to_bind(session, lowers.clone(), false)?;
                let mut lowers = lowers;
                lowers.extend(self.other_order(session, &shown)?);
                self.overlay_to_bind(session, lowers, writable)?
            }
            false => self.overlay_to_bind(session, lowers, writable)?,
        };
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
        is_writable: bool,
    ) -> Result<std::os::fd::OwnedFd, StepFailure> {
        let directory = |name: &str| session.work.directory(name).map_err(|error| fail(&error));
        if is_writable {
            let home = directory("discarded")?;
            let (upper, work) = (home.join("upper"), home.join("work"));
            for directory in [&upper, &work] {
                fs::create_dir(directory).map_err(|error| fail(&error))?;
            }
            self.imitate_root(lowers.first().map(PathBuf::as_path), &upper)?;
            if lowers.is_empty() {
                lowers.push(directory("empty")?);
            }
            return writable(lowers, upper, work);
        }
        while lowers.len() < 2 {
            // Without an upper directory the kernel wants two lower ones.
            lowers.push(directory("empty")?);
        }
        read_only(lowers)
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

    /// A directory that shows what a step may see of a context: without what is ignored, everything root's. It is kept, named by
    /// what it shows, so that an unchanged context is walked and not copied. Returns it and the path in it.
    fn view_of_context(
        &self,
        session: &SessionTools<'_>,
        place: &Place<'_>,
        from: &CopyFrom,
        source: &str,
    ) -> Result<(PathBuf, String), StepFailure> {
        let whole = whole(from, source);
        let content = self.source_inputs(place.finished, &whole, Detail::DigestAlone)?;
        self.with_files(place, (from, source), ("/", None), |plan, tree| {
            let named = TreePath::clamped(source).map_err(|error| fail(&error))?;
            let found = tree.lookup(&named).map_err(|error| fail(&error))?;
            let top = found.filter(|(_, meta)| meta.is_dir());
            let name = match (&top, named.file_name()) {
                (None, Some(name)) => format!("/{}", String::from_utf8_lossy(name)),
                _ => "/".to_owned(),
            };
            let top = top.map_or(0o755, |(_, meta)| meta.mode);
            let content = content.digest.map(|digest| digest.to_string());
            let content = content.unwrap_or_default();
            let mut shown = format!("{content} {top:o}\n");
            for entry in plan.entries() {
                let (path, time) = (&entry.path, entry.mtime);
                shown += &format!("{path} {:o} {}.{}\n", entry.mode, time.secs, time.nanos);
            }
            let hex = key::hash(&[b"view", shown.as_bytes()]).hex();
            let view = self.kept_view(session, &hex, |root| {
                plan.write_tree(root, session.trees.ownership())
                    .map_err(|error| fail(&error))?;
                rustix::fs::fchmod(root, Mode::from_raw_mode(top)).map_err(|error| fail(&error))
            })?;
            Ok((view, name))
        })
    }

    /// The view of that name, made if it is not there or of an earlier boot, when nothing waited for the disk.
    fn kept_view(
        &self,
        session: &SessionTools<'_>,
        hex: &str,
        write: impl FnOnce(&Root) -> Result<(), StepFailure>,
    ) -> Result<PathBuf, StepFailure> {
        let name = match session.trees.ownership() {
            rootfs::Ownership::Mapped { .. } => format!("mapped-{hex}"),
            _ => format!("squashed-{hex}"),
        };
        self.store
            .hold_entry(Area::Trees, &format!("contexts/{name}"))
            .map_err(|error| fail(&error))?;
        let parent = self.store.subdir(Area::Trees).join("contexts");
        let home = parent.join(&name);
        if is_complete(&home) {
            return Ok(home.join("tree"));
        }
        let fresh = session
            .work
            .directory("context")
            .map_err(|error| fail(&error))?;
        let tree = fresh.join("tree");
        fs::create_dir(&tree).map_err(|error| fail(&error))?;
        session
            .trees
            .give_to_image_root(&tree)
            .map_err(|error| fail(&error))?;
        write(&Root::open(&tree).map_err(|error| fail(&error))?)?;
        fs::write(fresh.join("boot"), boot_id()).map_err(|error| fail(&error))?;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&parent)
            .map_err(|error| fail(&error))?;
        if home.exists() && !is_complete(&home) {
            remove_tree(&home).map_err(|error| fail(&error))?;
        }
        match fs::rename(&fresh, &home) {
            // Another build was faster.
            Err(_) if is_complete(&home) => {}
            other => other.map_err(|error| fail(&error))?,
        }
        Ok(home.join("tree"))
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
                .map(drop)
                .map_err(|error| fail(&error))
        })
    }

    /// Plans the copying of one path, which is no pattern, as it is. Times stay those of the source, unlike a COPY's: a build
    /// tool that keeps results in a cache mount decides by them what changed.
    fn with_files<T>(
        &self,
        place: &Place<'_>,
        (from, source): (&CopyFrom, &str),
        (destination, existing): (&str, Option<&dyn Tree>),
        act: impl FnOnce(&CopyPlan<'_>, &dyn Tree) -> Result<T, StepFailure>,
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
            parents: false,
            unpack: false,
            date: &|time| time,
            dated_parents: true,
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
        act(&plan, origin.tree.as_ref())
    }
}

fn is_complete(home: &Path) -> bool {
    fs::read_to_string(home.join("boot")).is_ok_and(|boot| !boot.is_empty() && boot == boot_id())
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
