//! Which id inside the container is which id outside, as arithmetic on maps. The invariant: every mode maps session id 0,
//! the invoking user, to at most one id inside, and no two ids to one.
//!
//! In a session, id 0 is the invoking user and ids 1..=N are the subordinate ones; the image's id k is on disk as k + 1.
//! The maps are Podman's (`podman run --userns`), so that volumes written by either tool fit the other.

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
    },
    /// The invoking user is not in the container.
    Nomap,
    /// Root inside is the invoking user.
    Host,
}

/// A text that is no mode.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("understand --userns={0:?}: it is keep-id, keep-id:uid=UID,gid=GID, nomap or host")]
pub struct ParseUsernsError(String);

impl FromStr for UsernsMode {
    type Err = ParseUsernsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseUsernsError(text.chars().take(100).collect());
        match text.split_once(':') {
            None => match text {
                "keep-id" => Ok(Self::KeepId {
                    uid: None,
                    gid: None,
                }),
                "nomap" => Ok(Self::Nomap),
                "host" => Ok(Self::Host),
                _ => Err(wrong()),
            },
            Some(("keep-id", options)) => {
                let (mut uid, mut gid) = (None, None);
                for option in options.split(',') {
                    let (key, value) = option.split_once('=').ok_or_else(wrong)?;
                    let place = match key {
                        "uid" => &mut uid,
                        "gid" => &mut gid,
                        _ => return Err(wrong()),
                    };
                    let id = exact_id(value).ok_or_else(wrong)?;
                    if place.replace(id).is_some() {
                        return Err(wrong());
                    }
                }
                Ok(Self::KeepId { uid, gid })
            }
            Some(_) => Err(wrong()),
        }
    }
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
            Self::KeepId { uid, gid } => {
                let id = |name: &str, id: Option<u32>| id.map(|id| format!("{name}={id}"));
                let options: Vec<_> = [id("uid", *uid), id("gid", *gid)]
                    .into_iter()
                    .flatten()
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mapping {
    /// These ids inside are the invoking user and group.
    Caller(Ids),
    /// Nobody inside is.
    Shifted,
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
            } if process.uid == 0 => Mapping::Shifted,
            Self::Default => Mapping::keep(None, None, process),
            Self::KeepId { uid, gid } => Mapping::keep(uid, gid, process),
            Self::Nomap => Mapping::Shifted,
            Self::Host => Mapping::Caller(Ids::ROOT),
        }
    }
}

impl Mapping {
    /// A process of group 0 (`USER 65532` without a group) does not take the caller's group for root's: every file of the
    /// image would have to change its group.
    fn keep(uid: Option<u32>, gid: Option<u32>, process: Ids) -> Self {
        let uid = uid.unwrap_or(process.uid);
        let gid = gid.unwrap_or(if process.gid == 0 { uid } else { process.gid });
        Self::Caller(Ids { uid, gid })
    }

    /// The container's map in a session that stores `image_ids` user and group ids, for a process that runs as `process`.
    ///
    /// # Errors
    /// Where a session of one id would need a second.
    pub fn container_map(self, image_ids: (u32, u32), process: Ids) -> Result<IdMap, UsernsError> {
        if image_ids.0 == 0 || image_ids.1 == 0 {
            return self.one_id_map(process);
        }
        match self {
            Self::Shifted => IdMap::shifted(image_ids.0, image_ids.1),
            Self::Caller(ids) => keep(ids.uid, image_ids.0).and_then(|uids| {
                Ok(IdMap {
                    uids,
                    gids: keep(ids.gid, image_ids.1)?,
                })
            }),
        }
        .map_err(UsernsError::Map)
    }

    /// With one id there is no choice: whoever the process is, it is the invoking user, and its group is the user's.
    fn one_id_map(self, process: Ids) -> Result<IdMap, UsernsError> {
        match self {
            Self::Caller(asked) if asked.uid != process.uid => {
                Err(UsernsError::OneIdOnly { asked, process })
            }
            _ => {
                let one = |id| ExtentMap::single(id, 0, 1).map_err(UsernsError::Map);
                Ok(IdMap {
                    uids: one(process.uid)?,
                    gids: one(process.gid)?,
                })
            }
        }
    }

    /// The least ids whose files are on disk under another id than this mapping shows them by; `None` where all fit.
    pub fn reowned_from(self) -> Option<Ids> {
        match self {
            Self::Shifted => None,
            Self::Caller(ids) => Some(ids),
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
            "keep-id:size=5",
            "nomap:uid=1",
            "auto",
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
        assert_eq!(asked.mapping(root), Mapping::Caller(root));
        let other = Ids { uid: 9, gid: 8 };
        let part: UsernsMode = "keep-id:uid=3".parse().unwrap();
        assert_eq!(part.mapping(other), Mapping::Caller(Ids { uid: 3, gid: 8 }));
        let no_group = Ids {
            uid: 65_532,
            gid: 0,
        };
        let both = Mapping::Caller(Ids {
            uid: 65_532,
            gid: 65_532,
        });
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
