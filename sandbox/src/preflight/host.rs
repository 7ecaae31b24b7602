//! The host as the checks see it. Invariant: a check reads through this view only, so that a directory of made-up files
//! is as good as a machine.

use std::cell::OnceCell;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::Probes;
use super::remedy::Family;
use crate::mountinfo::{Mount, mounts};
use crate::subids::{Account, IdKind, SubIdError, SubIdRange, SubIdSources, SubIds};

/// Where to look, and for whom.
#[derive(Debug, Clone)]
pub struct HostView {
    /// /proc.
    pub proc: PathBuf,
    /// /etc.
    pub etc: PathBuf,
    /// /sys.
    pub sys: PathBuf,
    /// /dev.
    pub dev: PathBuf,
    /// /run.
    pub run: PathBuf,
    /// /var.
    pub var: PathBuf,
    /// rbuild's store, which need not exist yet.
    pub store: PathBuf,
    /// How a user names another store, up to the path: `--store `, `RBUILD_STORE=`.
    pub store_setting: String,
    /// The value of XDG_RUNTIME_DIR.
    pub runtime_dir: Option<PathBuf>,
    /// The directories of PATH.
    pub path_dirs: Vec<PathBuf>,
    /// The rbuild binary, for whose path an AppArmor profile is written.
    pub executable: PathBuf,
    /// The real user id.
    pub uid: u32,
    /// The real group id.
    pub gid: u32,
}

impl HostView {
    /// The usual places and the ids of this process; the caller fills in what comes from its environment.
    pub fn standard() -> Self {
        Self {
            proc: "/proc".into(),
            etc: "/etc".into(),
            sys: "/sys".into(),
            dev: "/dev".into(),
            run: "/run".into(),
            var: "/var".into(),
            store: PathBuf::new(),
            store_setting: String::new(),
            runtime_dir: None,
            path_dirs: Vec::new(),
            executable: PathBuf::new(),
            uid: rustix::process::getuid().as_raw(),
            gid: rustix::process::getgid().as_raw(),
        }
    }

    /// The first program of that name in PATH, such as newuidmap.
    pub fn program(&self, name: &str) -> Option<PathBuf> {
        self.path_dirs
            .iter()
            .map(|dir| dir.join(name))
            .find(|path| path.is_file())
    }
}

/// A view, and what several checks need of it, read once, when the first of them does.
pub struct Host<'a> {
    /// Where to look.
    pub view: &'a HostView,
    /// How to try things.
    pub probes: &'a Probes<'a>,
    /// /proc/self/uid_map.
    pub(super) uid_map: String,
    /// /proc/self/gid_map.
    pub(super) gid_map: String,
    pub(super) sources: SubIdSources,
    mounts: OnceCell<Vec<Mount>>,
    status: OnceCell<String>,
    account: OnceCell<Result<Account, SubIdError>>,
    uids: OnceCell<Option<Result<Vec<SubIdRange>, SubIdError>>>,
    gids: OnceCell<Option<Result<Vec<SubIdRange>, SubIdError>>>,
    family: OnceCell<Family>,
    userns: OnceCell<Option<Result<(), Errno>>>,
}

impl<'a> Host<'a> {
    /// Reads the caller's id maps.
    pub fn observe(view: &'a HostView, probes: &'a Probes<'a>) -> Self {
        Self {
            view,
            probes,
            uid_map: own(view, "uid_map"),
            gid_map: own(view, "gid_map"),
            sources: SubIdSources::in_etc(&view.etc, &view.path_dirs),
            mounts: OnceCell::new(),
            status: OnceCell::new(),
            account: OnceCell::new(),
            uids: OnceCell::new(),
            gids: OnceCell::new(),
            family: OnceCell::new(),
            userns: OnceCell::new(),
        }
    }

    /// Whether the caller is root, of the machine or of a container.
    pub fn is_root(&self) -> bool {
        self.view.uid == 0
    }

    /// The caller's account.
    pub(super) fn account(&self) -> Result<&Account, &SubIdError> {
        self.account
            .get_or_init(|| self.sources.account(self.view.uid))
            .as_ref()
    }

    /// The caller's ranges; `None` without an account, which is its own finding.
    pub(super) fn ranges(&self, kind: IdKind) -> Option<Result<&[SubIdRange], &SubIdError>> {
        let cell = match kind {
            IdKind::Uid => &self.uids,
            IdKind::Gid => &self.gids,
        };
        let found = cell.get_or_init(|| {
            self.account()
                .ok()
                .map(|account| self.sources.ranges(kind, account))
        });
        found.as_ref().map(|found| found.as_deref())
    }

    /// Both kinds of ranges, if both were found.
    pub(super) fn found_ids(&self) -> Option<SubIds> {
        let [uids, gids] =
            [IdKind::Uid, IdKind::Gid].map(|kind| self.ranges(kind)?.ok().map(<[_]>::to_vec));
        Some(SubIds {
            uids: uids?,
            gids: gids?,
        })
    }

    /// The account's name for a command, or its uid.
    pub(super) fn user_word(&self) -> String {
        self.account().map_or_else(
            |_| self.view.uid.to_string(),
            |account| super::shell_word(&account.name),
        )
    }

    /// The distribution, for the commands that differ.
    pub(super) fn family(&self) -> Family {
        *self.family.get_or_init(|| {
            Family::of(&read(&self.view.etc.join("os-release")).unwrap_or_default())
        })
    }

    /// The result of making a user namespace, tried once; `None` when it is not to be tried.
    pub(super) fn userns(&self) -> Option<Result<(), Errno>> {
        *self
            .userns
            .get_or_init(|| self.probes.userns.map(|probe| probe()))
    }

    /// A sysctl, by its dotted name; `None` where the kernel has none of that name.
    pub(super) fn sysctl(&self, name: &str) -> Option<String> {
        let path = self.view.proc.join("sys").join(name.replace('.', "/"));
        read(&path).map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "))
    }

    /// What is mounted where the caller is.
    pub(super) fn mounts(&self) -> &[Mount] {
        self.mounts
            .get_or_init(|| mounts(&own(self.view, "mountinfo")))
    }

    /// A field of /proc/self/status.
    pub(super) fn status(&self, field: &str) -> Option<&str> {
        let line = self
            .status
            .get_or_init(|| own(self.view, "status"))
            .lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.map(str::trim)
    }

    /// Whether a seccomp filter of whatever started rbuild is active.
    pub(super) fn is_filtered(&self) -> bool {
        self.status("Seccomp") == Some("2")
    }
}

/// A file of the process itself, proc(5).
fn own(view: &HostView, name: &str) -> String {
    read(&view.proc.join("self").join(name)).unwrap_or_default()
}

/// The text of a file, or nothing for whatever reason: to a check an unreadable file is an absent one.
pub(super) fn read(path: &Path) -> Option<String> {
    fs::read(path)
        .ok()
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}
