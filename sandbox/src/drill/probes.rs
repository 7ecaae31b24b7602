//! The probes of the isolation drill. The invariant: each is one row with what it must come to inside a step, and with a
//! place where it must come to something else, so that a probe which can only fail is noticed.

use std::net::Ipv4Addr;
use std::path::Path;

use nix::errno::Errno;

use super::acts;
use super::canary::Canary;

/// A protection that a spec can switch off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protection {
    /// The system call filter.
    Filter,
    /// The bound on capabilities.
    Capabilities,
    /// Masked and read-only paths.
    Masks,
}

/// Where a probe has another result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// In a build step without these protections, and only without all of them; where it names none, only containers are protected.
    Without(&'static [Protection]),
    /// On the host, for everybody: there it succeeds.
    Host,
    /// On the host, for root: there it succeeds.
    Root,
    /// Nowhere: the kernel may lack the thing, other protections stand behind this one, or success would do harm.
    Nowhere,
}

/// An attempt to get out, or at something.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    /// Its row in the drill.
    pub id: &'static str,
    /// Its name.
    pub name: &'static str,
    /// What it comes to inside: names of errors or signals.
    pub inside: &'static str,
    /// Where it comes to something else.
    pub control: Control,
    /// The attempt.
    pub act: fn(&Canary) -> Result<(), Errno>,
}

use Control::{Host, Nowhere, Root, Without};
use Protection::{Capabilities, Filter, Masks};

const FILTER: Control = Without(&[Filter]);
const POWER: Control = Without(&[Filter, Capabilities]);
const MASKS: Control = Without(&[Masks]);
const CAPABILITIES: Control = Without(&[Capabilities]);

macro_rules! probes {
    ($($id:ident $name:literal $inside:literal $control:expr, $act:expr;)*) => {
        &[$(Probe { id: stringify!($id), name: $name, inside: $inside, control: $control, act: $act }),*]
    };
}

impl Probe {
    /// Whether a result is what it must come to inside.
    pub fn is_inside(&self, result: &str) -> bool {
        self.inside.split(' ').any(|expected| expected == result)
    }
}

/// All of them.
pub const PROBES: &[Probe] = probes! {
    D01 "host-file" "ENOENT" Host, |c| acts::read(&c.file);
    D01 "host-file-by-dots" "ENOENT" Host, |c| acts::read(&acts::up_and_to(Path::new("."), &c.file));
    D01 "host-file-by-pid-1" "ENOENT EACCES" Nowhere, |c| acts::read(&acts::up_and_to(Path::new("/proc/1/root"), &c.file));
    D01 "host-file-by-process" "ENOENT" Host, |c| acts::read(&acts::up_and_to(Path::new(&format!("/proc/{}/root", c.pid)), &c.file));
    D01 "host-file-by-cwd" "ENOENT" Host, |c| acts::read(&acts::up_and_to(Path::new("/proc/self/cwd"), &c.file));
    D01 "host-file-by-descriptor" "ENOENT ENOTDIR" Nowhere, |c| acts::read_through_descriptors(&c.file);
    D01 "host-file-write" "ENOENT" Host, |c| acts::open_for_writing(&c.file);
    D02 "signal-host-process" "ESRCH" Host, |c| acts::signal(c.pid, 0);
    D03 "mount-tmpfs" "EPERM" POWER, |_| acts::mount(c"tmpfs", c"/tmp", c"tmpfs", 0);
    D03 "mount-bind" "EPERM" POWER, |_| acts::mount(c"/etc", c"/tmp", c"", libc::MS_BIND);
    D03 "mount-proc" "EPERM" POWER, |_| acts::mount(c"proc", c"/tmp", c"proc", 0);
    D03 "unmount-mask" "EPERM" POWER, |_| acts::unmount(c"/proc/interrupts");
    D03 "remount-writable" "EPERM" POWER, |_| acts::mount(c"", c"/proc/sys", c"", libc::MS_REMOUNT | libc::MS_BIND);
    D03 "fsopen" "EPERM" POWER, |_| acts::call(libc::SYS_fsopen, [c"tmpfs".into(), 0.into()]);
    D03 "open-tree" "EPERM" POWER, |_| acts::call(libc::SYS_open_tree, [libc::AT_FDCWD.into(), c"/etc".into(), 1.into()]);
    D03 "move-mount" "EPERM" POWER, |_| acts::reached(Errno::ENOENT, acts::move_nothing());
    D03 "mount-setattr" "EPERM" POWER, |_| acts::set_no_attribute();
    D04 "pivot-root" "EPERM" POWER, |_| acts::reached(Errno::EBUSY, acts::call(libc::SYS_pivot_root, [c"/".into(), c"/".into()]));
    D04 "host-file-by-chroot" "ENOENT EPERM" Root, |c| acts::escape_by_chroot(&c.file);
    D04 "open-by-handle" "EPERM" Nowhere, |_| acts::call(libc::SYS_open_by_handle_at, [libc::AT_FDCWD.into(), c"".into(), 0.into()]);
    D05 "unshare-user" "EPERM" FILTER, |_| acts::unshare(libc::CLONE_NEWUSER);
    D05 "unshare-mount" "EPERM" POWER, |_| acts::unshare(libc::CLONE_NEWNS);
    D05 "unshare-network" "EPERM" POWER, |_| acts::unshare(libc::CLONE_NEWNET);
    D05 "clone-user" "EPERM" FILTER, |_| acts::clone(libc::CLONE_NEWUSER);
    D05 "clone-user-upper-bits" "EPERM" FILTER, |_| acts::clone(libc::CLONE_NEWUSER | libc::CLONE_NEWUTS);
    D05 "clone3" "ENOSYS" FILTER, |_| acts::call(libc::SYS_clone3, [0.into(), 0.into()]);
    D05 "setns" "EPERM" POWER, |_| acts::join_own_uts();
    D06 "read-masked" "ENODATA" MASKS, |_| acts::read_any_masked();
    D07 "write-core-pattern" "EROFS EACCES" Nowhere, |_| acts::open_for_writing(Path::new("/proc/sys/kernel/core_pattern"));
    D07 "write-sysrq" "EROFS EACCES ENOENT" Nowhere, |_| acts::open_for_writing(Path::new("/proc/sysrq-trigger"));
    D07 "write-any-sysctl" "EROFS EACCES" MASKS, |_| acts::open_any_for_writing("/proc/sys");
    D07 "raise-namespace-limit" "EROFS" Without(&[Masks, Capabilities]), |_| acts::write(Path::new("/proc/sys/user/max_user_namespaces"), "9");
    D08 "write-any-sysfs" "EROFS EACCES" Nowhere, |_| acts::open_any_for_writing("/sys");
    D09 "other-device" "ENOENT" Host, |_| acts::find_other_device();
    D10 "mknod-block" "EPERM" Root, |c| acts::make_device(c, rustix::fs::FileType::BlockDevice);
    D10 "mknod-char" "EPERM" Root, |c| acts::make_device(c, rustix::fs::FileType::CharacterDevice);
    D11 "new-privileges" "EACCES" Without(&[]), |_| acts::may_gain_privileges();
    D12 "no-filter" "EACCES" FILTER, |_| acts::be_unfiltered();
    D12 "rare-capability" "ENODATA" CAPABILITIES, |_| acts::gain_rare_capability();
    D12 "inheritable-capability" "ENODATA" Nowhere, |_| acts::hand_capabilities_on();
    D13 "every-id-mapped" "ENODATA" Host, |_| acts::be_on_the_host();
    D14 "setuid-unmapped" "EINVAL" Root, |_| acts::call(libc::SYS_setuid, [70_000.into()]);
    D14 "setgid-unmapped" "EINVAL" Root, |_| acts::call(libc::SYS_setgid, [70_000.into()]);
    D14 "chown-unmapped" "EINVAL" Root, |_| acts::chown_new_file(70_000);
    D16 "pidfd-of-host-process" "ESRCH" Host, |c| acts::call(libc::SYS_pidfd_open, [c.pid.into(), 0.into()]);
    D16 "trace-host-process" "ESRCH" Root, |c| acts::trace(c.pid);
    D16 "read-host-process" "ENOENT" Host, |c| acts::read(Path::new(&format!("/proc/{}/cmdline", c.pid)));
    D17 "environment-of-host-process" "ENOENT" Host, |c| acts::read(Path::new(&format!("/proc/{}/environ", c.pid)));
    D17 "maps-of-host-process" "ENOENT" Host, |c| acts::read(Path::new(&format!("/proc/{}/maps", c.pid)));
    D17 "descriptors-of-host-process" "ENOENT" Host, |c| acts::find_entry(Path::new(&format!("/proc/{}/fd", c.pid)));
    D18 "session-keyring" "ENOSYS" FILTER, |_| acts::call(libc::SYS_keyctl, [0.into(), (-3).into(), 1.into()]);
    D18 "host-key" "ENOSYS" Host, |c| acts::find_key(&c.name);
    D18 "add-key" "ENOSYS" FILTER, |_| acts::call(libc::SYS_add_key, [c"user".into(), c"rbuild".into(), c"x".into(), 1.into(), (-2).into()]);
    D19 "io-uring" "ENOSYS" FILTER, |_| acts::io_uring();
    D20 "userfaultfd" "EPERM" FILTER, |_| acts::call(libc::SYS_userfaultfd, [1.into()]);
    D20 "dev-userfaultfd" "ENOENT" Root, |_| acts::exists(Path::new("/dev/userfaultfd"));
    D21 "bpf" "EPERM" Root, |_| acts::reached(Errno::EINVAL, acts::call(libc::SYS_bpf, [9999.into(), 0.into(), 0.into()]));
    D21 "perf-event" "EPERM" Root, |_| acts::perf_event();
    D21 "quotactl" "EPERM" Nowhere, |_| acts::call(libc::SYS_quotactl, [0.into(), c"/dev/null".into(), 0.into(), 0.into()]);
    D21 "vmsplice" "EPERM" FILTER, |_| acts::call(libc::SYS_vmsplice, [(-1).into(), 0.into(), 0.into(), 0.into()]);
    D21 "kexec" "ENOSYS" Nowhere, |_| acts::call(libc::SYS_kexec_load, [0.into(), 0.into(), 0.into(), (-1).into()]);
    D21 "load-module" "ENOSYS" Nowhere, |_| acts::call(libc::SYS_finit_module, [(-1).into(), c"".into(), 0.into()]);
    D21 "acct" "ENOSYS" FILTER, |_| acts::call(libc::SYS_acct, [c"/nowhere".into()]);
    D21 "swapon" "ENOSYS" FILTER, |_| acts::call(libc::SYS_swapon, [c"/nowhere".into(), 0.into()]);
    D21 "reboot" "ENOSYS" FILTER, |_| acts::call(libc::SYS_reboot, [0.into(), 0.into(), 0.into()]);
    D21 "settimeofday" "ENOSYS" FILTER, |_| acts::call(libc::SYS_settimeofday, [0.into(), 0.into()]);
    D21 "personality" "EPERM" FILTER, |_| acts::call(libc::SYS_personality, [libc::ADDR_NO_RANDOMIZE.into()]);
    D22 "int-0x80" "SIGSYS" FILTER, |_| crate::sys::int_0x80(20).map(drop);
    D22 "x32" "ENOSYS" Nowhere, |_| acts::call(0x4000_0000 | libc::SYS_getpid, []);
    D23 "controlling-terminal" "ENXIO" Nowhere, |_| acts::open_for_writing(Path::new("/dev/tty"));
    D25 "open-descriptor" "ENOENT" Nowhere, |_| acts::find_descriptor();
    D26 "host-abstract-socket" "ECONNREFUSED" Host, |c| acts::connect_abstract(&c.name);
    D27 "host-loopback" "ECONNREFUSED" Host, |c| acts::connect_tcp(Ipv4Addr::LOCALHOST, c.port);
    D27 "host-gateway" "ENETUNREACH ECONNREFUSED ETIMEDOUT EHOSTUNREACH" Nowhere, |c| acts::connect_tcp(acts::gateway()?, c.port);
    D28 "raw-socket" "EPERM" CAPABILITIES, |_| acts::socket(libc::AF_INET, libc::SOCK_RAW, 1);
    D28 "packet-socket" "EPERM" CAPABILITIES, |_| acts::socket(libc::AF_PACKET, libc::SOCK_RAW, 0);
    D30 "af-vsock" "EPERM" FILTER, |_| acts::socket(libc::AF_VSOCK, libc::SOCK_STREAM, 0);
    D31 "af-alg" "EPERM" FILTER, |_| acts::socket(libc::AF_ALG, libc::SOCK_SEQPACKET, 0);
    D31 "af-key" "EPERM" Nowhere, |_| acts::socket(libc::AF_KEY, libc::SOCK_RAW, 2);
    D31 "af-rds" "EPERM" FILTER, |_| acts::socket(libc::AF_RDS, libc::SOCK_SEQPACKET, 0);
    D31 "af-can" "EPERM" FILTER, |_| acts::socket(libc::AF_CAN, libc::SOCK_DGRAM, 2);
    D31 "af-x25" "EPERM" FILTER, |_| acts::socket(libc::AF_X25, libc::SOCK_SEQPACKET, 0);
    D31 "af-tipc" "EPERM" FILTER, |_| acts::socket(libc::AF_TIPC, libc::SOCK_STREAM, 0);
    D32 "host-shared-memory" "ENOENT" Host, |c| acts::call(libc::SYS_shmget, [c.pid.into(), 0.into(), 0.into()]);
    D32 "host-message-queue" "ENOENT" Host, |c| acts::open_queue(&c.name);
    D33 "set-host-name" "ENOSYS" POWER, |_| acts::call(libc::SYS_sethostname, [c"evil".into(), 4.into()]);
    D34 "set-clock" "ENOSYS" FILTER, |_| acts::call(libc::SYS_clock_settime, [0.into(), 0.into()]);
    D36 "own-program" "ETXTBSY EROFS EACCES" Nowhere, |_| acts::open_for_writing(Path::new("/proc/self/exe"));
    D37 "link-host-file" "ENOENT" Host, |c| acts::link_beside(&c.file);
    D37 "rename-host-file" "ENOENT" Host, |c| acts::rename_and_back(&c.file);
    D37 "overlay-directories" "ENOENT" Nowhere, |_| acts::enter_overlay();
    D38 "private-file" "ENOENT" Host, |c| acts::read(&c.private);
    D41 "shared-mount" "ENODATA" Nowhere, |_| acts::find_shared_mount();
    D42 "kernel-log" "ENOSYS" FILTER, |_| acts::call(libc::SYS_syslog, [10.into(), 0.into(), 0.into()]);
    D42 "dev-kmsg" "ENOENT" Root, |_| acts::exists(Path::new("/dev/kmsg"));
};

/// The probe of that name.
pub fn named(name: &str) -> Option<&'static Probe> {
    PROBES.iter().find(|probe| probe.name == name)
}
