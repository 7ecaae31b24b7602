//! `RUN --mount`, made ready. The invariant: everything that a mount shows is there as a detached tree before the step starts,
//! and what has to live as long as the step (a lock, a relay) is held beside it; nothing is attached anywhere the session or
//! another step could see.

use std::any::Any;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rootfs::TreePath;
use rootfs::accounts::Account;
use rootfs::owners::DiskIds;
use sandbox::{Handle, MemoryFile, MountSource, MountSpec, detached_tree, memory_file};

use super::caches::HeldCaches;
use super::lookup::Place;
use super::views::UsedContext;
use super::{SessionTools, Workshop};
use crate::job::StepFailure;
use crate::mounts::{Access, RunMount, RunMountSource, SecretVariable};
use crate::settings::{Secret, Volume};
use crate::step::RunStep;

/// What is mounted.
pub(super) enum Mounted {
    /// A detached tree.
    Tree {
        tree: OwnedFd,
        directory: bool,
        read_only: bool,
    },
    /// A tmpfs that the step makes itself.
    Tmpfs { size: Option<u64>, mode: u32 },
}

/// A mount that is ready.
pub(super) struct ReadyMount {
    pub(super) target: String,
    pub(super) what: Mounted,
}

/// All mounts of one step.
#[derive(Default)]
pub(super) struct StepMounts {
    pub(super) mounts: Vec<ReadyMount>,
    /// What the program learns of them.
    pub(super) env: Vec<(String, String)>,
    /// Files of contexts that are read where they are.
    pub(super) contexts: Vec<UsedContext>,
    /// Dropped when the step has ended.
    kept: Vec<Box<dyn Any>>,
}

impl StepMounts {
    /// The mounts as a spec, whose handles are added to `handles`.
    pub(super) fn specs<'h>(&'h self, handles: &mut Vec<BorrowedFd<'h>>) -> Vec<MountSpec> {
        let spec = |mount: &'h ReadyMount| {
            let (source, read_only) = match &mount.what {
                Mounted::Tree {
                    tree,
                    directory,
                    read_only,
                } => {
                    handles.push(tree.as_fd());
                    let handle = Handle(handles.len() - 1);
                    let directory = *directory;
                    (MountSource::Tree { handle, directory }, *read_only)
                }
                Mounted::Tmpfs { size, mode } => {
                    let (size, mode) = (*size, *mode);
                    (MountSource::Tmpfs { size, mode }, false)
                }
            };
            MountSpec {
                target: mount.target.clone(),
                source,
                read_only,
            }
        };
        self.mounts.iter().map(spec).collect()
    }
}

impl Workshop<'_> {
    /// Makes the mounts of a RUN ready.
    pub(super) fn ready_mounts(
        &self,
        session: &SessionTools<'_>,
        place: &Place<'_>,
        run: &RunStep,
        account: &Account,
    ) -> Result<StepMounts, StepFailure> {
        let caches = self.hold_caches(session, place, run)?;
        let mut ready = StepMounts::default();
        for volume in &self.job.access.volumes {
            // What the Containerfile mounts there stands for the volume.
            if run.mounts.iter().all(|mount| mount.target != volume.target) {
                ready.mounts.push(shown(volume)?);
            }
        }
        for mount in &run.mounts {
            let what = self.ready_mount(session, place, mount, account, &caches, &mut ready)?;
            let target = mount.target.clone();
            ready
                .mounts
                .extend(what.map(|what| ReadyMount { target, what }));
        }
        for variable in &run.secret_env {
            ready.env.extend(self.secret_variable(variable)?);
        }
        ready.kept.push(Box::new(caches));
        Ok(ready)
    }

    /// Makes one mount ready; what has to live as long as the step, and what the program learns, is added to `ready`. `None` for a
    /// secret or an agent that may be missing, and is.
    fn ready_mount(
        &self,
        session: &SessionTools<'_>,
        place: &Place<'_>,
        mount: &RunMount,
        account: &Account,
        caches: &HeldCaches,
        ready: &mut StepMounts,
    ) -> Result<Option<Mounted>, StepFailure> {
        match &mount.source {
            RunMountSource::Tmpfs { size, mode } => Ok(Some(Mounted::Tmpfs {
                size: *size,
                mode: *mode,
            })),
            RunMountSource::Secret {
                id,
                required,
                access,
            } => self
                .secret(id, *required)?
                .map(|secret| secret_file(session, secret, *access))
                .transpose(),
            RunMountSource::Bind {
                from,
                source,
                writable,
            } => {
                let bind = (from, source.as_str(), *writable);
                self.bind_mount(session, place, mount, bind, &mut ready.contexts)
                    .map(Some)
            }
            RunMountSource::Cache(cache) => {
                self.cache_mount(session, place, cache, caches).map(Some)
            }
            RunMountSource::Ssh {
                id,
                required,
                access,
            } => {
                let access = of_user(*access, account);
                let Some((mounted, relay)) = self.agent(session, (id, *required), access)? else {
                    return Ok(None);
                };
                if ready.env.is_empty() {
                    let value = mount.target.clone();
                    ready.env.push(("SSH_AUTH_SOCK".to_owned(), value));
                }
                ready.kept.push(Box::new(relay));
                Ok(Some(mounted))
            }
        }
    }

    /// A secret as a variable.
    fn secret_variable(
        &self,
        variable: &SecretVariable,
    ) -> Result<Option<(String, String)>, StepFailure> {
        let Some(secret) = self.secret(&variable.id, variable.required)? else {
            return Ok(None);
        };
        let value = std::str::from_utf8(secret.bytes()).ok();
        let value = value.filter(|value| !value.contains('\0')).ok_or_else(|| {
            let id = &variable.id;
            StepFailure::saying(format!(
                "set ${}: the secret {id} is no text, which a variable must be",
                variable.name
            ))
            .hint("mount it as a file: --mount=type=secret,id=…,target=…")
        })?;
        Ok(Some((variable.name.clone(), value.to_owned())))
    }

    /// The secret of that name; what is not required may be missing.
    fn secret(&self, id: &str, required: bool) -> Result<Option<&Secret>, StepFailure> {
        match self.job.access.secrets.get(id) {
            None if required => Err(StepFailure::saying(format!(
                "find the secret {id:?}, which the step requires"
            ))
            .hint(format!(
                "give it: --secret id={id},src=FILE or --secret id={id},env=VARIABLE"
            ))),
            found => Ok(found),
        }
    }
}

/// An agent's socket is the step's user's, unless the mount says otherwise.
fn of_user(access: Access, account: &Account) -> Access {
    if (access.uid, access.gid) != (0, 0) {
        return access;
    }
    Access {
        uid: account.uid,
        gid: account.gid,
        ..access
    }
}

/// A file or directory of the machine, as it is.
fn shown(volume: &Volume) -> Result<ReadyMount, StepFailure> {
    let source = &volume.source;
    let directory = std::fs::metadata(source)
        .map_err(|error| {
            StepFailure::saying(format!("mount the volume {}: {error}", source.display()))
        })?
        .is_dir();
    let what = Mounted::Tree {
        tree: detached_tree(source).map_err(|error| StepFailure::of_build(&error))?,
        directory,
        read_only: volume.read_only,
    };
    Ok(ReadyMount {
        target: volume.target.clone(),
        what,
    })
}

fn secret_file(
    session: &SessionTools<'_>,
    secret: &Secret,
    access: Access,
) -> Result<Mounted, StepFailure> {
    let place = session
        .work
        .directory("secret")
        .map_err(|error| StepFailure::of_build(&error))?;
    let file = MemoryFile {
        content: secret.bytes(),
        mode: access.mode,
        owner: session_owner(session, access)?,
    };
    let tree = memory_file(&place, &file).map_err(|error| StepFailure::of_build(&error))?;
    Ok(Mounted::Tree {
        tree,
        directory: false,
        read_only: true,
    })
}

/// The ids that an owner has in the session while a step runs; `None` where it has one id only.
pub(super) fn session_owner(
    session: &SessionTools<'_>,
    access: Access,
) -> Result<Option<(u32, u32)>, StepFailure> {
    let on_disk = |id| {
        session
            .trees
            .ownership()
            .to_disk(id, &TreePath::root())
            .map_err(|error| StepFailure::of_build(&error))
    };
    let owner = on_disk(access.uid)?.zip(on_disk(access.gid)?);
    Ok(owner.map(|(uid, gid)| {
        let stored = DiskIds { uid, gid };
        let shown = session.kept.map_or(stored, |kept| kept.of(stored));
        (shown.uid, shown.gid)
    }))
}
