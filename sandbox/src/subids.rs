//! Subordinate ids: which uids and gids beyond its own an account may put into a user namespace.
//!
//! Invariant: the ranges handed out are those that newuidmap(1) and newgidmap(1) will accept: sorted, disjoint, never
//! with id 0 or the caller's own id in them. Sources and their order: subuid(5), subgid(5), nsswitch.conf(5) `subid:`,
//! and `getsubids` for what only an NSS module knows (a static binary loads none).

mod entries;
mod error;
mod namespace;
mod nss;

pub use entries::{BadLine, Entry, SubIdRange, entries, first_free, ranges_for, total};
pub use error::{Flaw, Grant, SubIdError};
pub use namespace::{ids_of_namespace, is_initial_namespace};

use std::io;
use std::path::{Path, PathBuf};

use entries::joined;
use serde::Serialize;

/// Image ids 0..65535, shifted by one, need this many subordinate ids (the size useradd(8) hands out as well).
pub const NEEDED: u32 = 65_536;

/// What root uses in the initial user namespace when neither `root` nor `containers` has an entry: the first ids that
/// systemd's table of id ranges (UIDS-GIDS.md) gives to nobody, 0x7000_0000 and up.
pub const ROOT_FALLBACK: SubIdRange = SubIdRange {
    start: 0x7000_0000,
    count: NEEDED,
};

/// The ranges of one account; each list is sorted and disjoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SubIds {
    /// Subordinate user ids.
    pub uids: Vec<SubIdRange>,
    /// Subordinate group ids.
    pub gids: Vec<SubIdRange>,
}

/// Which of the two files, maps and helper programs is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum IdKind {
    /// /etc/subuid, newuidmap, uid_map.
    Uid,
    /// /etc/subgid, newgidmap, gid_map.
    Gid,
}

impl IdKind {
    /// `uid` or `gid`, as in the names of the files, maps and programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uid => "uid",
            Self::Gid => "gid",
        }
    }
}

/// One account, as newuidmap sees its caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The user id.
    pub uid: u32,
    /// The login name, which is what entries are found by.
    pub name: String,
    /// Whether /etc/passwd has it: usermod(8) changes only such accounts.
    pub local: bool,
}

/// Where accounts and ranges are looked up.
#[derive(Debug, Clone)]
pub struct SubIdSources {
    /// /etc/subuid.
    pub subuid: PathBuf,
    /// /etc/subgid.
    pub subgid: PathBuf,
    /// /etc/passwd.
    pub passwd: PathBuf,
    /// /etc/nsswitch.conf.
    pub nsswitch: PathBuf,
    /// Where `getent` and `getsubids` are searched; empty means that neither is asked.
    pub path_dirs: Vec<PathBuf>,
}

impl SubIdSources {
    /// The usual four files below `etc`.
    pub fn in_etc(etc: &Path, path_dirs: &[PathBuf]) -> Self {
        Self {
            subuid: etc.join("subuid"),
            subgid: etc.join("subgid"),
            passwd: etc.join("passwd"),
            nsswitch: etc.join("nsswitch.conf"),
            path_dirs: path_dirs.to_vec(),
        }
    }

    /// The account of `uid`: from /etc/passwd, else from `getent`.
    pub fn account(&self, uid: u32) -> Result<Account, SubIdError> {
        let passwd = read_or_empty(&self.passwd)?;
        if let Some((name, _)) = passwd_entries(&passwd).find(|(_, id)| *id == uid) {
            return Ok(Account {
                uid,
                name: name.to_owned(),
                local: true,
            });
        }
        match nss::name_of(uid, &self.path_dirs)? {
            Some(name) => Ok(Account {
                uid,
                name,
                local: false,
            }),
            None => Err(SubIdError::UnknownUser {
                uid,
                passwd: self.passwd.clone(),
            }),
        }
    }

    /// Both kinds of ranges of `uid`, each found, large enough and its own: what a session with sub-ids needs.
    pub fn look_up(&self, uid: u32) -> Result<SubIds, SubIdError> {
        let account = self.account(uid)?;
        Ok(SubIds {
            uids: self.usable(IdKind::Uid, &account)?,
            gids: self.usable(IdKind::Gid, &account)?,
        })
    }

    fn usable(&self, kind: IdKind, account: &Account) -> Result<Vec<SubIdRange>, SubIdError> {
        let ranges = self.ranges(kind, account)?;
        self.check_size(kind, account, &ranges)?;
        self.check_exclusive(kind, account)?;
        Ok(ranges)
    }

    /// The account's ranges, whatever their size; none at all is an error that says which line to add.
    pub fn ranges(&self, kind: IdKind, account: &Account) -> Result<Vec<SubIdRange>, SubIdError> {
        // With `subid: sss` newuidmap never opens the files (getsubids(1), nsswitch.conf(5)).
        if let Some(module) = nss::subid_module(&read_or_empty(&self.nsswitch)?) {
            let ranges = nss::ranges_of(kind, &account.name, &self.path_dirs)?;
            if ranges.is_empty() {
                return Err(SubIdError::NotInDirectory {
                    kind,
                    name: account.name.clone(),
                    module,
                });
            }
            return Ok(joined(ranges));
        }
        let path = self.file(kind);
        let text = read_or_empty(path)?;
        let ranges = ranges_for(&account.name, account.uid, &text);
        if !ranges.is_empty() {
            reject_dangerous(path, account, &text)?;
            return Ok(ranges);
        }
        let ranges = joined(nss::ranges_of(kind, &account.name, &self.path_dirs)?);
        match ranges.is_empty() {
            true => self.no_range(kind, account, &text),
            false => Ok(ranges),
        }
    }

    /// An error unless the ranges have [`NEEDED`] ids together.
    pub fn check_size(
        &self,
        kind: IdKind,
        account: &Account,
        ranges: &[SubIdRange],
    ) -> Result<(), SubIdError> {
        match total(ranges) {
            found if found >= NEEDED => Ok(()),
            found => Err(SubIdError::TooSmall {
                found,
                grant: self.grant(kind, account)?,
            }),
        }
    }

    /// An error if another account's entry shares ids with this one's: each could read and write the other's files.
    pub fn check_exclusive(&self, kind: IdKind, account: &Account) -> Result<(), SubIdError> {
        let text = read_or_empty(self.file(kind))?;
        let passwd = read_or_empty(&self.passwd)?;
        let is_own = |owner: &str| {
            owner == account.name
                || owner == account.uid.to_string()
                || passwd_entries(&passwd).any(|(name, uid)| name == owner && uid == account.uid)
        };
        let (own, others): (Vec<Entry<'_>>, Vec<Entry<'_>>) =
            entries(&text).flatten().partition(|e| is_own(e.owner));
        let shared = own.iter().find_map(|o| {
            others
                .iter()
                .find(|x| x.range.overlaps(o.range))
                .map(|x| (o, x))
        });
        let Some((mine, theirs)) = shared else {
            return Ok(());
        };
        Err(SubIdError::Shared {
            range: mine.range,
            line: mine.line,
            other: theirs.owner.to_owned(),
            other_line: theirs.line,
            grant: self.grant(kind, account)?,
        })
    }

    /// What root maps: in the initial namespace the range of `root`, of `containers`, or [`ROOT_FALLBACK`] (never real
    /// accounts' ids); inside a container all ids of its namespace but 0, which stays the caller.
    pub fn for_root(&self, uid_map: &str, gid_map: &str) -> Result<SubIds, SubIdError> {
        Ok(SubIds {
            uids: self.root_ranges(IdKind::Uid, uid_map)?,
            gids: self.root_ranges(IdKind::Gid, gid_map)?,
        })
    }

    fn root_ranges(&self, kind: IdKind, map: &str) -> Result<Vec<SubIdRange>, SubIdError> {
        if !is_initial_namespace(map) {
            let nonzero = ids_of_namespace(map).into_iter().filter_map(|range| {
                let start = range.start.max(1);
                (range.end() > start).then(|| SubIdRange {
                    start,
                    count: range.end() - start,
                })
            });
            return Ok(nonzero.collect());
        }
        let text = read_or_empty(self.file(kind))?;
        let named = ["root", "containers"].map(|owner| {
            let ranges = entries(&text)
                .flatten()
                .filter(|e| e.owner == owner)
                .map(|e| e.range)
                .collect();
            joined(ranges)
        });
        let large_enough = named.into_iter().find(|ranges| total(ranges) >= NEEDED);
        Ok(large_enough.unwrap_or_else(|| vec![ROOT_FALLBACK]))
    }

    /// The file of `kind`.
    pub fn file(&self, kind: IdKind) -> &Path {
        match kind {
            IdKind::Uid => &self.subuid,
            IdKind::Gid => &self.subgid,
        }
    }

    /// Always an error, the most telling one: the account's own broken line, else that none is its.
    fn no_range<T>(&self, kind: IdKind, account: &Account, text: &str) -> Result<T, SubIdError> {
        let broken = entries(text)
            .filter_map(Result::err)
            .find(|bad| bad.owner == account.name);
        if let Some(bad) = broken {
            let (path, text) = (self.file(kind).to_owned(), bad.text.to_owned());
            return Err(SubIdError::Malformed {
                path,
                line: bad.line,
                text,
                flaw: bad.flaw,
            });
        }
        let similar = entries(text)
            .flatten()
            .find(|e| resembles(e.owner, &account.name));
        Err(SubIdError::NoRange {
            uid: account.uid,
            similar: similar.map(|e| (e.line, e.owner.to_owned())),
            grant: self.grant(kind, account)?,
        })
    }

    /// The line that would give the account a range of its own, and how to add it.
    fn grant(&self, kind: IdKind, account: &Account) -> Result<Box<Grant>, SubIdError> {
        let path = self.file(kind).to_owned();
        let text = read_or_empty(&path)?;
        let passwd = read_or_empty(&self.passwd)?;
        let used: Vec<u32> = passwd_entries(&passwd)
            .map(|(_, uid)| uid)
            .chain([account.uid])
            .collect();
        Ok(Box::new(Grant {
            kind,
            path,
            name: account.name.clone(),
            range: first_free(&text, &used),
            local: account.local,
            unterminated: !text.is_empty() && !text.ends_with('\n'),
        }))
    }
}

/// Ids that must never be subordinate: root's make the container's users the host's root; the caller's own is mapped
/// already, so that the kernel would refuse the map.
fn reject_dangerous(path: &Path, account: &Account, text: &str) -> Result<(), SubIdError> {
    let uid = account.uid.to_string();
    for entry in entries(text)
        .flatten()
        .filter(|e| e.owner == account.name || e.owner == uid)
    {
        let flaw = if entry.range.contains(0) {
            Flaw::CoversRoot
        } else if entry.range.contains(account.uid) {
            Flaw::CoversCaller
        } else {
            continue;
        };
        let text = format!(
            "{}:{}:{}",
            entry.owner, entry.range.start, entry.range.count
        );
        return Err(SubIdError::Malformed {
            path: path.to_owned(),
            line: entry.line,
            text,
            flaw,
        });
    }
    Ok(())
}

/// `Alice`, `alice@example.org` and `EXAMPLE\alice` resemble `alice`: the usual wrong owners.
fn resembles(owner: &str, name: &str) -> bool {
    fn local(name: &str) -> &str {
        let after = name.rsplit('\\').next().unwrap_or(name);
        after.split('@').next().unwrap_or(after)
    }
    local(owner).eq_ignore_ascii_case(local(name))
}

/// Name and uid of each line of a passwd(5) text.
pub(crate) fn passwd_entries(text: &str) -> impl Iterator<Item = (&str, u32)> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        Some((name, fields.nth(1)?.parse().ok()?))
    })
}

/// A file that does not exist grants nothing; bytes that are not UTF-8 cannot be part of a name that matches.
fn read_or_empty(path: &Path) -> Result<String, SubIdError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(source) => Err(SubIdError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

#[cfg(test)]
mod tests;
