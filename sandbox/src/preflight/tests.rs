//! Every check on a made-up machine, once in order and once broken. Invariant: a check without a row in `BROKEN` fails
//! `every_check_has_a_row`, and every remedy that any row produces is valid shell.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::io::Errno;
use tempfile::TempDir;

use super::*;

const UID: u32 = 1000;

/// An ordinary Debian machine with an ordinary user, in a directory.
struct Machine {
    root: TempDir,
    view: HostView,
    userns: Result<(), Errno>,
    overlay: Result<(), Errno>,
    tun: Result<(), Errno>,
    facts: HashMap<PathBuf, FileFacts>,
    store: FilesystemFacts,
    programs: FilesystemFacts,
}

const DISK: FilesystemFacts = FilesystemFacts {
    kind: Filesystem::Ext,
    read_only: false,
    nosuid: false,
    free: 50 << 30,
};

const FILES: &[(&str, &str)] = &[
    (
        "etc/passwd",
        "root:x:0:0::/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\n",
    ),
    ("etc/subuid", "alice:100000:65536\n"),
    ("etc/subgid", "alice:100000:65536\n"),
    ("etc/os-release", "PRETTY_NAME=\"Debian\"\nID=debian\n"),
    ("proc/self/uid_map", "0 0 4294967295\n"),
    ("proc/self/gid_map", "0 0 4294967295\n"),
    (
        "proc/self/status",
        "Name:\trbuild\nNoNewPrivs:\t0\nSeccomp:\t0\n",
    ),
    ("proc/self/attr/current", "unconfined\n"),
    (
        "proc/self/cgroup",
        "0::/user.slice/user-1000.slice/session-3.scope\n",
    ),
    (
        "proc/self/mountinfo",
        "22 27 0:21 / /proc rw,relatime - proc proc rw\n\
         27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
         31 23 0:28 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw\n\
         32 22 0:33 / /proc/sys/fs/binfmt_misc rw - autofs systemd-1 rw\n",
    ),
    ("proc/sys/kernel/osrelease", "6.18.44-amd64\n"),
    ("proc/sys/kernel/unprivileged_userns_clone", "1\n"),
    ("proc/sys/user/max_user_namespaces", "96364\n"),
    ("proc/sys/user/max_mnt_namespaces", "96364\n"),
    ("proc/sys/user/max_pid_namespaces", "96364\n"),
    ("proc/sys/user/max_net_namespaces", "96364\n"),
    ("proc/sys/net/ipv4/ip_unprivileged_port_start", "1024\n"),
    ("proc/sys/net/ipv4/ping_group_range", "0\t2147483647\n"),
    (
        "sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/cgroup.controllers",
        "cpu memory pids\n",
    ),
    (
        "sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/cgroup.subtree_control",
        "memory pids\n",
    ),
    ("dev/net/tun", ""),
    ("run/systemd/system/mark", ""),
    ("run/user/1000/bus", ""),
    ("var/lib/systemd/linger/alice", ""),
    ("bin/newuidmap", ""),
    ("bin/newgidmap", ""),
    ("bin/pasta", ""),
    ("store/mark", ""),
];

impl Machine {
    fn new() -> Self {
        let root = TempDir::new().unwrap();
        let at = |path: &str| root.path().join(path);
        let view = HostView {
            proc: at("proc"),
            etc: at("etc"),
            sys: at("sys"),
            dev: at("dev"),
            run: at("run"),
            var: at("var"),
            store: at("store"),
            store_setting: "RBUILD_STORE=".to_owned(),
            runtime_dir: Some(at("run/user/1000")),
            path_dirs: vec![at("bin")],
            executable: "/opt/my tools/rbuild".into(),
            uid: UID,
            gid: UID,
        };
        let mut machine = Self {
            root,
            view,
            userns: Ok(()),
            overlay: Ok(()),
            tun: Ok(()),
            facts: HashMap::new(),
            store: DISK,
            programs: DISK,
        };
        for (path, text) in FILES {
            machine.write(path, text);
        }
        let program = FileFacts {
            directory: false,
            mode: 0o4755,
            uid: 0,
            capabilities: 0,
            writable: false,
        };
        machine.set("bin/newuidmap", program);
        machine.set("bin/newgidmap", program);
        machine
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn append(&self, path: &str, text: &str) {
        let old = fs::read_to_string(self.at(path)).unwrap();
        self.write(path, &(old + text));
    }

    fn remove(&self, path: &str) {
        fs::remove_file(self.at(path)).unwrap();
    }

    fn set(&mut self, path: &str, facts: FileFacts) {
        self.facts.insert(self.at(path), facts);
    }

    fn edit(&mut self, path: &str, change: impl Fn(&mut FileFacts)) {
        let mut facts = self.file(&self.at(path)).unwrap();
        change(&mut facts);
        self.set(path, facts);
    }

    /// As the real one, but everything is the user's, whoever runs the tests.
    fn file(&self, path: &Path) -> Result<FileFacts, Errno> {
        if let Some(facts) = self.facts.get(path) {
            return Ok(*facts);
        }
        let metadata = fs::metadata(path).map_err(|_| Errno::NOENT)?;
        let directory = metadata.is_dir();
        Ok(FileFacts {
            directory,
            mode: if directory { 0o700 } else { 0o644 },
            uid: UID,
            capabilities: 0,
            writable: true,
        })
    }

    fn report(&self) -> Report {
        let programs = self.at("bin");
        let probes = Probes {
            userns: Some(&|| self.userns),
            overlay: Some(&|| self.overlay),
            open_tun: &|_| self.tun,
            file: &|path| self.file(path),
            filesystem: &|path| {
                Ok(if path.starts_with(&programs) {
                    self.programs
                } else {
                    self.store
                })
            },
        };
        examine(&self.view, &probes)
    }

    fn finding(&self, id: &str) -> Finding {
        self.report()
            .findings
            .into_iter()
            .find(|finding| finding.id == id)
            .unwrap()
    }

    /// The report's text without the temporary directory.
    fn text(&self) -> String {
        render_text(&self.report()).replace(self.root.path().to_str().unwrap(), "")
    }
}

/// What breaks a check, the status that results, and words of what is observed and of the remedy.
type Row = (
    &'static str,
    fn(&mut Machine),
    Status,
    &'static str,
    &'static str,
);

use Status::{Failure, NotApplicable, Ok as Fine, Warning};

const BROKEN: &[Row] = &[
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

fn restrict_by_apparmor(machine: &mut Machine) {
    machine.write(
        "proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1\n",
    );
    machine.userns = Err(Errno::ACCESS);
}

fn filtered_container(machine: &mut Machine) {
    machine.write("proc/self/status", "NoNewPrivs:\t0\nSeccomp:\t2\n");
    machine.write("proc/self/attr/current", "docker-default (enforce)\n");
    machine.append(
        "proc/self/mountinfo",
        "40 22 0:9 /null /proc/kcore rw - devtmpfs devtmpfs rw\n41 22 0:9 / /proc/acpi ro - tmpfs tmpfs rw\n",
    );
    machine.userns = Err(Errno::PERM);
}

fn old_kernel_on_tmpfs(machine: &mut Machine) {
    machine.write("proc/sys/kernel/osrelease", "6.1.0-18-amd64\n");
    machine.store.kind = Filesystem::Tmpfs;
}

fn hybrid_cgroups(machine: &mut Machine) {
    machine.append(
        "proc/self/mountinfo",
        "33 23 0:30 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n",
    );
}

fn f41_tun_missing(machine: &mut Machine) {
    machine.remove("dev/net/tun");
    machine.tun = Err(Errno::NOENT);
}

#[test]
fn a_machine_in_order_has_nothing_to_mend() {
    let report = Machine::new().report();
    for finding in &report.findings {
        assert!(
            matches!(finding.status, Fine | NotApplicable),
            "{finding:?}"
        );
    }
    assert_eq!(report.degree, Degree::Full);
}

#[test]
fn each_broken_thing_is_found_by_its_check() {
    for (id, break_it, status, observed, remedy) in BROKEN {
        let mut machine = Machine::new();
        break_it(&mut machine);
        let finding = machine.finding(id);
        assert_eq!(finding.status, *status, "{finding:?}");
        assert!(
            finding.observed.contains(observed),
            "{id}: {observed:?} is not in {finding:?}"
        );
        assert!(
            finding
                .remedy
                .as_deref()
                .unwrap_or_default()
                .contains(remedy),
            "{id}: {remedy:?} is not in {finding:?}"
        );
    }
}

#[test]
fn every_check_has_a_row() {
    for check in checks() {
        assert!(
            BROKEN.iter().any(|(id, ..)| *id == check.id),
            "{} is tested nowhere",
            check.id
        );
    }
}

#[test]
fn every_remedy_is_valid_shell() {
    for (id, break_it, ..) in BROKEN {
        let mut machine = Machine::new();
        break_it(&mut machine);
        for remedy in machine
            .report()
            .findings
            .into_iter()
            .filter_map(|finding| finding.remedy)
        {
            let output = Command::new("sh")
                .args(["-n", "-c", &remedy])
                .output()
                .unwrap();
            assert!(
                output.status.success(),
                "{id}: {remedy}\n{}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
    }
}

#[test]
fn the_apparmor_remedy_writes_a_profile_for_this_binary() {
    let mut machine = Machine::new();
    restrict_by_apparmor(&mut machine);
    let remedy = machine.finding("userns.apparmor").remedy.unwrap();
    let (printing, _) = remedy.split_once(" | ").unwrap();
    let profile = Command::new("sh")
        .args(["-c", printing])
        .output()
        .unwrap()
        .stdout;
    insta::assert_snapshot!(String::from_utf8(profile).unwrap(), @r#"
abi <abi/4.0>,
include <tunables/global>
profile rbuild "/opt/my tools/rbuild" flags=(unconfined) {
  userns,
}
"#);
    assert!(
        remedy.find("apparmor_parser").unwrap()
            < remedy.find("restrict_unprivileged_userns = 0").unwrap()
    );
}

#[test]
fn apparmor_does_not_matter_under_a_profile_of_its_own_nor_to_root() {
    let mut machine = Machine::new();
    machine.write(
        "proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1\n",
    );
    assert_eq!(machine.finding("userns.apparmor").status, Fine);
    restrict_by_apparmor(&mut machine);
    machine.view.uid = 0;
    assert_eq!(machine.finding("userns.apparmor").status, Fine);
}

#[test]
fn f36_file_capabilities_are_as_good_as_setuid() {
    let mut machine = Machine::new();
    machine.edit("bin/newuidmap", |facts| {
        (facts.mode, facts.capabilities) = (0o755, 1 << 7)
    });
    assert_eq!(machine.finding("helpers.newuidmap").status, Fine);
    machine.programs.nosuid = true;
    assert_eq!(machine.finding("helpers.newuidmap").status, Failure);
}

#[test]
fn degrees_follow_from_what_is_missing() {
    let degree = |break_it: fn(&mut Machine)| {
        let mut machine = Machine::new();
        break_it(&mut machine);
        machine.report().degree
    };
    assert_eq!(degree(|_| {}), Degree::Full);
    assert_eq!(degree(|m| m.view.uid = 0), Degree::Root);
    assert_eq!(degree(|m| m.write("etc/subgid", "")), Degree::SingleId);
    assert_eq!(degree(|m| m.remove("bin/newuidmap")), Degree::SingleId);
    assert_eq!(degree(|m| m.userns = Err(Errno::PERM)), Degree::FilesOnly);
    assert_eq!(
        degree(|m| m.store.kind = Filesystem::Nfs),
        Degree::FilesOnly
    );
    assert_eq!(degree(f41_tun_missing), Degree::Full);
}

#[test]
fn root_of_a_container_has_what_its_namespace_has() {
    let mut machine = Machine::new();
    machine.view.uid = 0;
    machine.write("proc/self/uid_map", "0 1000 1\n1 100000 65535\n");
    let finding = machine.finding("subuid.range");
    assert_eq!(
        (finding.status, finding.why.contains("image uid 65535")),
        (Warning, true),
        "{finding:?}"
    );
    machine.write("proc/self/uid_map", "0 1000 1\n");
    assert_eq!(machine.finding("subuid.range").status, Failure);
    assert_eq!(machine.report().degree, Degree::SingleId);
}

#[test]
fn root_is_told_no_sudo() {
    let mut machine = Machine::new();
    machine.view.uid = 0;
    f41_tun_missing(&mut machine);
    let remedy = machine.finding("network.tun").remedy.unwrap();
    assert!(
        remedy.starts_with("modprobe tun\n") && !remedy.contains("sudo"),
        "{remedy}"
    );
}

#[test]
fn a_store_that_does_not_exist_yet_is_judged_by_its_ancestor() {
    let mut machine = Machine::new();
    machine.view.store = machine.at("home/alice/.local/share/rbuild");
    let finding = machine.finding("store.directory");
    assert_eq!(
        (
            finding.status,
            finding.observed.ends_with("rbuild will be made")
        ),
        (Fine, true)
    );
    machine.store.kind = Filesystem::Nfs;
    assert_eq!(machine.finding("store.filesystem").status, Failure);
}

#[test]
fn f41_only_pasta_needs_the_tun_device() {
    let machine = Machine::new();
    machine.remove("dev/net/tun");
    let failures = before_pasta(&machine.view).unwrap_err();
    assert_eq!(
        failures
            .iter()
            .map(|finding| finding.id)
            .collect::<Vec<_>>(),
        ["network.tun"]
    );
    let session = before_session(&machine.view);
    assert!(
        session.is_ok()
            || session
                .unwrap_err()
                .iter()
                .all(|finding| !finding.id.starts_with("network."))
    );
}

#[test]
fn before_session_reports_each_quick_failure_and_no_other() {
    let machine = Machine::new();
    machine.write("etc/subuid", "alice:100000:9\n");
    machine.write("proc/sys/user/max_user_namespaces", "0\n");
    machine.remove("bin/newgidmap");
    machine.remove("bin/pasta");
    let ids: Vec<&str> = before_session(&machine.view)
        .unwrap_err()
        .iter()
        .map(|finding| finding.id)
        .collect();
    for id in ["userns.limit", "helpers.newgidmap", "subuid.range"] {
        assert!(ids.contains(&id), "{id} is not in {ids:?}");
    }
    assert!(!ids.contains(&"network.pasta"), "{ids:?}");
}

#[test]
fn a_new_range_counts_at_the_next_command() {
    let mut machine = Machine::new();
    machine.write("etc/subuid", "");
    machine.view.uid = 0;
    machine.view.store = machine.at("home/new");
    let uids = |machine: &Machine| before_session(&machine.view).map(|ids| ids.uids);
    assert_eq!(uids(&machine).unwrap(), [crate::subids::ROOT_FALLBACK]);
    machine.write("etc/subuid", "root:300000:65536\n");
    assert_eq!(uids(&machine).unwrap()[0].start, 300_000);
}

#[test]
fn before_session_takes_less_than_a_millisecond() {
    let view = HostView {
        store: "/var/tmp".into(),
        path_dirs: vec!["/usr/bin".into()],
        ..HostView::standard()
    };
    let best = (0..50).map(|_| {
        let start = std::time::Instant::now();
        let _ = before_session(&view);
        start.elapsed()
    });
    let best = best.min().unwrap();
    assert!(best.as_micros() < 1000, "{best:?}");
}

#[test]
fn examining_this_machine_with_the_real_probes_answers_every_check() {
    let view = HostView {
        store: "/var/tmp/rbuild".into(),
        path_dirs: vec!["/usr/bin".into()],
        ..HostView::standard()
    };
    let report = examine(&view, &Probes::without_trials());
    assert_eq!(report.findings.len(), checks().count());
    assert!(
        report
            .findings
            .iter()
            .all(|finding| !finding.observed.is_empty())
    );
}

#[test]
fn report_of_a_machine_in_order() {
    insta::assert_snapshot!(Machine::new().text(), @r"
rootless with subordinate ids: every build, RUN as any user 0 to 65535, and containers with keep-id, nomap and host maps

ok       kernel                        6.18.44-amd64
ok       kernel features               all that rbuild can use
ok       unprivileged user namespaces  kernel.unprivileged_userns_clone = 1
ok       number of user namespaces     user.max_user_namespaces = 96364
ok       number of other namespaces    at least 96364 of each kind
-        AppArmor and user namespaces  no such restriction
ok       making a user namespace       works
ok       account                       alice (uid 1000)
ok       newuidmap                     /bin/newuidmap, setuid root
ok       newgidmap                     /bin/newgidmap, setuid root
ok       subordinate uids              100000-165535 (65536 ids)
ok       subordinate gids              100000-165535 (65536 ids)
ok       subordinate uids unshared     no other account has any of them
ok       subordinate gids unshared     no other account has any of them
ok       no_new_privs                  not set
ok       outer seccomp filter          none
ok       outer AppArmor profile        none that restricts
ok       unmasked /proc                nothing is mounted over it
ok       store directory               /store, mode 0700
ok       store filesystem              ext4 under /store
ok       store space                   51200 MiB free
ok       overlay in a user namespace   works
ok       XDG_RUNTIME_DIR               /run/user/1000
ok       lingering                     on
ok       cgroup hierarchy              v2 at /sys/fs/cgroup
ok       delegated controllers         cpu memory pids at user@1000.service, on for its children: memory pids
ok       pasta                         /bin/pasta
ok       /dev/net/tun                  can be opened
ok       lowest unprivileged port      net.ipv4.ip_unprivileged_port_start = 1024
ok       ping                          net.ipv4.ping_group_range = 0 2147483647

0 failed, 0 warnings, 29 ok, 1 not applicable
");
}

#[test]
fn report_of_a_fresh_ubuntu_with_its_home_on_nfs() {
    let mut machine = Machine::new();
    machine.write("etc/os-release", "ID=ubuntu\nID_LIKE=debian\n");
    machine.write("proc/sys/kernel/osrelease", "6.8.0-45-generic\n");
    restrict_by_apparmor(&mut machine);
    machine.remove("proc/sys/kernel/unprivileged_userns_clone");
    machine.remove("bin/newuidmap");
    machine.remove("bin/newgidmap");
    machine.remove("bin/pasta");
    machine.write("etc/subuid", "");
    machine.store.kind = Filesystem::Nfs;
    machine.view.runtime_dir = None;
    insta::assert_snapshot!(machine.text(), @r#"
files only: builds that copy and configure, with every owner recorded in the layers
not possible: RUN steps and `rbuild run`

ok       kernel                        6.8.0-45-generic
warning  kernel features               without data-only overlay layers for users (6.16): keep-id copies files of large owners once per image
         why: everything works without them, some of it slower or with smaller limits
         fix: sudo apt-get update && sudo apt-get dist-upgrade -y && sudo reboot
-        unprivileged user namespaces  this kernel has no such switch
ok       number of user namespaces     user.max_user_namespaces = 96364
ok       number of other namespaces    at least 96364 of each kind
FAILED   AppArmor and user namespaces  kernel.apparmor_restrict_unprivileged_userns = 1, and rbuild runs under the profile `unconfined`
         why: since Ubuntu 23.10 a program without a profile of its own has no capabilities in a user namespace
         fix: printf 'abi <abi/4.0>,\ninclude <tunables/global>\nprofile rbuild "%s" flags=(unconfined) {\n  userns,\n}\n' '/opt/my tools/rbuild' | sudo tee /etc/apparmor.d/rbuild
              sudo apparmor_parser -r /etc/apparmor.d/rbuild
              # or, weaker, for every program of this machine:
              echo 'kernel.apparmor_restrict_unprivileged_userns = 0' | sudo tee -a /etc/sysctl.d/99-rbuild.conf
              sudo sysctl -p /etc/sysctl.d/99-rbuild.conf
FAILED   making a user namespace       Permission denied (os error 13)
         why: forbidden by a switch above, by a security module, or because rbuild runs in a chroot (user_namespaces(7))
ok       account                       alice (uid 1000)
FAILED   newuidmap                     not in PATH
         why: an ordinary user may map only its own id; this program maps the subordinate ids, and needs privilege for that
         fix: sudo apt-get install -y uidmap
FAILED   newgidmap                     not in PATH
         why: an ordinary user may map only its own id; this program maps the subordinate ids, and needs privilege for that
         fix: sudo apt-get install -y uidmap
FAILED   subordinate uids              cannot find a range for alice (uid 1000) in /etc/subuid; add the line `alice:100000:65536`
         why: an image's users 0 to 65535 become these ids on this host, so 65536 are needed
         fix: sudo usermod --add-subuids 100000-165535 alice
ok       subordinate gids              100000-165535 (65536 ids)
-        subordinate uids unshared     no range
ok       subordinate gids unshared     no other account has any of them
ok       no_new_privs                  not set
ok       outer seccomp filter          none
ok       outer AppArmor profile        none that restricts
ok       unmasked /proc                nothing is mounted over it
ok       store directory               /store, mode 0700
FAILED   store filesystem              nfs under /store
         why: a file server knows nothing of user namespaces: it refuses files of subordinate ids, and overlays on it
         fix: mkdir -m 0700 /var/tmp/rbuild-1000
              # then use: RBUILD_STORE=/var/tmp/rbuild-1000
ok       store space                   51200 MiB free
-        overlay in a user namespace   no user namespace to try it in
warning  XDG_RUNTIME_DIR               not set, as after `su` or `sudo -u`
         why: the user's systemd, which gives containers their cgroups and runs Quadlet units, is reached through it
         fix: sudo loginctl enable-linger alice
              export XDG_RUNTIME_DIR=/run/user/1000
ok       lingering                     on
ok       cgroup hierarchy              v2 at /sys/fs/cgroup
ok       delegated controllers         cpu memory pids at user@1000.service, on for its children: memory pids
FAILED   pasta                         not in PATH, nor is slirp4netns
         why: pasta connects the network namespace of steps and containers; `--network none` and `host` work without it
         fix: sudo apt-get install -y passt
ok       /dev/net/tun                  can be opened
ok       lowest unprivileged port      net.ipv4.ip_unprivileged_port_start = 1024
ok       ping                          net.ipv4.ping_group_range = 0 2147483647

7 failed, 2 warnings, 18 ok, 3 not applicable
"#);
}

#[test]
fn a_report_is_serialised_with_stable_names() {
    let json = serde_json::to_value(Machine::new().report()).unwrap();
    assert_eq!(json["degree"], "full");
    assert_eq!(json["findings"][0]["id"], "kernel.version");
    assert_eq!(json["findings"][0]["status"], "ok");
}
