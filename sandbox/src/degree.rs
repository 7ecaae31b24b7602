//! Which ids a session gets. The invariant: the choice is a pure function of what is known about the caller, session id 0 is
//! always the caller, and subordinate ids follow from session id 1 without a gap.

use std::path::PathBuf;

use crate::idmap::{Extent, ExtentMap, IdMapError};
use crate::session::{MapWriter, SessionPlan};
use crate::subids::{SubIdRange, SubIds};

/// What the choice depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The effective user id.
    pub uid: u32,
    /// The effective group id.
    pub gid: u32,
    /// The ids that the caller may map beside its own, if there are any.
    pub ids: Option<SubIds>,
    /// Who may write them.
    pub writer: WriterChoice,
}

/// Who may write a map of more than the caller's own id, user_namespaces(7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriterChoice {
    /// The caller: it is root with CAP_SETUID, CAP_SETGID and CAP_SETFCAP in its namespace.
    Caller,
    /// newuidmap(1) and newgidmap(1).
    Helpers {
        /// Path of newuidmap.
        newuidmap: PathBuf,
        /// Path of newgidmap.
        newgidmap: PathBuf,
    },
    /// Nobody.
    Nobody,
}

impl SessionPlan {
    /// Chooses the ids of a session and who writes its maps: all that the caller has, or only its own.
    ///
    /// # Errors
    /// When the ranges cannot be a map: they overlap with each other or with the caller's own id.
    pub fn choose(caller: &Caller) -> Result<Self, IdMapError> {
        let usable = caller
            .ids
            .as_ref()
            .filter(|ids| !ids.uids.is_empty() && !ids.gids.is_empty());
        let (ids, writer) = match (usable, &caller.writer) {
            (Some(ids), WriterChoice::Caller) => (ids, MapWriter::Caller),
            (
                Some(ids),
                WriterChoice::Helpers {
                    newuidmap,
                    newgidmap,
                },
            ) => {
                let (newuidmap, newgidmap) = (newuidmap.clone(), newgidmap.clone());
                (
                    ids,
                    MapWriter::Helpers {
                        newuidmap,
                        newgidmap,
                    },
                )
            }
            (None, _) | (_, WriterChoice::Nobody) => return Self::single(caller.uid, caller.gid),
        };
        Ok(Self {
            uids: shifted(caller.uid, &ids.uids)?,
            gids: shifted(caller.gid, &ids.gids)?,
            writer,
        })
    }

    fn single(uid: u32, gid: u32) -> Result<Self, IdMapError> {
        let own = |id| ExtentMap::single(0, id, 1);
        Ok(Self {
            uids: own(uid)?,
            gids: own(gid)?,
            writer: MapWriter::Itself,
        })
    }

    /// Whether the session has the caller's own ids only.
    pub fn is_single_id(&self) -> bool {
        self.writer == MapWriter::Itself
    }
}

/// The caller at 0, the ranges after it.
fn shifted(own: u32, ranges: &[SubIdRange]) -> Result<ExtentMap, IdMapError> {
    let mut extents = vec![Extent {
        inside: 0,
        outside: own,
        count: 1,
    }];
    let mut next: u32 = 1;
    for range in ranges {
        extents.push(Extent {
            inside: next,
            outside: range.start,
            count: range.count,
        });
        next = next.checked_add(range.count).ok_or(IdMapError::Overflow {
            start: next,
            count: range.count,
        })?;
    }
    ExtentMap::new(extents)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u32, count: u32) -> SubIdRange {
        SubIdRange { start, count }
    }

    fn helpers() -> WriterChoice {
        WriterChoice::Helpers {
            newuidmap: "/usr/bin/newuidmap".into(),
            newgidmap: "/usr/bin/newgidmap".into(),
        }
    }

    fn chosen(
        uid: u32,
        ids: Option<(Vec<SubIdRange>, Vec<SubIdRange>)>,
        writer: WriterChoice,
    ) -> SessionPlan {
        let ids = ids.map(|(uids, gids)| SubIds { uids, gids });
        SessionPlan::choose(&Caller {
            uid,
            gid: uid,
            ids,
            writer,
        })
        .unwrap()
    }

    #[test]
    fn an_ordinary_user_with_a_range_is_zero_and_the_range_follows() {
        let ranges = vec![range(100_000, 65_536)];
        let plan = chosen(1000, Some((ranges.clone(), ranges)), helpers());
        assert_eq!(plan.uids.to_string(), "0 1000 1\n1 100000 65536\n");
        assert_eq!(plan.gids.to_string(), plan.uids.to_string());
        assert!(matches!(plan.writer, MapWriter::Helpers { .. }));
        assert_eq!(plan.image_ids(), (65_536, 65_536));
        assert!(!plan.is_single_id());
    }

    #[test]
    fn several_ranges_follow_each_other_without_a_gap() {
        let uids = vec![range(100_000, 10), range(300_000, 65_526)];
        let plan = chosen(1000, Some((uids, vec![range(200_000, 65_536)])), helpers());
        assert_eq!(
            plan.uids.to_string(),
            "0 1000 1\n1 100000 10\n11 300000 65526\n"
        );
        assert_eq!(plan.uids.contiguous_from_zero(), 65_537);
    }

    #[test]
    fn root_writes_its_own_maps() {
        let fallback = vec![crate::subids::ROOT_FALLBACK];
        let plan = chosen(0, Some((fallback.clone(), fallback)), WriterChoice::Caller);
        assert_eq!(plan.writer, MapWriter::Caller);
        assert_eq!(plan.uids.outside(0), Some(0));
        assert_eq!(
            plan.uids.outside(1),
            Some(crate::subids::ROOT_FALLBACK.start)
        );
    }

    #[test]
    fn root_in_a_container_keeps_the_ids_that_it_has() {
        let own = vec![range(1, 65_535)];
        let plan = chosen(0, Some((own.clone(), own)), WriterChoice::Caller);
        assert_eq!(plan.uids.to_string(), "0 0 1\n1 1 65535\n");
    }

    #[test]
    fn without_ranges_or_a_writer_there_is_a_single_id() {
        let ranges = || Some((vec![range(100_000, 65_536)], vec![range(100_000, 65_536)]));
        let half = Some((vec![range(100_000, 65_536)], vec![]));
        for plan in [
            chosen(1000, None, helpers()),
            chosen(1000, half, helpers()),
            chosen(1000, ranges(), WriterChoice::Nobody),
        ] {
            assert_eq!(
                (plan.uids.to_string().as_str(), &plan.writer),
                ("0 1000 1\n", &MapWriter::Itself)
            );
            assert!(plan.is_single_id());
        }
    }

    #[test]
    fn ranges_that_cannot_be_a_map_are_an_error() {
        let choose = |uids: Vec<SubIdRange>| {
            let ids = Some(SubIds {
                gids: uids.clone(),
                uids,
            });
            SessionPlan::choose(&Caller {
                uid: 1000,
                gid: 1000,
                ids,
                writer: helpers(),
            })
        };
        assert_eq!(
            choose(vec![range(900, 200)]),
            Err(IdMapError::Overlap(1000))
        );
        assert!(choose(vec![range(1, 10), range(5, 10)]).is_err());
        assert!(choose(vec![range(2000, u32::MAX - 2001), range(10, 900)]).is_ok());
        // 4294967294 is the last valid id.
        assert!(choose(vec![range(2000, u32::MAX - 2001), range(u32::MAX - 1, 1)]).is_ok());
    }
}
