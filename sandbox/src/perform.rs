//! The loop that performs a plan. The invariant: operations run in the plan's order, in a process with one thread, and the
//! first that fails ends the set-up with its own name and the kernel's reason.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Gid, Uid};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
};

use crate::failure::{During, SetupFailure};
use crate::own_network::Joiner;
use crate::plan::{Attribute, SetupOp};
use crate::spec::{Handle, UserSpec};
use crate::target::{self, TargetRoot};
use crate::{capabilities, init, join, seccomp, supervisor, sys, terminal};

/// The state of a set-up inside the new namespaces.
pub(crate) struct Performer {
    handles: Vec<OwnedFd>,
    /// Where targets are resolved: in the scaffold, then in the root.
    root: Option<TargetRoot>,
    scaffold: Option<TargetRoot>,
    /// The network namespace that is being made.
    network: Option<Joiner>,
}

impl Performer {
    pub(crate) fn new(network: Option<Joiner>) -> Self {
        Self {
            handles: Vec::new(),
            root: None,
            scaffold: None,
            network,
        }
    }

    /// Takes the descriptors that the operations from here on name.
    pub(crate) fn take(&mut self, handles: Vec<OwnedFd>) {
        self.handles = handles;
    }

    /// Performs one operation. [`SetupOp::Execute`] returns only to tell that it failed.
    pub(crate) fn perform(&mut self, op: &SetupOp) -> Result<(), SetupFailure> {
        let here = || op.to_string();
        match op {
            SetupOp::JoinNetwork(_)
            | SetupOp::UserNamespace(_)
            | SetupOp::FirstProcess
            | SetupOp::Hide
            | SetupOp::OwnNetwork => Err(SetupFailure::new(here(), Errno::EINVAL)),
            SetupOp::EnterCgroup(door) => {
                // 0 is who writes, cgroups(7).
                rustix::io::write(self.handle(*door)?, b"0")
                    .map(drop)
                    .during(here)
            }
            SetupOp::Namespaces => unshare_rest().during(here),
            SetupOp::BecomeRoot { groups } => {
                become_user(&UserSpec::default(), *groups).during(here)
            }
            SetupOp::Scaffold => self.scaffold().during(here),
            SetupOp::AttachRoot(handle) => self.attach_root(*handle),
            SetupOp::MoveIn(path) => self.move_in(path),
            SetupOp::JoinOwnNetwork => {
                let network = self.network.take().ok_or(Errno::EBADF).during(here)?;
                network.join()
            }
            SetupOp::ForbidUserNamespaces => forbid_user_namespaces().during(here),
            SetupOp::Mount {
                filesystem,
                target,
                options,
                attributes,
                optional,
            } => match self.mount(filesystem, target, options, attributes) {
                Err(_) if *optional => Ok(()),
                other => other,
            },
            SetupOp::Device(name) => self.bind_device(name),
            SetupOp::BindSys => self.bind_sys(),
            SetupOp::Symlink { path, target } => self.root()?.symlink(path, target),
            SetupOp::Attach {
                tree,
                directory,
                target,
                read_only,
            } => self.attach(*tree, *directory, target, *read_only),
            SetupOp::Mask(path) => self.mask(path),
            SetupOp::ReadOnly(path) => self.make_read_only(path),
            SetupOp::PivotRoot { read_only } => self.pivot(*read_only),
            SetupOp::Hostname(name) => nix::unistd::sethostname(name).during(here),
            SetupOp::NewSession => {
                nix::unistd::setsid().map(drop).during(here)?;
                sys::reset_signals().during(here)?;
                rustix::process::umask(Mode::from_raw_mode(0o022));
                match sys::join_new_keyring() {
                    // The kernel may have no keyrings, or an outer container's filter hides them: nothing to leave then.
                    Ok(()) | Err(Errno::ENOSYS | Errno::EPERM) => Ok(()),
                    Err(errno) => Err(errno).during(here),
                }
            }
            SetupOp::TellNamespaces(door) => join::tell(self.handle(*door)?).during(here),
            SetupOp::Join { namespace, handle } => {
                join::enter(*namespace, self.handle(*handle)?).during(here)
            }
            SetupOp::Stdio(handles) => self.stdio(*handles).during(here),
            SetupOp::Terminal { door, uid } => {
                terminal::make(self.handle(*door)?, *uid).during(here)
            }
            SetupOp::WorkingDirectory(path) => enter(path),
            SetupOp::Limit(limit) => limit.apply().during(here),
            SetupOp::Seccomp => seccomp::install().during(here),
            SetupOp::Supervise(door) => supervisor::submit(self.handle(*door)?).during(here),
            SetupOp::Bound(set) => capabilities::bound(*set),
            SetupOp::User { user, groups, keep } => {
                nix::sys::prctl::set_keepcaps(*keep).during(here)?;
                become_user(user, *groups).during(|| explain_ids(user))
            }
            SetupOp::Capabilities { set, ambient } => capabilities::confine(*set, *ambient),
            SetupOp::NoNewPrivileges => nix::sys::prctl::set_no_new_privs().during(here),
            SetupOp::Execute { argv, env, init } => {
                if *init {
                    init::below().during(|| "start an init".into())?;
                }
                execute(argv, env)
            }
        }
    }

    fn handle(&self, handle: Handle) -> Result<&OwnedFd, SetupFailure> {
        self.handles
            .get(handle.0)
            .ok_or_else(|| SetupFailure::new("find a descriptor of the plan", Errno::EBADF))
    }

    fn root(&self) -> Result<&TargetRoot, SetupFailure> {
        self.root
            .as_ref()
            .ok_or_else(|| SetupFailure::new("find the root of the plan", Errno::EBADF))
    }

    /// The root is attached in the scaffold, and the scaffold in any directory that every host has: pivot_root(2) takes
    /// only a mount that is attached somewhere, and its place vanishes with the host's root.
    fn scaffold(&mut self) -> Result<(), rustix::io::Errno> {
        let place = ["/tmp", "/usr", "/etc"]
            .into_iter()
            .find(|path| std::path::Path::new(path).is_dir())
            .ok_or(rustix::io::Errno::NOENT)?;
        let fs = rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        rustix::mount::fsconfig_set_string(&fs, "mode", "755")?;
        rustix::mount::fsconfig_create(&fs)?;
        let flags = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
        let mount = rustix::mount::fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, flags)?;
        let to = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        rustix::mount::move_mount(&mount, "", CWD, place, to)?;
        for name in ["proc", "sys", "dev", "root"] {
            rustix::fs::mkdirat(&mount, name, Mode::from_raw_mode(0o755))?;
        }
        self.root = Some(TargetRoot::new(mount));
        Ok(())
    }

    fn attach_root(&mut self, handle: Handle) -> Result<(), SetupFailure> {
        let here = || "attach the root file system".to_owned();
        let root = self
            .handle(handle)?
            .try_clone()
            .during(|| "keep the root mount".into())?;
        let place = self.root()?.directory("/root").during(here)?;
        move_onto(&root, &place).during(here)?;
        self.scaffold = self.root.replace(TargetRoot::new(root));
        Ok(())
    }

    fn move_in(&self, path: &str) -> Result<(), SetupFailure> {
        let here = || format!("move {path} into the root");
        let scaffold = self.scaffold.as_ref().ok_or(Errno::EBADF).during(here)?;
        let tree = scaffold.directory(path).during(here)?;
        let place = self.root()?.real_directory(path)?;
        move_onto(&tree, &place).during(here)
    }

    fn mount(
        &self,
        filesystem: &str,
        target: &str,
        options: &[(String, String)],
        attributes: &[Attribute],
    ) -> Result<(), SetupFailure> {
        let here = || format!("mount {filesystem} at {target}");
        let place = match filesystem {
            "tmpfs" if !target.starts_with("/dev") => self.root()?.mount_point(target, true)?,
            _ => self.root()?.real_directory(target)?,
        };
        let fs = rustix::mount::fsopen(filesystem, FsOpenFlags::FSOPEN_CLOEXEC).during(here)?;
        for (key, value) in options {
            if value.is_empty() {
                rustix::mount::fsconfig_set_flag(&fs, key.as_str()).during(here)?;
            } else {
                rustix::mount::fsconfig_set_string(&fs, key.as_str(), value.as_str())
                    .during(here)?;
            }
        }
        rustix::mount::fsconfig_create(&fs).during(here)?;
        let flags = attributes
            .iter()
            .fold(MountAttrFlags::empty(), |flags, a| flags | mount_flag(*a));
        let mount =
            rustix::mount::fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, flags).during(here)?;
        move_onto(&mount, &place).during(here)
    }

    fn bind_device(&self, name: &str) -> Result<(), SetupFailure> {
        let device = target::host_device(name)?;
        let path = format!("/dev/{name}");
        let place = self.root()?.mount_point(&path, false)?;
        move_onto(&device, &place).during(|| format!("bind {path}"))
    }

    fn bind_sys(&self) -> Result<(), SetupFailure> {
        let place = self.root()?.real_directory("/sys")?;
        let tree = clone_tree(CWD, "/sys", true).during(|| "clone the host's /sys".into())?;
        let attributes = libc::MOUNT_ATTR_RDONLY
            | libc::MOUNT_ATTR_NOSUID
            | libc::MOUNT_ATTR_NODEV
            | libc::MOUNT_ATTR_NOEXEC;
        sys::mount_setattr(&tree, true, attributes).during(|| "make /sys read-only".into())?;
        move_onto(&tree, &place).during(|| "bind /sys".into())
    }

    fn attach(
        &self,
        tree: Handle,
        directory: bool,
        path: &str,
        read_only: bool,
    ) -> Result<(), SetupFailure> {
        let place = self.root()?.mount_point(path, directory)?;
        let tree = self.handle(tree)?;
        // As Podman's volumes: programs in them gain nothing, and devices in them are none.
        let mut attributes = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
        if read_only {
            attributes |= libc::MOUNT_ATTR_RDONLY;
        }
        sys::mount_setattr(tree, true, attributes)
            .during(|| format!("confine what is attached at {path}"))?;
        move_onto(tree, &place).during(|| format!("attach a tree at {path}"))
    }

    fn mask(&self, path: &str) -> Result<(), SetupFailure> {
        let Some(place) = self
            .root()?
            .existing(path)
            .during(|| format!("open {path}"))?
        else {
            return Ok(());
        };
        let here = || format!("mask {path}");
        let stat = rustix::fs::fstat(&place).during(here)?;
        if rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir() {
            let fs = rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).during(here)?;
            rustix::mount::fsconfig_set_string(&fs, "size", "0k").during(here)?;
            rustix::mount::fsconfig_create(&fs).during(here)?;
            let flags = MountAttrFlags::MOUNT_ATTR_RDONLY
                | MountAttrFlags::MOUNT_ATTR_NOSUID
                | MountAttrFlags::MOUNT_ATTR_NODEV;
            let mount =
                rustix::mount::fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, flags).during(here)?;
            move_onto(&mount, &place).during(here)
        } else {
            move_onto(&target::host_device("null")?, &place).during(here)
        }
    }

    fn make_read_only(&self, path: &str) -> Result<(), SetupFailure> {
        let Some(place) = self
            .root()?
            .existing(path)
            .during(|| format!("open {path}"))?
        else {
            return Ok(());
        };
        let here = || format!("make {path} read-only");
        let tree = clone_tree(&place, "", true).during(here)?;
        sys::mount_setattr(&tree, true, libc::MOUNT_ATTR_RDONLY).during(here)?;
        move_onto(&tree, &place).during(here)
    }

    fn pivot(&mut self, read_only: bool) -> Result<(), SetupFailure> {
        let here = || "pivot into the root file system".to_owned();
        let root = self.root()?;
        if read_only {
            sys::mount_setattr(root, false, libc::MOUNT_ATTR_RDONLY)
                .during(|| "make the root read-only".into())?;
        }
        rustix::process::fchdir(root).during(here)?;
        // pivot_root(".", ".") stacks the old root on the new one, from where it is unmounted, pivot_root(2).
        rustix::process::pivot_root(".", ".").during(here)?;
        rustix::mount::unmount(".", UnmountFlags::DETACH)
            .during(|| "let go of the host's root".into())?;
        rustix::process::chdir("/").during(here)?;
        self.root = None;
        self.scaffold = None;
        Ok(())
    }

    fn stdio(&self, handles: [Handle; 3]) -> Result<(), Errno> {
        let fds = handles.map(|h| self.handles.get(h.0).ok_or(Errno::EBADF));
        let raw = |errno: rustix::io::Errno| Errno::from_raw(errno.raw_os_error());
        rustix::stdio::dup2_stdin(fds[0]?).map_err(raw)?;
        rustix::stdio::dup2_stdout(fds[1]?).map_err(raw)?;
        rustix::stdio::dup2_stderr(fds[2]?).map_err(raw)
    }
}

/// All namespaces but those that the first process is born in or is given.
fn unshare_rest() -> Result<(), Errno> {
    unshare(CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWCGROUP)
}

fn mount_flag(attribute: Attribute) -> MountAttrFlags {
    match attribute {
        Attribute::ReadOnly => MountAttrFlags::MOUNT_ATTR_RDONLY,
        Attribute::NoSuid => MountAttrFlags::MOUNT_ATTR_NOSUID,
        Attribute::NoDev => MountAttrFlags::MOUNT_ATTR_NODEV,
        Attribute::NoExec => MountAttrFlags::MOUNT_ATTR_NOEXEC,
    }
}

fn clone_tree(at: impl AsFd, path: &str, recursive: bool) -> Result<OwnedFd, rustix::io::Errno> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if path.is_empty() {
        flags |= OpenTreeFlags::AT_EMPTY_PATH;
    }
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    rustix::mount::open_tree(at, path, flags)
}

fn move_onto(mount: impl AsFd, place: impl AsFd) -> Result<(), rustix::io::Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(mount, "", place, "", flags)
}

fn become_user(user: &UserSpec, groups: bool) -> Result<(), Errno> {
    if groups {
        let ids: Vec<Gid> = user.groups.iter().copied().map(Gid::from_raw).collect();
        nix::unistd::setgroups(&ids)?;
    }
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    nix::unistd::setresgid(gid, gid, gid)?;
    nix::unistd::setresuid(uid, uid, uid)
}

/// EINVAL here means an id without a mapping, user_namespaces(7), which its text does not say.
fn explain_ids(user: &UserSpec) -> String {
    format!(
        "become user {}:{} (ids outside the namespace's map are refused as invalid)",
        user.uid, user.gid
    )
}

/// Writing 0 below the limits of one's own namespace keeps user namespaces from being made in it; the enclosing ones keep
/// theirs (namespaces(7), /proc/sys/user).
fn forbid_user_namespaces() -> std::io::Result<()> {
    match std::fs::write("/proc/sys/user/max_user_namespaces", "0") {
        // An outer container may have /proc/sys read-only; the filter still stands.
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(libc::EROFS | libc::ENOENT | libc::EACCES)
            ) =>
        {
            Ok(())
        }
        other => other,
    }
}

/// A path like /proc/self/fd/7 must not lead out through one of rbuild's own descriptors (CVE-2024-21626).
fn enter(path: &str) -> Result<(), SetupFailure> {
    let here = || format!("enter the working directory {path}");
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open("/", flags, Mode::empty()).during(here)?;
    let directory = TargetRoot::new(root).directory(path).during(here)?;
    rustix::process::fchdir(&directory).during(here)
}

fn execute(argv: &[String], env: &[(String, String)]) -> Result<(), SetupFailure> {
    let program = argv.first().map_or("", String::as_str);
    let here = || format!("execute {program}");
    let c_string =
        |text: &str| CString::new(text).map_err(|_| SetupFailure::new(here(), Errno::EINVAL));
    let arguments = argv
        .iter()
        .map(|a| c_string(a))
        .collect::<Result<Vec<_>, _>>()?;
    let environment = env
        .iter()
        .map(|(k, v)| c_string(&format!("{k}={v}")))
        .collect::<Result<Vec<_>, _>>()?;
    // Descriptor 3 is the pipe that carries a failure home; it closes itself when the program starts. All others are
    // closed before the kernel resolves the program's path, so that it cannot lead through one of them.
    sys::close_from(4).during(|| "close rbuild's descriptors".into())?;
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)
        .during(|| "ask for the parent's death signal".into())?;
    let mut failure = Errno::ENOENT;
    for candidate in candidates(program, env) {
        // execve returns only on failure.
        let Err(errno) = nix::unistd::execve(&c_string(&candidate)?, &arguments, &environment);
        // Like a shell: a file that may not be executed is remembered, the search goes on (execvp(3)).
        match errno {
            Errno::ENOENT | Errno::ENOTDIR => {}
            Errno::EACCES => failure = errno,
            _ => return Err(errno).during(here),
        }
    }
    Err(failure).during(here)
}

/// Where a program is looked for that is called so.
pub(crate) fn candidates(program: &str, env: &[(String, String)]) -> Vec<String> {
    if program.contains('/') || program.is_empty() {
        return vec![program.to_owned()];
    }
    let path = env
        .iter()
        .rev()
        .find(|(key, _)| key == "PATH")
        .map_or("", |(_, value)| value.as_str());
    path.split(':')
        .map(|dir| {
            if dir.is_empty() {
                format!("./{program}")
            } else {
                format!("{dir}/{program}")
            }
        })
        .collect()
}
