//! A container whose root is mounted, and what else it sees. The invariant: what the container writes is in a writable layer that
//! nobody else has, and the image's layers are only ever lower directories.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use image::{ChainId, DiffId, Store};
use rootfs::accounts::{Account, Accounts};
use rootfs::trees::{Trees, UnpackedLayer, WorkArea, WritableLayer, clear_unused_writable};
use rootfs::{DirTree, Ownership, Root};
use sandbox::{
    Forward, MemoryFile, MountSource, MountSpec, NetworkSpec, Overlay, SandboxSpec, SetupFailure,
    SharedNetwork, Upper,
};

use crate::container::{ContainerSpec, numeric_ids};
use crate::execute::{ExecuteError, Handles, Run, sandbox};
use crate::mount::{NamedVolume, Volume};
use crate::names;
use crate::own;
use crate::protocol::{FromSession, send};
use crate::reown::{self, Reowned, Wanted};
use crate::request::{Network, RunRequest, Secret};
use crate::userns::{Mapping, Owners};
use crate::volume::{HeldVolume, Volumes};

/// A container whose root is mounted.
pub(crate) struct Prepared {
    pub(crate) container: ContainerSpec,
    /// Taken while another takes its place.
    root: Option<OwnedFd>,
    lowers: Vec<PathBuf>,
    /// Part of the root.
    top: Option<Reowned>,
    /// Whom files belong to that the image's root owns, as the session counts.
    image_root: Option<u32>,
    /// What the container wrote goes with it.
    writable: WritableLayer,
    /// The network, if it needs a process of its own, and where its namespace has its path.
    network: Option<(SharedNetwork, WorkArea)>,
    /// Volumes that nobody may remove meanwhile.
    held: Vec<HeldVolume>,
    /// Holds the layers for as long as they are mounted; dropped last.
    store: Store,
}

impl Prepared {
    /// Mounts the image with a writable layer that was claimed for it.
    pub(crate) fn new(
        run: &Run<'_>,
        store: Store,
        mut writable: WritableLayer,
    ) -> Result<Self, ExecuteError> {
        let context = run.context;
        let ownership = Ownership::of_session(context.is_single_id(), context.image_ids());
        let trees = Trees::of(&store, ownership);
        let layers = trees.layers(&store, run.diff_ids())?;
        let mut lowers: Vec<PathBuf> = layers
            .iter()
            .rev()
            .map(|layer| layer.directory.clone())
            .collect();
        lowers.push(trees.skeleton(&store)?);
        let notice = |text: String| {
            // The main process may be gone; then nobody reads notices.
            let _ = send(&context.socket, &FromSession::Notice(text));
        };
        let reown = |mapping: Option<&Mapping>| match mapping.and_then(Mapping::owners) {
            Some(owners) if !context.is_single_id() => {
                reowned(&store, &layers, run.diff_ids(), owners, &notice)
            }
            _ => Ok(None),
        };
        // A USER of numbers says who is kept before any account is looked up, and then one mount is enough.
        let user = run.user();
        let expected = match &run.given {
            Some(map) => Some(Mapping::Given(map.clone())),
            None => numeric_ids(&user).map(|ids| run.request.userns.mapping(ids)),
        };
        let mut top = reown(expected.as_ref())?;
        let mut root = mount(&writable, top.as_ref(), &lowers)?;
        let container = run.container(&account(&root, &user, &run.request.program.groups)?)?;
        container.notices.iter().cloned().for_each(&notice);
        if expected.as_ref() != Some(&container.mapping) {
            let other = reown(Some(&container.mapping))?;
            if top.is_some() || other.is_some() {
                top = other;
                writable = WritableLayer::claim(&store)?;
                root = mount(&writable, top.as_ref(), &lowers)?;
            }
        }
        Ok(Self {
            container,
            root: Some(root),
            lowers,
            top,
            image_root: trees.image_root(),
            writable,
            network: None,
            held: Vec::new(),
            store,
        })
    }

    fn root(&self) -> Result<&OwnedFd, ExecuteError> {
        let root = self.root.as_ref();
        root.ok_or_else(|| ExecuteError::Stdio(io::ErrorKind::NotConnected.into()))
    }

    /// Mounts the image again, with what was written: the mount of a program that ended went with it.
    pub(crate) fn renew(&mut self) -> Result<(), ExecuteError> {
        // Two overlays must not have the same upper directory.
        self.root = None;
        self.held.clear();
        let root = overlay(&self.writable, lowers(self.top.as_ref(), &self.lowers))?;
        self.root = Some(root);
        Ok(())
    }

    /// Another user of the image, as its files say now.
    pub(crate) fn account(&self, user: &str) -> Result<Account, ExecuteError> {
        account(self.root()?, user, &[])
    }

    /// The sandbox; what it refers to is added to `handles`.
    pub(crate) fn spec(
        &mut self,
        run: &Run<'_>,
        handles: &mut Handles,
    ) -> Result<SandboxSpec, ExecuteError> {
        let root = self.root()?.try_clone().map_err(ExecuteError::Stdio)?;
        let root = handles.add(root);
        let mounts = self.mounts(run.request, handles)?;
        let network = self.network(run, handles)?;
        Ok(sandbox(&self.container, run.request, root, network, mounts))
    }

    fn mounts(
        &mut self,
        request: &RunRequest,
        handles: &mut Handles,
    ) -> Result<Vec<MountSpec>, ExecuteError> {
        let mut mounts = Vec::new();
        for volume in &request.mounts.volumes {
            mounts.push(self.bind(volume, handles)?);
        }
        for volume in &request.mounts.named {
            mounts.push(self.named(volume, handles)?);
        }
        let tmpfs = request.mounts.tmpfs.iter().map(|tmpfs| MountSpec {
            target: tmpfs.target.clone(),
            source: MountSource::Tmpfs {
                size: tmpfs.size,
                mode: tmpfs.mode,
            },
            read_only: tmpfs.read_only,
        });
        mounts.extend(tmpfs);
        // What is mounted below another must come after it.
        let depth = |target: &str| target.split('/').filter(|name| !name.is_empty()).count();
        mounts.sort_by_key(|mount| depth(&mount.target));
        let names = self.names(&request.network, handles)?;
        mounts.splice(0..0, names);
        for secret in &request.mounts.secrets {
            mounts.push(self.secret(secret, handles)?);
        }
        Ok(mounts)
    }

    fn bind(&self, volume: &Volume, handles: &mut Handles) -> Result<MountSpec, ExecuteError> {
        let failed = |source| ExecuteError::Volume {
            target: volume.target.clone(),
            source,
        };
        let handle = sandbox::detached_tree(&volume.source).map_err(failed)?;
        if volume.chown {
            self.give(&handle, &volume.source, &volume.target)?;
        }
        let directory = is_directory(&handle).map_err(|source| scratch(&volume.source, source))?;
        let source = MountSource::Tree {
            handle: handles.add(handle),
            directory,
        };
        Ok(MountSpec {
            target: volume.target.clone(),
            source,
            read_only: volume.read_only,
        })
    }

    /// A volume of the store, which is made and filled where this is its first use.
    fn named(
        &mut self,
        volume: &NamedVolume,
        handles: &mut Handles,
    ) -> Result<MountSpec, ExecuteError> {
        let held = Volumes::of(self.store.path()).hold(&volume.name)?;
        let owner = self.container.session_owner();
        held.fill(self.root()?, volume, owner)?;
        let path = held.data();
        let handle = sandbox::detached_tree(&path).map_err(|source| ExecuteError::Volume {
            target: volume.target.clone(),
            source,
        })?;
        if volume.chown {
            self.give(&handle, &path, &volume.target)?;
        }
        self.held.push(held);
        let source = MountSource::Tree {
            handle: handles.add(handle),
            directory: true,
        };
        Ok(MountSpec {
            target: volume.target.clone(),
            source,
            read_only: volume.read_only,
        })
    }

    fn give(&self, handle: &OwnedFd, path: &Path, target: &str) -> Result<(), ExecuteError> {
        let given = own::give(handle, self.container.session_owner());
        given.map_err(|source| ExecuteError::Give {
            target: target.to_owned(),
            source_path: path.to_owned(),
            source,
        })
    }

    fn secret(&self, secret: &Secret, handles: &mut Handles) -> Result<MountSpec, ExecuteError> {
        let failed = |source| ExecuteError::Volume {
            target: secret.target.clone(),
            source,
        };
        let user = self.container.session_owner();
        let ids = &self.container.ids;
        let id = |map: &sandbox::ExtentMap, id: Option<u32>, own: u32| match id {
            None => Ok(own),
            Some(id) => map
                .outside(id)
                .ok_or_else(|| failed(SetupFailure::unmapped(id))),
        };
        let owner = (
            id(&ids.uids, secret.owner.0, user.uid)?,
            id(&ids.gids, secret.owner.1, user.gid)?,
        );
        let file = MemoryFile {
            content: &secret.content,
            mode: secret.mode,
            owner: Some(owner),
        };
        let tree = sandbox::memory_file(self.writable.path(), &file).map_err(failed)?;
        Ok(MountSpec {
            target: secret.target.clone(),
            source: MountSource::Tree {
                handle: handles.add(tree),
                directory: false,
            },
            read_only: true,
        })
    }

    /// The files of /etc that say where the container is. In memory: they are few bytes, and gone with the container.
    fn names(
        &self,
        network: &Network,
        handles: &mut Handles,
    ) -> Result<Vec<MountSpec>, ExecuteError> {
        // A host without the file has no resolver to pass on.
        let host_resolv = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        let files = names::files(network, &self.container.hostname, &host_resolv);
        let in_memory = files.each_ref().map(|(name, text)| {
            let file = MemoryFile {
                content: text.as_bytes(),
                mode: 0o644,
                owner: self.image_root.map(|id| (id, id)),
            };
            (*name, file)
        });
        let made =
            sandbox::memory_files(self.writable.path(), in_memory).map_err(ExecuteError::Names)?;
        handles.keep(made.whole);
        let mounted = files
            .iter()
            .zip(made.trees)
            .map(|((name, _), tree)| MountSpec {
                target: format!("/etc/{name}"),
                source: MountSource::Tree {
                    handle: handles.add(tree),
                    directory: false,
                },
                read_only: false,
            });
        Ok(mounted.collect())
    }

    /// Removes what nobody will look for again, while the step gets ready and there is nothing to do but wait.
    pub(crate) fn tidy(&self) {
        // What stays goes with the writable layer.
        let _ = self.writable.unmark();
        clear_unused_writable(&self.store);
    }

    /// Removes what the container wrote, and holds nothing of the store any more. What comes back are its mounts: the kernel takes
    /// them down when this process is gone, which takes longer than all else here.
    pub(crate) fn clear(self) -> impl Sized {
        self.writable.clear();
        (self.root, self.top, self.writable)
    }

    fn network(
        &mut self,
        run: &Run<'_>,
        handles: &mut Handles,
    ) -> Result<NetworkSpec, ExecuteError> {
        Ok(match &run.request.network {
            Network::None => NetworkSpec::None,
            // The session is in it.
            Network::Host | Network::Joined { .. } => NetworkSpec::Host,
            Network::Pasta {
                program,
                forwards,
                mtu,
            } => {
                if self.network.is_none() {
                    let area = WorkArea::create(&self.store)?;
                    self.network = Some(connect(run, area, (program, *mtu), forwards)?);
                }
                let (shared, _) = self.network.as_ref().expect("it was just made");
                let namespace = shared.namespace().try_clone_to_owned();
                NetworkSpec::Shared(handles.add(namespace.map_err(ExecuteError::Stdio)?))
            }
        })
    }
}

fn connect(
    run: &Run<'_>,
    area: WorkArea,
    (program, mtu): (&Path, Option<u16>),
    forwards: &[Forward],
) -> Result<(SharedNetwork, WorkArea), ExecuteError> {
    let place = area.path().join("namespace");
    // passt(1).
    let options = mtu.map_or_else(Vec::new, |mtu| vec!["--mtu".to_owned(), mtu.to_string()]);
    let shared = SharedNetwork::start(program, &place, forwards, &options)?;
    if !forwards.is_empty() && sandbox::confuses_loopback(program) {
        run.notice("this pasta passes connections from 127.0.0.1 of this machine on as if they came from inside the container; one of October 2024 or later does not");
    }
    Ok((shared, area))
}

fn scratch(path: &Path, source: io::Error) -> ExecuteError {
    ExecuteError::Scratch {
        path: path.to_owned(),
        source,
    }
}

fn is_directory(handle: &OwnedFd) -> io::Result<bool> {
    let stat = rustix::fs::fstat(handle)?;
    Ok(rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir())
}

/// Mounts the image with a new writable layer, whose root looks like that of the topmost lower one.
fn mount(
    writable: &WritableLayer,
    top: Option<&Reowned>,
    below: &[PathBuf],
) -> Result<OwnedFd, ExecuteError> {
    let lowers = lowers(top, below);
    let upper = writable.upper();
    if let Some(top) = lowers.first() {
        let seen = fs::metadata(top).map_err(|source| scratch(&upper, source))?;
        std::os::unix::fs::chown(&upper, Some(seen.uid()), Some(seen.gid()))
            .and_then(|()| fs::set_permissions(&upper, seen.permissions()))
            .map_err(|source| scratch(&upper, source))?;
    }
    overlay(writable, lowers)
}

fn lowers(top: Option<&Reowned>, below: &[PathBuf]) -> Vec<PathBuf> {
    let top = top.map(Reowned::path).into_iter();
    top.chain(below.iter().cloned()).collect()
}

fn overlay(writable: &WritableLayer, lowers: Vec<PathBuf>) -> Result<OwnedFd, ExecuteError> {
    let (upper, work) = (writable.upper(), writable.work());
    let overlay = Overlay {
        lowers,
        data_only: Vec::new(),
        upper: Some(Upper { upper, work }),
    };
    overlay.mount().map_err(ExecuteError::Mount)
}

fn account(root: &OwnedFd, user: &str, groups: &[String]) -> Result<Account, ExecuteError> {
    // Only content matters here, and re-owned files belong to ids that are no image's.
    let ownership = Ownership::Recorded;
    let path = PathBuf::from(format!("/proc/self/fd/{}", root.as_raw_fd()));
    let tree = DirTree::new(Root::open(&path).map_err(ExecuteError::Root)?, ownership);
    let accounts = Accounts::of(&tree).map_err(ExecuteError::Account)?;
    let mut account = accounts.resolve_user(user).map_err(ExecuteError::Account)?;
    for group in groups {
        let gid = accounts.resolve_group(group);
        account.groups.push(gid.map_err(ExecuteError::Account)?);
    }
    account.groups.sort_unstable();
    account.groups.dedup();
    Ok(account)
}

fn reowned(
    store: &Store,
    layers: &[UnpackedLayer],
    diff_ids: &[DiffId],
    owners: Owners,
    notice: &dyn Fn(String),
) -> Result<Option<Reowned>, ExecuteError> {
    let Some(chain) = ChainId::of(diff_ids) else {
        return Ok(None);
    };
    let wanted = Wanted {
        layers,
        chain,
        owners,
    };
    Ok(reown::prepare(store, &wanted, notice)?)
}
