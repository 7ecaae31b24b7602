//! A made-up machine in a directory. Invariant: nothing of the machine that runs the tests shows through.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use tempfile::TempDir;

use super::super::{
    FileFacts, Filesystem, FilesystemFacts, Finding, HostView, Probes, Report,
    before_session_seen_by, examine, render_text,
};
use crate::subids::SubIds;

/// The user's uid and gid.
pub(super) const UID: u32 = 1000;

/// An ordinary Debian machine with an ordinary user, in a directory.
pub(super) struct Machine {
    pub(super) root: TempDir,
    pub(super) view: HostView,
    pub(super) userns: Result<(), Errno>,
    pub(super) overlay: Result<(), Errno>,
    pub(super) tun: Result<(), Errno>,
    pub(super) facts: HashMap<PathBuf, FileFacts>,
    pub(super) store: FilesystemFacts,
    pub(super) programs: FilesystemFacts,
}

pub(super) const DISK: FilesystemFacts = FilesystemFacts {
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
    pub(super) fn new() -> Self {
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

    pub(super) fn at(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    pub(super) fn write(&self, path: &str, text: &str) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(super) fn append(&self, path: &str, text: &str) {
        let old = fs::read_to_string(self.at(path)).unwrap();
        self.write(path, &(old + text));
    }

    pub(super) fn remove(&self, path: &str) {
        fs::remove_file(self.at(path)).unwrap();
    }

    pub(super) fn set(&mut self, path: &str, facts: FileFacts) {
        self.facts.insert(self.at(path), facts);
    }

    pub(super) fn edit(&mut self, path: &str, change: impl Fn(&mut FileFacts)) {
        let mut facts = self.file(&self.at(path)).unwrap();
        change(&mut facts);
        self.set(path, facts);
    }

    /// As the real one, but everything is the user's, whoever runs the tests.
    pub(super) fn file(&self, path: &Path) -> Result<FileFacts, Errno> {
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

    /// Lets `look` see the machine through its made-up probes.
    pub(super) fn with_probes<T>(&self, look: impl FnOnce(&Probes<'_>) -> T) -> T {
        let programs = self.at("bin");
        look(&Probes {
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
        })
    }

    pub(super) fn report(&self) -> Report {
        self.with_probes(|probes| examine(&self.view, probes))
    }

    /// What a build would be told first.
    pub(super) fn before_session(&self) -> Result<SubIds, Vec<Finding>> {
        self.with_probes(|probes| before_session_seen_by(&self.view, probes))
    }

    pub(super) fn finding(&self, id: &str) -> Finding {
        self.report()
            .findings
            .into_iter()
            .find(|finding| finding.id == id)
            .unwrap()
    }

    /// The report's text without the temporary directory.
    pub(super) fn text(&self) -> String {
        render_text(&self.report()).replace(self.root.path().to_str().unwrap(), "")
    }
}
