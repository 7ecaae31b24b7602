//! Ways to break a machine. Invariant: each check has at least one row.

use rustix::io::Errno;

use super::super::{Filesystem, Status};
use super::machine::{Machine, UID};

/// What breaks a check, the status that results, and words of what is observed and of the remedy.
pub(super) type Row = (
    &'static str,
    fn(&mut Machine),
    Status,
    &'static str,
    &'static str,
);

use Status::{Failure, NotApplicable, Ok as Fine, Warning};

pub(super) const BROKEN: &[Row] = &[
    (
        "kernel.version",
        |m| m.write("proc/sys/kernel/osrelease", "5.4.0-200-generic\n"),
        Failure,
        "5.4.0",
        "dist-upgrade",
    ),
    (
        "kernel.version",
        |m| m.write("proc/sys/kernel/osrelease", "5.10.0-30-amd64\n"),
        Failure,
        "than 5.12",
        "reboot",
    ),
    (
        "kernel.features",
        |m| m.write("proc/sys/kernel/osrelease", "6.1.0-18-amd64\n"),
        Warning,
        "(6.16)",
        "dist-upgrade",
    ),
    (
        "userns.clone",
        |m| m.write("proc/sys/kernel/unprivileged_userns_clone", "0\n"),
        Failure,
        "kernel.unprivileged_userns_clone = 0",
        "echo 'kernel.unprivileged_userns_clone = 1' | sudo tee -a /etc/sysctl.d/99-rbuild.conf",
    ),
    (
        "userns.limit",
        |m| m.write("proc/sys/user/max_user_namespaces", "0\n"),
        Failure,
        "= 0",
        "max_user_namespaces = 28633",
    ),
    (
        "userns.limit",
        |m| m.write("proc/sys/user/max_user_namespaces", "8\n"),
        Warning,
        "= 8",
        "28633",
    ),
    (
        "userns.limit",
        |m| m.remove("proc/sys/user/max_user_namespaces"),
        Failure,
        "CONFIG_USER_NS",
        "reboot",
    ),
    (
        "userns.others",
        |m| m.write("proc/sys/user/max_net_namespaces", "0\n"),
        Failure,
        "user.max_net_namespaces = 0",
        "user.max_net_namespaces = 28633",
    ),
    (
        "userns.apparmor",
        restrict_by_apparmor,
        Failure,
        "profile `unconfined`",
        "apparmor_parser -r /etc/apparmor.d/rbuild",
    ),
    (
        "userns.trial",
        |m| m.userns = Err(Errno::NOSPC),
        Failure,
        "No space left",
        "user.max_user_namespaces",
    ),
    (
        "userns.trial",
        |m| {
            m.remove("proc/sys/user/max_user_namespaces");
            m.userns = Err(Errno::INVAL);
        },
        Failure,
        "Invalid",
        "reboot",
    ),
    (
        "userns.trial",
        filtered_container,
        Failure,
        "not permitted",
        "seccomp=unconfined",
    ),
    (
        "account.name",
        |m| m.write("etc/passwd", "root:x:0:0:::\n"),
        Failure,
        "uid 1000",
        "user1000:x:1000:1000:",
    ),
    (
        "helpers.newuidmap",
        |m| m.remove("bin/newuidmap"),
        Failure,
        "not in PATH",
        "sudo apt-get install -y uidmap",
    ),
    (
        "helpers.newuidmap",
        |m| m.edit("bin/newuidmap", |facts| facts.mode = 0o755),
        Failure,
        "neither setuid root nor has cap_setuid",
        "sudo chmod 4755",
    ),
    (
        "helpers.newuidmap",
        |m| m.edit("bin/newuidmap", |facts| facts.uid = UID),
        Failure,
        "neither",
        "chown root:root",
    ),
    (
        "helpers.newuidmap",
        |m| m.programs.nosuid = true,
        Failure,
        "/ is mounted nosuid",
        "mount -o remount,suid /",
    ),
    (
        "helpers.newgidmap",
        |m| m.remove("bin/newgidmap"),
        Failure,
        "not in PATH",
        "uidmap",
    ),
    (
        "helpers.newgidmap",
        |m| {
            m.write(
                "etc/os-release",
                "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n",
            );
            m.edit("bin/newgidmap", |facts| facts.mode = 0o755);
        },
        Failure,
        "cap_setgid",
        "sudo setcap cap_setgid=ep",
    ),
    (
        "subuid.range",
        |m| m.write("etc/subuid", ""),
        Failure,
        "alice:100000:65536",
        "usermod --add-subuids 100000-165535 alice",
    ),
    (
        "subuid.range",
        |m| m.write("etc/subuid", "alice:100000:9\n"),
        Failure,
        "uid 9 is the first",
        "100009-165544",
    ),
    (
        "subuid.range",
        |m| m.write("proc/self/uid_map", "0 1000 1\n1 100000 65535\n"),
        Failure,
        "but this container has only 0-65535",
        "printf '%s\\n' alice:1:999 alice:1001:64535 | sudo tee",
    ),
    (
        "subuid.range",
        |m| {
            m.write("proc/self/uid_map", "0 1000 1\n1 100000 65535\n");
            m.write("etc/subuid", "alice:1:999\nalice:1001:64535\n");
        },
        Warning,
        "all that this container has",
        "",
    ),
    (
        "subgid.range",
        |m| m.write("etc/subgid", "bob:100000:65536\n"),
        Failure,
        "find a range for alice",
        "--add-subgids 165536",
    ),
    (
        "subuid.exclusive",
        |m| m.append("etc/subuid", "bob:165000:9\n"),
        Failure,
        "those of bob on line 2",
        "sed -i 1d",
    ),
    (
        "subgid.exclusive",
        |m| m.append("etc/subgid", "bob:165000:9\n"),
        Failure,
        "bob",
        "--add-subgids",
    ),
    (
        "confinement.no-new-privs",
        |m| m.write("proc/self/status", "NoNewPrivs:\t1\n"),
        Failure,
        "set",
        "allowPrivilegeEscalation",
    ),
    (
        "confinement.seccomp",
        filtered_container,
        Warning,
        "forbids",
        "seccomp=unconfined",
    ),
    (
        "confinement.apparmor",
        filtered_container,
        Warning,
        "docker-default (enforce)",
        "apparmor=unconfined",
    ),
    (
        "confinement.proc",
        filtered_container,
        Failure,
        "/proc/kcore and 1 more",
        "systempaths=unconfined",
    ),
    (
        "store.directory",
        |m| m.edit("store", |facts| facts.uid = 0),
        Failure,
        "belongs to uid 0",
        "sudo chown alice",
    ),
    (
        "store.directory",
        |m| m.edit("store", |facts| facts.mode = 0o755),
        Warning,
        "mode 0755",
        "chmod 0700",
    ),
    (
        "store.directory",
        |m| m.edit("store", |facts| facts.writable = false),
        Failure,
        "not writable",
        "RBUILD_STORE=/var/tmp",
    ),
    (
        "store.directory",
        |m| m.store.read_only = true,
        Failure,
        "read-only filesystem",
        "/var/tmp/rbuild-1000",
    ),
    (
        "store.directory",
        |m| m.view.store = m.at("bin/pasta/x"),
        Failure,
        "not a directory",
        "mkdir",
    ),
    (
        "store.filesystem",
        |m| m.store.kind = Filesystem::Nfs,
        Failure,
        "nfs",
        "mkdir -m 0700 /var/tmp/rbuild-1000",
    ),
    (
        "store.filesystem",
        |m| m.store.kind = Filesystem::Overlay,
        Failure,
        "overlay",
        "RBUILD_STORE=",
    ),
    (
        "store.filesystem",
        |m| m.store.kind = Filesystem::Tmpfs,
        Warning,
        "tmpfs",
        "RBUILD_STORE=",
    ),
    (
        "store.filesystem",
        old_kernel_on_tmpfs,
        Failure,
        "tmpfs",
        "RBUILD_STORE=",
    ),
    (
        "store.filesystem",
        |m| m.store.kind = Filesystem::Fuse,
        Warning,
        "fuse",
        "RBUILD_STORE=",
    ),
    (
        "store.space",
        |m| m.store.free = 900 << 20,
        Warning,
        "900 MiB",
        "rbuild prune",
    ),
    (
        "store.overlay",
        |m| m.overlay = Err(Errno::NODEV),
        Failure,
        "No such device",
        "sudo modprobe overlay",
    ),
    (
        "store.overlay",
        |m| m.overlay = Err(Errno::INVAL),
        Failure,
        "Invalid",
        "RBUILD_STORE=",
    ),
    (
        "login.runtime-dir",
        |m| m.view.runtime_dir = None,
        Warning,
        "not set",
        "loginctl enable-linger alice",
    ),
    (
        "login.runtime-dir",
        |m| m.edit("run/user/1000", |facts| facts.uid = 0),
        Warning,
        "uid 0",
        "/run/user/1000",
    ),
    (
        "login.runtime-dir",
        |m| m.view.runtime_dir = Some(m.at("gone")),
        Warning,
        "gone",
        "export XDG_RUNTIME_DIR=",
    ),
    (
        "login.linger",
        |m| m.remove("var/lib/systemd/linger/alice"),
        Fine,
        "off",
        "loginctl enable-linger alice",
    ),
    (
        "cgroup.version",
        hybrid_cgroups,
        Warning,
        "hybrid",
        "systemd.unified_cgroup_hierarchy=1",
    ),
    (
        "cgroup.delegation",
        |m| {
            let service =
                "sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/cgroup.controllers";
            m.write(service, "memory pids\n");
        },
        Warning,
        "missing: cpu",
        "Delegate=cpu cpuset io memory pids",
    ),
    ("cgroup.delegation", hybrid_cgroups, NotApplicable, "v2", ""),
    (
        "network.pasta",
        |m| m.remove("bin/pasta"),
        Failure,
        "nor is slirp4netns",
        "sudo apt-get install -y passt",
    ),
    (
        "network.pasta",
        |m| {
            m.remove("bin/pasta");
            m.write("bin/slirp4netns", "");
        },
        Failure,
        "rbuild does not use it",
        "passt",
    ),
    (
        "network.tun",
        f41_tun_missing,
        Failure,
        "dev/net/tun does not exist",
        "sudo modprobe tun",
    ),
    (
        "network.tun",
        |m| m.tun = Err(Errno::ACCESS),
        Failure,
        "cannot be opened: Permission denied",
        "sudo chmod 0666",
    ),
    (
        "network.ports",
        |m| m.write("proc/sys/net/ipv4/ip_unprivileged_port_start", "8000\n"),
        Warning,
        "= 8000",
        "net.ipv4.ip_unprivileged_port_start = 80",
    ),
    (
        "network.ping",
        |m| m.write("proc/sys/net/ipv4/ping_group_range", "1\t0\n"),
        Warning,
        "= 1 0, without the user's group 1000",
        "net.ipv4.ping_group_range = 0 2147483647",
    ),
];

pub(super) fn restrict_by_apparmor(machine: &mut Machine) {
    machine.write(
        "proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1\n",
    );
    machine.userns = Err(Errno::ACCESS);
}

pub(super) fn filtered_container(machine: &mut Machine) {
    machine.write("proc/self/status", "NoNewPrivs:\t0\nSeccomp:\t2\n");
    machine.write("proc/self/attr/current", "docker-default (enforce)\n");
    machine.append(
        "proc/self/mountinfo",
        "40 22 0:9 /null /proc/kcore rw - devtmpfs devtmpfs rw\n41 22 0:9 / /proc/acpi ro - tmpfs tmpfs rw\n",
    );
    machine.userns = Err(Errno::PERM);
}

pub(super) fn old_kernel_on_tmpfs(machine: &mut Machine) {
    machine.write("proc/sys/kernel/osrelease", "6.1.0-18-amd64\n");
    machine.store.kind = Filesystem::Tmpfs;
}

pub(super) fn hybrid_cgroups(machine: &mut Machine) {
    machine.append(
        "proc/self/mountinfo",
        "33 23 0:30 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n",
    );
}

pub(super) fn f41_tun_missing(machine: &mut Machine) {
    machine.remove("dev/net/tun");
    machine.tun = Err(Errno::NOENT);
}
