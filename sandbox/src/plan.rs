//! A sandbox's set-up as an ordered list of operations. The invariant: [`SetupPlan::of`] is pure, and performing the list
//! from the first to the last operation is all that happens between the start of a step's process and its program. What
//! does not depend on the root comes first, so that it can be done before the root is known.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::capabilities::CapabilitySet;
use crate::idmap::IdMap;
use crate::spec::{
    Handle, MountSource, MountSpec, NetworkSpec, ProcessSpec, ResourceLimit, SandboxSpec, UserSpec,
};

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SetupOp {
    /// Join a network namespace. It must come before the user namespace: joining needs power over the namespace's owner.
    JoinNetwork(Handle),
    /// Create a user namespace and have its maps written.
    UserNamespace(IdMap),
    /// Fork the first process of a process namespace, in a mount namespace of its own; it does what follows, so that all of the
    /// sandbox is gone with it.
    FirstProcess,
    /// Enter the cgroup whose limits hold for the sandbox. It must come before the cgroup namespace, which shows as root what
    /// its maker was in.
    EnterCgroup(Handle),
    /// Begin to make a network namespace whose `lo` is up, beside what follows.
    OwnNetwork,
    /// Create the other namespaces.
    Namespaces,
    /// Become user and group 0 of the namespace. Until then every new file would be refused (EOVERFLOW) or belong to the
    /// user outside.
    BecomeRoot {
        /// Whether setgroups(2) is possible: not where the namespace has one id.
        groups: bool,
    },
    /// Mount an empty file system to prepare kernel file systems in; targets are resolved in it until there is a root.
    Scaffold,
    /// Attach the detached root mount; every target below is resolved in it.
    AttachRoot(Handle),
    /// Move what was prepared at a path to the same path of the root.
    MoveIn(String),
    /// Join the network namespace that was begun.
    JoinOwnNetwork,
    /// Forbid user namespaces below this one, whatever seccomp says.
    ForbidUserNamespaces,
    /// Mount a new instance of a kernel file system.
    Mount {
        /// Its type.
        filesystem: String,
        /// Where.
        target: String,
        /// Its options.
        options: Vec<(String, String)>,
        /// Attributes of the mount.
        attributes: Vec<Attribute>,
        /// Whether the step goes on where the kernel refuses: an outer container may mask what is mounted here.
        optional: bool,
    },
    /// Bind one of the host's devices, by name below /dev, after a check of its number.
    Device(String),
    /// Bind the host's /sys, read-only with all below it: a new sysfs needs an own network namespace.
    BindSys,
    /// Make a symbolic link.
    Symlink {
        /// Where.
        path: String,
        /// What it says.
        target: String,
    },
    /// Attach a detached tree.
    Attach {
        /// The tree.
        tree: Handle,
        /// Whether it is a directory.
        directory: bool,
        /// Where.
        target: String,
        /// Whether it is made read-only.
        read_only: bool,
    },
    /// Hide a path under an empty file or directory, where it exists.
    Mask(String),
    /// Make a path read-only with all below it, where it exists.
    ReadOnly(String),
    /// Make the attached root `/`, and let go of the old one.
    PivotRoot {
        /// Whether the root mount itself becomes read-only.
        read_only: bool,
    },
    /// Set the host name.
    Hostname(String),
    /// Leave the caller's keyrings, session, terminal, signal actions and file mode mask.
    NewSession,
    /// Send handles of the namespaces of which the sandbox is made.
    TellNamespaces(Handle),
    /// Be looked into by no process that has no power over this one's memory. It must come before a process can be seen inside.
    Hide,
    /// Join a namespace of a running sandbox.
    Join {
        /// Which.
        namespace: Namespace,
        /// Its handle.
        handle: Handle,
    },
    /// Take the descriptors as standard input, output and error.
    Stdio([Handle; 3]),
    /// Make a terminal, which becomes the controlling one and standard input, output and error.
    Terminal {
        /// Where its other side is sent.
        door: Handle,
        /// Whose it is.
        uid: u32,
    },
    /// Enter the working directory, which must lie in the root.
    WorkingDirectory(String),
    /// Limit what each process may use up.
    Limit(ResourceLimit),
    /// Install the system call filter. It needs the power that the next operations give away.
    Seccomp,
    /// Limit the capabilities that the process can ever have.
    Bound(CapabilitySet),
    /// Take the program's ids.
    User {
        /// The ids.
        user: UserSpec,
        /// Whether setgroups(2) is possible.
        groups: bool,
        /// Whether capabilities survive.
        keep: bool,
    },
    /// Have a supervisor imitate the program's user and all owners.
    Supervise(Handle),
    /// Set the capabilities that the process has.
    Capabilities {
        /// The set.
        set: CapabilitySet,
        /// Whether it is ambient too.
        ambient: bool,
    },
    /// Give up what set-user-ID programs would bring.
    NoNewPrivileges,
    /// Execute the program; nothing but standard input, output and error stays open.
    Execute {
        /// The program and its arguments.
        argv: Vec<String>,
        /// Its environment.
        env: Vec<(String, String)>,
        /// Whether it becomes the child of this process, which then only passes signals on and reaps.
        init: bool,
    },
}

/// A kind of namespace, namespaces(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each variant is the kind of its name")]
pub enum Namespace {
    Network,
    User,
    Process,
    Ipc,
    Uts,
    Cgroup,
    Mount,
}

impl Namespace {
    /// In the order in which they can be joined: power over most comes with the user namespace, but the network one may belong to the
    /// session; joining the last changes the root.
    pub(crate) const ALL: [Self; 7] = [
        Self::Network,
        Self::User,
        Self::Process,
        Self::Ipc,
        Self::Uts,
        Self::Cgroup,
        Self::Mount,
    ];

    /// The name of its link in /proc/PID/ns.
    pub(crate) fn file(self) -> &'static str {
        match self {
            Self::Network => "net",
            Self::User => "user",
            Self::Process => "pid",
            Self::Ipc => "ipc",
            Self::Uts => "uts",
            Self::Cgroup => "cgroup",
            Self::Mount => "mnt",
        }
    }
}

/// An attribute of a mount, mount_setattr(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Attribute {
    /// No writes.
    ReadOnly,
    /// No set-user-ID.
    NoSuid,
    /// No devices.
    NoDev,
    /// No programs.
    NoExec,
}

/// The ordered list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetupPlan(pub Vec<SetupOp>);

/// Devices of a container, OCI runtime specification, "Default Devices"; each with its number in [`crate::target`].
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// Links in /dev, OCI runtime specification, "Default Devices".
const DEV_LINKS: [(&str, &str); 5] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/ptmx", "pts/ptmx"),
];

/// What Podman and Docker give /dev/shm.
const SHM_SIZE: u64 = 64 << 20;

/// What Podman masks (containers-common, `DefaultMaskedPaths`).
const MASKED: [&str; 13] = [
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/dev/block",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/selinux",
];

/// What Podman makes read-only.
const READ_ONLY: [&str; 6] = [
    "/proc/asound",
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

impl SetupPlan {
    /// Returns the operations that make the sandbox.
    pub fn of(spec: &SandboxSpec) -> Self {
        let groups = spec.ids.gids.len() > 1;
        let masks = || {
            spec.confinement
                .mask_paths
                .then(masks)
                .into_iter()
                .flatten()
        };
        let mut ops = namespaces(spec, groups);
        ops.push(SetupOp::Hostname(spec.hostname.clone()));
        ops.push(SetupOp::NewSession);
        ops.push(SetupOp::Bound(spec.confinement.capabilities));
        ops.push(SetupOp::Scaffold);
        ops.extend(filesystems(spec, groups));
        ops.extend(masks());
        // All are there by now, and /proc is still the session's.
        ops.extend(spec.namespaces.map(SetupOp::TellNamespaces));
        ops.push(SetupOp::AttachRoot(spec.root));
        ops.extend(PREPARED.map(|path| SetupOp::MoveIn(path.to_owned())));
        ops.extend(spec.mounts.iter().map(requested));
        if spec.mounts.iter().any(covers_kernel_interfaces) {
            ops.extend(masks());
        }
        ops.push(SetupOp::PivotRoot {
            read_only: spec.read_only_root,
        });
        ops.extend(process(&spec.process, spec, groups));
        Self(ops)
    }

    /// Returns the operations that make a process join the sandbox that `spec` describes, confined as the sandbox's own. Of the spec
    /// only what concerns a process counts; `namespaces` are handles in the order of [`crate::Namespaces::handles`].
    pub fn joining(spec: &SandboxSpec, namespaces: [Handle; 7]) -> Self {
        let groups = spec.ids.gids.len() > 1;
        let mut ops = vec![SetupOp::Hide];
        let all = Namespace::ALL.into_iter().zip(namespaces);
        // The host's is the session's, which it is in.
        let wanted = all.filter(|(namespace, _)| {
            *namespace != Namespace::Network || spec.network != NetworkSpec::Host
        });
        ops.extend(wanted.map(|(namespace, handle)| SetupOp::Join { namespace, handle }));
        // Before the cgroup namespace is joined, whose root may be out of reach from within.
        let fork = ops.iter().position(|op| {
            let SetupOp::Join { namespace, .. } = op else {
                return false;
            };
            *namespace == Namespace::Ipc
        });
        if let (Some(place), Some(door)) = (fork, spec.limits.cgroup) {
            ops.insert(place, SetupOp::EnterCgroup(door));
        }
        if spec.ids.uids.outside(0).is_some() && spec.ids.gids.outside(0).is_some() {
            ops.push(SetupOp::BecomeRoot { groups });
        }
        ops.push(SetupOp::NewSession);
        ops.push(SetupOp::Bound(spec.confinement.capabilities));
        ops.extend(process(&spec.process, spec, groups));
        Self(ops)
    }

    /// The operations that can be performed before the root is known, and those that cannot.
    pub(crate) fn parts(&self) -> (&[SetupOp], &[SetupOp]) {
        let attached = |op: &SetupOp| matches!(op, SetupOp::AttachRoot(_));
        let joined = |op: &SetupOp| matches!(op, SetupOp::NewSession);
        let position = self.0.iter().position(attached);
        let position = position.or_else(|| self.0.iter().position(joined));
        self.0.split_at(position.unwrap_or(self.0.len()))
    }
}

/// Where kernel file systems are, each with what is mounted in it.
const PREPARED: [&str; 3] = ["/proc", "/sys", "/dev"];

fn masks() -> impl Iterator<Item = SetupOp> {
    let hidden = MASKED.map(|path| SetupOp::Mask(path.to_owned()));
    let kept = READ_ONLY.map(|path| SetupOp::ReadOnly(path.to_owned()));
    hidden.into_iter().chain(kept)
}

/// Whether a mount may show again what is masked: it lies on a kernel file system, or hides one. Links in the image may lead
/// there too, so what is not known to be elsewhere counts.
fn covers_kernel_interfaces(mount: &MountSpec) -> bool {
    let elsewhere = ["/etc/", "/run/", "/tmp/", "/var/", "/dev/"];
    !elsewhere.iter().any(|path| mount.target.starts_with(path)) || mount.target.contains("..")
}

fn namespaces(spec: &SandboxSpec, groups: bool) -> Vec<SetupOp> {
    let mut ops = Vec::with_capacity(80);
    if let NetworkSpec::Shared(handle) = spec.network {
        ops.push(SetupOp::JoinNetwork(handle));
    }
    ops.push(SetupOp::UserNamespace(spec.ids.clone()));
    ops.push(SetupOp::FirstProcess);
    if spec.network == NetworkSpec::None {
        ops.push(SetupOp::OwnNetwork);
    }
    ops.extend(spec.limits.cgroup.map(SetupOp::EnterCgroup));
    ops.push(SetupOp::Namespaces);
    // In a namespace of one id the process is that id already, be it root or not.
    if spec.ids.uids.outside(0).is_some() && spec.ids.gids.outside(0).is_some() {
        ops.push(SetupOp::BecomeRoot { groups });
    }
    ops.push(SetupOp::ForbidUserNamespaces);
    ops
}

fn filesystems(spec: &SandboxSpec, groups: bool) -> Vec<SetupOp> {
    use Attribute::{NoDev, NoExec, NoSuid, ReadOnly};
    let mount = |filesystem: &str,
                 target: &str,
                 options: &[(&str, &str)],
                 attributes: &[Attribute]| SetupOp::Mount {
        filesystem: filesystem.to_owned(),
        target: target.to_owned(),
        options: options
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect(),
        attributes: attributes.to_vec(),
        optional: false,
    };
    let shm_size = spec.limits.shm_size.unwrap_or(SHM_SIZE).to_string();
    let mut ops = vec![mount("proc", "/proc", &[], &[NoSuid, NoDev, NoExec])];
    ops.push(mount(
        "tmpfs",
        "/dev",
        &[("mode", "755"), ("size", "65536k")],
        &[NoSuid, NoExec],
    ));
    ops.extend(DEVICES.map(|name| SetupOp::Device(name.to_owned())));
    // Group 5 is `tty` in every distribution; a namespace of one id cannot name it.
    let pts: &[(&str, &str)] = if groups {
        &[
            ("newinstance", ""),
            ("ptmxmode", "0666"),
            ("mode", "0620"),
            ("gid", "5"),
        ]
    } else {
        &[("newinstance", ""), ("ptmxmode", "0666"), ("mode", "0620")]
    };
    ops.push(mount("devpts", "/dev/pts", pts, &[NoSuid, NoExec]));
    ops.push(mount(
        "tmpfs",
        "/dev/shm",
        &[("mode", "1777"), ("size", &shm_size)],
        &[NoSuid, NoDev, NoExec],
    ));
    let mut queue = mount("mqueue", "/dev/mqueue", &[], &[NoSuid, NoDev, NoExec]);
    if let SetupOp::Mount { optional, .. } = &mut queue {
        // The kernel may be built without POSIX message queues.
        *optional = true;
    }
    ops.push(queue);
    ops.extend(DEV_LINKS.map(|(path, target)| SetupOp::Symlink {
        path: path.to_owned(),
        target: target.to_owned(),
    }));
    // Last: until then the network namespace is being made.
    if spec.network == NetworkSpec::None {
        ops.push(SetupOp::JoinOwnNetwork);
        ops.push(mount(
            "sysfs",
            "/sys",
            &[],
            &[ReadOnly, NoSuid, NoDev, NoExec],
        ));
    } else {
        ops.push(SetupOp::BindSys);
    }
    ops
}

fn requested(mount: &MountSpec) -> SetupOp {
    match &mount.source {
        MountSource::Tree { handle, directory } => SetupOp::Attach {
            tree: *handle,
            directory: *directory,
            target: mount.target.clone(),
            read_only: mount.read_only,
        },
        MountSource::Tmpfs { size, mode } => {
            let mut options = vec![("mode".to_owned(), format!("{mode:o}"))];
            options.extend(size.map(|bytes| ("size".to_owned(), bytes.to_string())));
            let mut attributes = vec![Attribute::NoSuid, Attribute::NoDev];
            attributes.extend(mount.read_only.then_some(Attribute::ReadOnly));
            let filesystem = "tmpfs".to_owned();
            SetupOp::Mount {
                filesystem,
                target: mount.target.clone(),
                options,
                attributes,
                optional: false,
            }
        }
    }
}

fn process(process: &ProcessSpec, spec: &SandboxSpec, groups: bool) -> Vec<SetupOp> {
    let confinement = &spec.confinement;
    let keep = confinement.ambient && process.user.uid != 0 && !confinement.capabilities.is_empty();
    let streams = match process.terminal {
        Some(door) => SetupOp::Terminal {
            door,
            uid: process.user.uid,
        },
        None => SetupOp::Stdio(process.stdio),
    };
    let mut ops = vec![streams, SetupOp::WorkingDirectory(process.cwd.clone())];
    ops.extend(spec.limits.resources.iter().copied().map(SetupOp::Limit));
    if confinement.seccomp {
        ops.push(SetupOp::Seccomp);
    }
    ops.push(SetupOp::User {
        user: match spec.supervisor {
            Some(_) => UserSpec::default(),
            None => process.user.clone(),
        },
        groups,
        keep,
    });
    // A filter needs a capability that the program may not have; after it the process is the step's user.
    ops.extend(spec.supervisor.map(SetupOp::Supervise));
    ops.push(SetupOp::Capabilities {
        set: confinement.capabilities,
        ambient: keep,
    });
    if confinement.no_new_privileges {
        ops.push(SetupOp::NoNewPrivileges);
    }
    ops.push(SetupOp::Execute {
        argv: process.argv.clone(),
        env: process.env.clone(),
        init: process.init,
    });
    ops
}

/// One line, as `--dry-run` prints it and as a failure names it.
impl fmt::Display for SetupOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::JoinNetwork(_) => f.write_str("join the build's network namespace"),
            Self::UserNamespace(ids) => {
                write!(
                    f,
                    "create a user namespace (uids {})",
                    one_line(&ids.uids.to_string())
                )
            }
            Self::FirstProcess => f.write_str("fork into a pid and a mount namespace"),
            Self::EnterCgroup(_) => f.write_str("enter the step's cgroup"),
            Self::OwnNetwork => f.write_str("begin to make a network namespace"),
            Self::Namespaces => f.write_str("create ipc, uts and cgroup namespaces"),
            Self::Scaffold => f.write_str("mount an empty file system to prepare in"),
            Self::MoveIn(path) => write!(f, "move {path} into the root"),
            Self::BecomeRoot { .. } => f.write_str("become the namespace's root"),
            Self::AttachRoot(_) => f.write_str("attach the root file system"),
            Self::JoinOwnNetwork => f.write_str("join the network namespace"),
            Self::ForbidUserNamespaces => f.write_str("forbid nested user namespaces"),
            Self::Mount {
                filesystem, target, ..
            } => write!(f, "mount {filesystem} at {target}"),
            Self::Device(name) => write!(f, "bind the device /dev/{name}"),
            Self::BindSys => f.write_str("bind /sys read-only"),
            Self::Symlink { path, target } => write!(f, "link {path} to {target}"),
            Self::Attach {
                target, read_only, ..
            } => {
                write!(
                    f,
                    "attach a tree at {target}{}",
                    if *read_only { " read-only" } else { "" }
                )
            }
            Self::Mask(path) => write!(f, "mask {path}"),
            Self::ReadOnly(path) => write!(f, "make {path} read-only"),
            Self::PivotRoot { read_only } => {
                write!(
                    f,
                    "pivot into the root file system{}",
                    if *read_only { ", read-only" } else { "" }
                )
            }
            Self::Hostname(name) => write!(f, "set the host name to {name}"),
            Self::NewSession => f.write_str("start a new session with an empty keyring"),
            Self::TellNamespaces(_) => f.write_str("tell the namespaces"),
            Self::Hide => f.write_str("hide from processes inside"),
            Self::Join { namespace, .. } => {
                write!(f, "join the {} namespace", namespace.file())
            }
            Self::Stdio(_) => f.write_str("take standard input, output and error"),
            Self::Terminal { .. } => f.write_str("make a terminal"),
            Self::WorkingDirectory(path) => write!(f, "enter {path}"),
            Self::Limit(limit) => write!(f, "limit {limit}"),
            Self::Seccomp => f.write_str("install the system call filter"),
            Self::Bound(set) => write!(f, "bound capabilities to {set}"),
            Self::User { user, .. } => write!(f, "become user {}:{}", user.uid, user.gid),
            Self::Supervise(_) => f.write_str("have users and owners imitated"),
            Self::Capabilities { set, .. } => write!(f, "set capabilities to {set}"),
            Self::NoNewPrivileges => f.write_str("set no_new_privs"),
            Self::Execute { argv, init, .. } => write!(
                f,
                "execute {}{}",
                argv.first().map_or("nothing", String::as_str),
                if *init { " below an init" } else { "" }
            ),
        }
    }
}

fn one_line(map: &str) -> String {
    map.trim_end().replace('\n', ", ")
}

impl fmt::Display for SetupPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|op| writeln!(f, "{op}"))
    }
}
