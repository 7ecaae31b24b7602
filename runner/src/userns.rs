//! Which id inside the container is which id outside, as arithmetic on maps. The invariant: every mode maps session id 0,
//! the invoking user, to at most one id inside, and no two ids to one.
//!
//! In a session, id 0 is the invoking user and ids 1..=N are the subordinate ones; the image's id k is on disk as k + 1.
//! The maps are Podman's (`podman run --userns`), so that volumes written by either tool fit the other.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use sandbox::{Extent, ExtentMap, IdMap, IdMapError};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What was asked for with `--userns`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum UsernsMode {
    /// As [`UsernsMode::KeepId`] on the ids that the process runs as; as [`UsernsMode::Nomap`] where it runs as root.
    #[default]
    Default,
    /// One id inside is the invoking user; without a value it is the one that the process runs as.
    KeepId {
        /// The user id inside.
        uid: Option<u32>,
        /// The group id inside.
        gid: Option<u32>,
        /// How many ids there are inside; as many as there can be without.
        size: Option<u32>,
    },
    /// As [`UsernsMode::Nomap`], with ids that no other container of this mode has.
    Auto {
        /// How many; as many as the image uses, and at least 1024, without.
        size: Option<u32>,
    },
    /// The invoking user is not in the container.
    Nomap,
    /// Root inside is the invoking user.
    Host,
}

/// A text that is no mode.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error(
    "understand --userns={0:?}: it is keep-id[:uid=UID,gid=GID,size=COUNT], nomap, host or auto[:size=COUNT]"
)]
pub struct ParseUsernsError(String);

impl FromStr for UsernsMode {
    type Err = ParseUsernsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseUsernsError(text.chars().take(100).collect());
        let (mode, options) = match text.split_once(':') {
            Some((mode, options)) => (mode, numbers(options).ok_or_else(wrong)?),
            None => (text, BTreeMap::new()),
        };
        let known = |names: &[&str]| options.keys().all(|name| names.contains(name));
        let option = |name| options.get(name).copied();
        let size = option("size");
        match mode {
            "keep-id" if known(&["uid", "gid", "size"]) && size != Some(0) => Ok(Self::KeepId {
                uid: option("uid"),
                gid: option("gid"),
                size,
            }),
            "auto" if known(&["size"]) && size != Some(0) => Ok(Self::Auto { size }),
            "nomap" if text == mode => Ok(Self::Nomap),
            "host" if text == mode => Ok(Self::Host),
            _ => Err(wrong()),
        }
    }
}

/// `NAME=NUMBER[,NAME=NUMBER]`, each name once.
fn numbers(text: &str) -> Option<BTreeMap<&str, u32>> {
    let mut numbers = BTreeMap::new();
    for option in text.split(',') {
        let (name, value) = option.split_once('=')?;
        if numbers.insert(name, exact_id(value)?).is_some() {
            return None;
        }
    }
    Some(numbers)
}

/// Digits only: no sign, no blank, no other base. The last number is "no id" for chown(2).
fn exact_id(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let id = digits.then(|| text.parse().ok()).flatten()?;
    (id != u32::MAX).then_some(id)
}

impl fmt::Display for UsernsMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Nomap => f.write_str("nomap"),
            Self::Host => f.write_str("host"),
            Self::Auto { size: None } => f.write_str("auto"),
            Self::Auto { size: Some(size) } => write!(f, "auto:size={size}"),
            Self::KeepId { uid, gid, size } => {
                let named = [("uid", uid), ("gid", gid), ("size", size)];
                let named = named.into_iter();
                let options: Vec<_> = named
                    .filter_map(|(name, id)| id.map(|id| format!("{name}={id}")))
                    .collect();
                if options.is_empty() {
                    f.write_str("keep-id")
                } else {
                    write!(f, "keep-id:{}", options.join(","))
                }
            }
        }
    }
}

/// A pair of ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Ids {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

impl Ids {
    /// Root's.
    pub const ROOT: Self = Self { uid: 0, gid: 0 };
}

impl fmt::Display for Ids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)
    }
}

/// What a mode means for one process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mapping {
    /// These ids inside are the invoking user and group, and with a size there are no more ids than that.
    Caller(Ids, Option<u32>),
    /// Nobody inside is.
    Shifted,
    /// What was asked for, id by id, or found to be free.
    Given(IdMap),
}

/// A map that the session cannot give.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum UsernsError {
    /// One id cannot be two.
    #[error(
        "map ids {asked} and {process}: without subordinate ids a container has one id only; run it as {asked}, or add \
         ranges to /etc/subuid and /etc/subgid"
    )]
    OneIdOnly {
        /// The ids that keep-id asks for.
        asked: Ids,
        /// The ids of the process.
        process: Ids,
    },
    /// The arithmetic has no answer, as in a session without any subordinate id.
    #[error("make the container's id map")]
    Map(#[source] IdMapError),
}

impl UsernsMode {
    /// What the mode means for a process that runs as `process`.
    pub fn mapping(self, process: Ids) -> Mapping {
        match self {
            Self::Default
            | Self::KeepId {
                uid: None,
                gid: None,
                size: None,
            } if process.uid == 0 => Mapping::Shifted,
            Self::Default => Mapping::keep(None, None, None, process),
            Self::KeepId { uid, gid, size } => Mapping::keep(uid, gid, size, process),
            Self::Nomap | Self::Auto { .. } => Mapping::Shifted,
            Self::Host => Mapping::Caller(Ids::ROOT, None),
        }
    }
}

impl Mapping {
    /// A process of group 0 (`USER 65532` without a group) does not take the caller's group for root's: every file of the
    /// image would have to change its group.
    fn keep(uid: Option<u32>, gid: Option<u32>, size: Option<u32>, process: Ids) -> Self {
        let uid = uid.unwrap_or(process.uid);
        let gid = gid.unwrap_or(if process.gid == 0 { uid } else { process.gid });
        Self::Caller(Ids { uid, gid }, size)
    }

    /// The container's map in a session that stores `image_ids` user and group ids, for a process that runs as `process`.
    ///
    /// # Errors
    /// Where a session of one id would need a second.
    pub fn container_map(&self, image_ids: (u32, u32), process: Ids) -> Result<IdMap, UsernsError> {
        if (image_ids.0 == 0 || image_ids.1 == 0) && !matches!(self, Self::Given(_)) {
            return self.one_id_map(process);
        }
        match self {
            Self::Given(map) => Ok(map.clone()),
            Self::Shifted => IdMap::shifted(image_ids.0, image_ids.1),
            Self::Caller(ids, size) => {
                // The caller's own id is one of them.
                let count = |most: u32| size.map_or(most, |size| most.min(size - 1));
                keep(ids.uid, count(image_ids.0)).and_then(|uids| {
                    Ok(IdMap {
                        uids,
                        gids: keep(ids.gid, count(image_ids.1))?,
                    })
                })
            }
        }
        .map_err(UsernsError::Map)
    }

    /// With one id there is no choice: whoever the process is, it is the invoking user, and its group is the user's.
    fn one_id_map(&self, process: Ids) -> Result<IdMap, UsernsError> {
        match self {
            Self::Caller(asked, _) if asked.uid != process.uid => Err(UsernsError::OneIdOnly {
                asked: *asked,
                process,
            }),
            _ => {
                let one = |id| ExtentMap::single(id, 0, 1).map_err(UsernsError::Map);
                Ok(IdMap {
                    uids: one(process.uid)?,
                    gids: one(process.gid)?,
                })
            }
        }
    }

    /// How the owners of an image's files must be on disk for it; `None` where all are so already.
    pub(crate) fn owners(&self) -> Option<Owners> {
        match self {
            Self::Shifted => None,
            Self::Caller(ids, _) => Some(Owners::Kept(*ids)),
            Self::Given(map) => {
                let extents = |map: &ExtentMap| map.extents().to_vec();
                let mut all = [extents(&map.uids), extents(&map.gids)]
                    .concat()
                    .into_iter();
                all.any(|extent| extent.outside != extent.inside + 1)
                    .then(|| Owners::Map(map.clone()))
            }
        }
    }
}

/// How the owners of an image's files must be on disk, as session ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Owners {
    /// For a container that keeps these ids.
    Kept(Ids),
    /// For this map.
    Map(IdMap),
}

impl Owners {
    /// Of an image's user id.
    pub(crate) fn uid(&self, id: u32) -> u32 {
        match self {
            Self::Kept(kept) => session_id(id, kept.uid),
            Self::Map(map) => map.uids.outside(id).unwrap_or(id.saturating_add(1)),
        }
    }

    /// Of an image's group id.
    pub(crate) fn gid(&self, id: u32) -> u32 {
        match self {
            Self::Kept(kept) => session_id(id, kept.gid),
            Self::Map(map) => map.gids.outside(id).unwrap_or(id.saturating_add(1)),
        }
    }

    /// An id of the image that the map leaves out, and whose files it would show as another's.
    pub(crate) fn mistaken(&self, uids: &BTreeSet<u32>, gids: &BTreeSet<u32>) -> Option<u32> {
        let Self::Map(map) = self else { return None };
        let wrong = |map: &ExtentMap, ids: &BTreeSet<u32>| {
            let mut ids = ids.iter().copied();
            ids.find(|id| map.outside(*id).is_none() && map.inside(id.saturating_add(1)).is_some())
        };
        wrong(&map.uids, uids).or_else(|| wrong(&map.gids, gids))
    }
}

impl fmt::Display for Owners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kept(kept) => write!(f, "keep-id {kept}"),
            Self::Map(_) => f.write_str("the id map"),
        }
    }
}

/// `0..K-1 -> 1..K, K -> 0, K+1.. -> K+1..`, as far as the session's `count` + 1 ids go.
fn keep(id: u32, count: u32) -> Result<ExtentMap, IdMapError> {
    let mut extents = vec![Extent {
        inside: id,
        outside: 0,
        count: 1,
    }];
    let below = id.min(count);
    if below > 0 {
        extents.push(Extent {
            inside: 0,
            outside: 1,
            count: below,
        });
    }
    if id < count {
        extents.push(Extent {
            inside: id + 1,
            outside: id + 1,
            count: count - id,
        });
    }
    ExtentMap::new(extents)
}

/// The session id under which the file of an image id must be on disk for a container that keeps `kept`.
pub(crate) fn session_id(id: u32, kept: u32) -> u32 {
    match id.cmp(&kept) {
        std::cmp::Ordering::Less => id + 1,
        std::cmp::Ordering::Equal => 0,
        std::cmp::Ordering::Greater => id,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANGE: u32 = 65_536;

    fn map(mode: &str, process: u32) -> ExtentMap {
        let process = Ids {
            uid: process,
            gid: process,
        };
        let mode: UsernsMode = mode.parse().unwrap();
        mode.mapping(process)
            .container_map((RANGE, RANGE), process)
            .unwrap()
            .uids
    }

    /// On the host, session id 0 is `user` and session id n > 0 is `first` + n - 1.
    fn on_host(map: &ExtentMap, id: u32) -> Option<u32> {
        map.outside(id).map(|session| {
            if session == 0 {
                1000
            } else {
                100_000 + session - 1
            }
        })
    }

    #[test]
    fn modes_are_read_and_written() {
        for text in [
            "keep-id",
            "keep-id:uid=5,gid=6",
            "keep-id:gid=6",
            "keep-id:uid=1,size=5",
            "auto",
            "auto:size=5",
            "nomap",
            "host",
        ] {
            assert_eq!(text.parse::<UsernsMode>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn s43_odd_ids_are_refused() {
        for text in [
            "",
            "keep",
            "keep-id:",
            "keep-id:uid",
            "keep-id:uid=",
            "keep-id:uid=-1",
            "keep-id:uid=+0",
            "keep-id:uid= 0",
            "keep-id:uid=0x0",
            "keep-id:uid=4294967295",
            "keep-id:uid=4294967296",
            "keep-id:uid=1,uid=2",
            "keep-id:size=0",
            "nomap:uid=1",
            "nomap:",
            "auto:uid=1",
            "auto:",
        ] {
            assert!(text.parse::<UsernsMode>().is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn the_numbers_on_the_host_are_podmans() {
        // `podman unshare --userns`-style table: U = 1000, B = 100000 (runner reference, "Uid arithmetic").
        type Case = (&'static str, u32, &'static [(u32, u32)]);
        let cases: &[Case] = &[
            ("host", 1001, &[(0, 1000), (1, 100_000), (1001, 101_000)]),
            (
                "keep-id:uid=1001,gid=1001",
                1001,
                &[(0, 100_000), (1000, 101_000), (1001, 1000), (1002, 101_001)],
            ),
            (
                "keep-id",
                65_532,
                &[
                    (0, 100_000),
                    (65_531, 165_531),
                    (65_532, 1000),
                    (65_533, 165_532),
                    (65_536, 165_535),
                ],
            ),
            (
                "nomap",
                1000,
                &[(0, 100_000), (1000, 101_000), (65_535, 165_535)],
            ),
        ];
        for (mode, process, expected) in cases {
            let map = map(mode, *process);
            for (inside, host) in *expected {
                assert_eq!(on_host(&map, *inside), Some(*host), "{mode}: {inside}");
            }
        }
    }

    #[test]
    fn the_map_of_keep_id_has_three_extents() {
        assert_eq!(
            map("keep-id", 65_532).to_string(),
            "0 1 65532\n65532 0 1\n65533 65533 4\n"
        );
        assert_eq!(map("host", 7).to_string(), "0 0 1\n1 1 65536\n");
        assert_eq!(
            map("keep-id:uid=65536", 0).to_string(),
            "0 1 65536\n65536 0 1\n"
        );
        assert_eq!(
            map("keep-id:uid=70000", 0).to_string(),
            "0 1 65536\n70000 0 1\n"
        );
    }

    #[test]
    fn a_size_leaves_the_last_ids_out() {
        assert_eq!(
            map("keep-id:size=10", 5).to_string(),
            "0 1 5\n5 0 1\n6 6 4\n"
        );
        assert_eq!(
            map("keep-id:uid=9,size=10", 0).to_string(),
            "0 1 9\n9 0 1\n"
        );
        assert_eq!(map("keep-id:size=1", 0).to_string(), "0 0 1\n");
        assert_eq!(map("keep-id:size=99999", 7).len(), u64::from(RANGE) + 1);
    }

    #[test]
    fn files_of_ids_that_a_map_leaves_out_are_nobodys_or_refused() {
        let map = |inside, outside, count| {
            let map = || ExtentMap::single(inside, outside, count).unwrap();
            Owners::Map(IdMap {
                uids: map(),
                gids: map(),
            })
        };
        let set = |ids: &[u32]| ids.iter().copied().collect::<BTreeSet<u32>>();
        let owners = map(0, 11, 10);
        assert_eq!((owners.uid(0), owners.gid(9)), (11, 20));
        assert_eq!(owners.uid(30), 31, "nobody's");
        assert_eq!(owners.mistaken(&set(&[0, 9, 30]), &set(&[9])), None);
        assert_eq!(owners.mistaken(&set(&[0]), &set(&[10])), Some(10));
        let plain = IdMap::shifted(20, 20).unwrap();
        assert_eq!(Mapping::Given(plain).owners(), None);
    }

    #[test]
    fn files_are_found_under_the_id_that_the_map_shows() {
        for kept in [0, 1, 500, 65_532] {
            let map = keep(kept, RANGE).unwrap();
            for id in [0, 1, 499, 500, 501, 65_531, 65_532, 65_533, 65_535] {
                assert_eq!(
                    map.outside(id),
                    Some(session_id(id, kept)),
                    "{id} with {kept} kept"
                );
                assert_eq!(
                    session_id(id, kept) == id + 1,
                    id < kept,
                    "only ids from {kept} on are re-owned"
                );
            }
        }
    }

    #[test]
    fn root_runs_without_the_caller_unless_it_is_asked_for() {
        let root = Ids::ROOT;
        assert_eq!(UsernsMode::Default.mapping(root), Mapping::Shifted);
        assert_eq!(
            "keep-id".parse::<UsernsMode>().unwrap().mapping(root),
            Mapping::Shifted
        );
        let asked: UsernsMode = "keep-id:uid=0,gid=0".parse().unwrap();
        assert_eq!(asked.mapping(root), Mapping::Caller(root, None));
        let other = Ids { uid: 9, gid: 8 };
        let part: UsernsMode = "keep-id:uid=3".parse().unwrap();
        assert_eq!(
            part.mapping(other),
            Mapping::Caller(Ids { uid: 3, gid: 8 }, None)
        );
        let no_group = Ids {
            uid: 65_532,
            gid: 0,
        };
        let both = Mapping::Caller(
            Ids {
                uid: 65_532,
                gid: 65_532,
            },
            None,
        );
        assert_eq!(
            UsernsMode::Default.mapping(no_group),
            both,
            "the group of root stays root's"
        );
    }

    #[test]
    fn with_one_id_the_process_is_the_caller() {
        let process = Ids {
            uid: 65_532,
            gid: 65_532,
        };
        for mode in [UsernsMode::Default, UsernsMode::Nomap] {
            let map = mode
                .mapping(process)
                .container_map((0, 0), process)
                .unwrap();
            assert_eq!(map.uids.to_string(), "65532 0 1\n");
        }
        let refused = UsernsMode::Host
            .mapping(process)
            .container_map((0, 0), process);
        assert!(matches!(refused, Err(UsernsError::OneIdOnly { .. })));
    }
}
