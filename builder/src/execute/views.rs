//! What a RUN sees of a context. The invariant: without what is ignored, everything root's, and with the contents that the step's
//! key was made of, or the step fails.
//!
//! From Linux 6.16 nothing is copied: empty files with owner, mode and size redirect to those of the context
//! ([`rootfs::redirect`]), so these are looked at again when the step has ended. Where the kernel refuses that (before 6.16, the
//! store inside the context, something mounted in it), there are copies.
//!
//! ```text
//! trees/contexts/NAME/boot     the boot in which it was made: derived data, nothing waits for the disk
//!                     tree/    what the step sees, named by all that it shows
//! ```

use std::fs;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use image::{Area, Digest};
use rootfs::copy::{CopyError, CopyPlan, DetachedPlan};
use rootfs::trees::{boot_id, remove_tree};
use rootfs::{Root, TreePath};
use rustix::fs::Mode;
use sandbox::Overlay;

use super::copying::Origin;
use super::lookup::Place;
use super::{SessionTools, Workshop};
use crate::job::StepFailure;
use crate::key;
use crate::step::CopyFrom;

/// What to mount for a part of a context.
pub(super) struct View {
    pub(super) lower: PathBuf,
    /// The context itself, where the files are redirected to.
    pub(super) data: Option<Root>,
    /// The path in it.
    pub(super) path: String,
    /// What has to be as it is until the step has ended.
    pub(super) used: Option<UsedContext>,
}

/// Files of a context that a step reads where they are.
pub(super) struct UsedContext {
    from: CopyFrom,
    plan: DetachedPlan,
    content: Digest,
}

/// How a view holds its files.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Redirects,
    Copies,
}

fn fail(error: &dyn std::error::Error) -> StepFailure {
    StepFailure::of_build(error)
}

pub(super) fn changed(path: &dyn std::fmt::Display) -> StepFailure {
    StepFailure::saying(format!(
        "use the build context: '{path}' changed while the step used it"
    ))
    .hint("nothing of the step is kept: build again, and let the ignore file name what others write meanwhile")
}

impl Workshop<'_> {
    /// What a step may see of a context.
    pub(super) fn view_of_context(
        &self,
        session: &SessionTools<'_>,
        place: &Place<'_>,
        from: &CopyFrom,
        source: &str,
    ) -> Result<View, StepFailure> {
        self.with_files(place, (from, source), ("/", None), |plan, origin| {
            let (path, mode) = top_of(origin, source)?;
            let content = self.content_of_plan(&plan, origin)?;
            let outline = plan.outline().map_err(|error| fail(&error))?;
            let shown = [
                outline.to_string(),
                content.to_string(),
                format!("{mode:o}"),
            ];
            let shown: Vec<&[u8]> = shown.iter().map(String::as_bytes).collect();
            let hex = key::hash(&[&[b"view".as_slice()], &shown[..]].concat()).hex();
            if let Some((data, lower)) = self.redirected(session, &plan, origin, (&hex, mode))? {
                let used = UsedContext {
                    from: from.clone(),
                    plan: plan.detach(),
                    content,
                };
                return Ok(View {
                    lower,
                    data: Some(data),
                    path,
                    used: Some(used),
                });
            }
            let lower = self.kept_view(session, Form::Copies, &plan, (&hex, mode))?;
            // What was copied is what was hashed.
            plan.unchanged().map_err(|error| explain(&error))?;
            Ok(View {
                lower: lower.ok_or_else(StepFailure::cancelled)?,
                data: None,
                path,
                used: None,
            })
        })
    }

    /// A view without copies, and the directory that its content is in; `None` where there can be none.
    fn redirected(
        &self,
        session: &SessionTools<'_>,
        plan: &CopyPlan<'_>,
        origin: &Origin,
        named: (&str, u32),
    ) -> Result<Option<(Root, PathBuf)>, StepFailure> {
        // Another order of files comes from one more lower directory, which the kernel refuses beside redirects.
        let Some(directory) = origin.directory.as_ref().filter(|_| !self.job.disturbed) else {
            return Ok(None);
        };
        let data = Root::open(directory).map_err(|error| fail(&error))?;
        // Asked of the kernel itself, with nothing to show: what it refuses depends on more than its version.
        let empty = session
            .work
            .directory("probe")
            .map_err(|error| fail(&error))?;
        let probe = Overlay {
            lowers: vec![empty],
            data_only: vec![path_of(&data)],
            upper: None,
        };
        if probe.mount().is_err() {
            return Ok(None);
        }
        let view = self.kept_view(session, Form::Redirects, plan, named)?;
        Ok(view.map(|lower| (data, lower)))
    }

    /// The view of that name and mode, made if it is not there or of an earlier boot, when nothing waited for the disk; `None`
    /// where a file system cannot hold it.
    fn kept_view(
        &self,
        session: &SessionTools<'_>,
        form: Form,
        plan: &CopyPlan<'_>,
        (hex, mode): (&str, u32),
    ) -> Result<Option<PathBuf>, StepFailure> {
        let owners = match session.trees.ownership() {
            rootfs::Ownership::Mapped { .. } => "mapped",
            _ => "squashed",
        };
        let name = match form {
            Form::Redirects => format!("{owners}-redirects-{hex}"),
            Form::Copies => format!("{owners}-{hex}"),
        };
        self.store
            .hold_entry(Area::Trees, &format!("contexts/{name}"))
            .map_err(|error| fail(&error))?;
        let parent = self.store.subdir(Area::Trees).join("contexts");
        let home = parent.join(&name);
        if is_complete(&home) {
            return Ok(Some(home.join("tree")));
        }
        let fresh = session
            .work
            .directory("context")
            .map_err(|error| fail(&error))?;
        let tree = fresh.join("tree");
        fs::create_dir(&tree).map_err(|error| fail(&error))?;
        if !write(session, form, plan, &tree, mode)? {
            return Ok(None);
        }
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
        Ok(Some(home.join("tree")))
    }

    /// Makes sure that files which a step read where they are have not changed since its key was made.
    pub(super) fn check_used(
        &self,
        place: &Place<'_>,
        used: Vec<UsedContext>,
    ) -> Result<(), StepFailure> {
        for context in used {
            let origin = self.origin(&context.from, place.finished)?;
            let plan = context.plan.attach(origin.tree.as_ref());
            plan.unchanged().map_err(|error| explain(&error))?;
            // What was written just before the build may have changed within one tick of the clock: it is read again.
            if self.content_of_plan(&plan, &origin)? != context.content {
                return Err(changed(&"a file written just now"));
            }
        }
        Ok(())
    }
}

fn write(
    session: &SessionTools<'_>,
    form: Form,
    plan: &CopyPlan<'_>,
    tree: &Path,
    mode: u32,
) -> Result<bool, StepFailure> {
    session
        .trees
        .give_to_image_root(tree)
        .map_err(|error| fail(&error))?;
    let root = Root::open(tree).map_err(|error| fail(&error))?;
    let ownership = session.trees.ownership();
    let written = match form {
        Form::Redirects => plan.write_redirects(&root, ownership),
        Form::Copies => plan.write_tree(&root, ownership),
    };
    match written {
        Err(CopyError::Redirect { .. }) => return Ok(false),
        other => other.map_err(|error| explain(&error))?,
    };
    rustix::fs::fchmod(&root, Mode::from_raw_mode(mode)).map_err(|error| fail(&error))?;
    Ok(true)
}

fn explain(error: &CopyError) -> StepFailure {
    match error {
        CopyError::Changed { path } => changed(path),
        other => fail(other),
    }
}

/// The path of what is mounted, and the mode of the view's root directory.
fn top_of(origin: &Origin, source: &str) -> Result<(String, u32), StepFailure> {
    let named = TreePath::clamped(source).map_err(|error| fail(&error))?;
    let found = origin.tree.lookup(&named).map_err(|error| fail(&error))?;
    let top = found.filter(|(_, meta)| meta.is_dir());
    let path = match (&top, named.file_name()) {
        (None, Some(name)) => format!("/{}", String::from_utf8_lossy(name)),
        _ => "/".to_owned(),
    };
    Ok((path, top.map_or(0o755, |(_, meta)| meta.mode)))
}

/// A path that leads to an open directory, whatever becomes of its names.
pub(super) fn path_of(directory: &Root) -> PathBuf {
    PathBuf::from(format!(
        "/proc/self/fd/{}",
        std::os::fd::AsFd::as_fd(directory).as_raw_fd()
    ))
}

fn is_complete(home: &Path) -> bool {
    fs::read_to_string(home.join("boot")).is_ok_and(|boot| !boot.is_empty() && boot == boot_id())
}
