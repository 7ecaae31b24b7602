//! Id maps of user namespaces, user_namespaces(7). The invariant: an [`ExtentMap`] is sorted, its extents are disjoint on
//! both sides, none is empty and none overflows, so that every lookup has at most one answer.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// `count` ids that begin at `inside` in the new namespace and at `outside` in its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extent {
    /// First id in the new namespace.
    pub inside: u32,
    /// First id in the parent namespace.
    pub outside: u32,
    /// How many ids.
    pub count: u32,
}

/// Why a list of extents is not a map.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum IdMapError {
    /// The kernel refuses an extent of no ids.
    #[error("map an empty extent at id {0}")]
    Empty(u32),
    /// The ids run past 2^32 - 2, the last valid id.
    #[error("map {count} ids from {start}: they run past the last valid id")]
    Overflow {
        /// First id of the extent.
        start: u32,
        /// Its length.
        count: u32,
    },
    /// Two extents claim the same id.
    #[error("map id {0} twice")]
    Overlap(u32),
}

/// A map between ids inside a namespace and ids of its parent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Extent>", into = "Vec<Extent>")]
pub struct ExtentMap(Vec<Extent>);

impl ExtentMap {
    /// Returns the map of the given extents, in any order.
    ///
    /// # Errors
    /// The first extent that is empty, overflows or overlaps another one.
    pub fn new(mut extents: Vec<Extent>) -> Result<Self, IdMapError> {
        for extent in &extents {
            if extent.count == 0 {
                return Err(IdMapError::Empty(extent.inside));
            }
            for start in [extent.inside, extent.outside] {
                // u32::MAX is "no id" for setuid(2) and friends.
                if start.checked_add(extent.count).is_none() {
                    return Err(IdMapError::Overflow {
                        start,
                        count: extent.count,
                    });
                }
            }
        }
        for side in [|e: &Extent| e.outside, |e: &Extent| e.inside] {
            extents.sort_by_key(side);
            for pair in extents.windows(2) {
                if side(&pair[0]) + pair[0].count > side(&pair[1]) {
                    return Err(IdMapError::Overlap(side(&pair[1])));
                }
            }
        }
        Ok(Self(extents))
    }

    /// Returns the map of one extent.
    ///
    /// # Errors
    /// As [`ExtentMap::new`].
    pub fn single(inside: u32, outside: u32, count: u32) -> Result<Self, IdMapError> {
        Self::new(vec![Extent {
            inside,
            outside,
            count,
        }])
    }

    /// The extents, by id inside.
    pub fn extents(&self) -> &[Extent] {
        &self.0
    }

    /// The parent's id for an id inside, where it is mapped.
    pub fn outside(&self, inside: u32) -> Option<u32> {
        self.0.iter().find_map(|e| {
            let offset = inside.checked_sub(e.inside)?;
            (offset < e.count).then(|| e.outside + offset)
        })
    }

    /// The id inside for a parent's id, where it is mapped.
    pub fn inside(&self, outside: u32) -> Option<u32> {
        self.0.iter().find_map(|e| {
            let offset = outside.checked_sub(e.outside)?;
            (offset < e.count).then(|| e.inside + offset)
        })
    }

    /// How many ids are mapped in all.
    pub fn len(&self) -> u64 {
        self.0.iter().map(|e| u64::from(e.count)).sum()
    }

    /// Whether no id is mapped.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many ids are mapped without a gap from id 0 inside.
    pub fn contiguous_from_zero(&self) -> u32 {
        let mut next = 0;
        for extent in &self.0 {
            if extent.inside != next {
                break;
            }
            next += extent.count;
        }
        next
    }
}

/// The text that /proc/PID/uid_map takes.
impl fmt::Display for ExtentMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for e in &self.0 {
            writeln!(f, "{} {} {}", e.inside, e.outside, e.count)?;
        }
        Ok(())
    }
}

impl TryFrom<Vec<Extent>> for ExtentMap {
    type Error = IdMapError;
    fn try_from(extents: Vec<Extent>) -> Result<Self, IdMapError> {
        Self::new(extents)
    }
}

impl From<ExtentMap> for Vec<Extent> {
    fn from(map: ExtentMap) -> Self {
        map.0
    }
}

/// The two maps of a user namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMap {
    /// User ids.
    pub uids: ExtentMap,
    /// Group ids.
    pub gids: ExtentMap,
}

impl IdMap {
    /// The plain shifted map of a build step: image id k is session id k + 1, for `uids` and `gids` ids each, so that
    /// not even root inside is the user outside.
    ///
    /// # Errors
    /// [`IdMapError::Empty`] where a count is 0.
    pub fn shifted(uids: u32, gids: u32) -> Result<Self, IdMapError> {
        Ok(Self {
            uids: ExtentMap::single(0, 1, uids)?,
            gids: ExtentMap::single(0, 1, gids)?,
        })
    }

    /// The shifted map with one exception: the user and group ids `kept` are the session's ids 0, those of the user outside. Every
    /// other image id k stays session id k + 1, so that only files of the kept ids are on disk under other ids than the map's.
    ///
    /// # Errors
    /// [`IdMapError::Empty`] where a count is 0.
    pub fn keeping(uids: u32, gids: u32, kept: (u32, u32)) -> Result<Self, IdMapError> {
        Ok(Self {
            uids: keeping(uids, kept.0)?,
            gids: keeping(gids, kept.1)?,
        })
    }

    /// The map of a session that has one id: image root is the user.
    pub fn one_id() -> Self {
        let one = || {
            ExtentMap(vec![Extent {
                inside: 0,
                outside: 0,
                count: 1,
            }])
        };
        Self {
            uids: one(),
            gids: one(),
        }
    }
}

fn keeping(count: u32, kept: u32) -> Result<ExtentMap, IdMapError> {
    let below = kept.min(count);
    let above = count.saturating_sub(kept.saturating_add(1));
    let extents = [(0, 1, below), (kept, 0, 1), (kept + 1, kept + 2, above)];
    let extents = extents.map(|(inside, outside, count)| Extent {
        inside,
        outside,
        count,
    });
    ExtentMap::new(
        extents
            .into_iter()
            .filter(|extent| extent.count > 0)
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_that_keeps_an_id_moves_no_other() {
        let map = IdMap::keeping(65_536, 10, (1000, 9)).unwrap();
        assert_eq!(
            map.uids.to_string(),
            "0 1 1000\n1000 0 1\n1001 1002 64535\n"
        );
        assert_eq!(map.gids.to_string(), "0 1 9\n9 0 1\n");
        for id in [0, 1, 999, 1001, 65_535] {
            assert_eq!(map.uids.outside(id), Some(id + 1), "{id}");
        }
        assert_eq!(
            map.uids.inside(1001),
            None,
            "its own id on disk is nobody's"
        );
    }

    #[test]
    fn extents_are_sorted_by_id_inside() {
        let map = ExtentMap::new(vec![
            Extent {
                inside: 5,
                outside: 0,
                count: 1,
            },
            Extent {
                inside: 0,
                outside: 1,
                count: 5,
            },
        ])
        .unwrap();
        assert_eq!(map.to_string(), "0 1 5\n5 0 1\n");
        assert_eq!(map.contiguous_from_zero(), 6);
    }

    #[test]
    fn lookups_go_both_ways_and_miss_what_is_not_mapped() {
        let map = ExtentMap::single(0, 1, 65536).unwrap();
        assert_eq!(map.outside(65535), Some(65536));
        assert_eq!(map.outside(65536), None);
        assert_eq!(map.inside(0), None);
        assert_eq!(map.inside(1), Some(0));
    }

    #[test]
    fn overlaps_on_either_side_are_refused() {
        let inside = vec![
            Extent {
                inside: 0,
                outside: 0,
                count: 2,
            },
            Extent {
                inside: 1,
                outside: 9,
                count: 1,
            },
        ];
        assert_eq!(ExtentMap::new(inside), Err(IdMapError::Overlap(1)));
        let outside = vec![
            Extent {
                inside: 0,
                outside: 0,
                count: 2,
            },
            Extent {
                inside: 5,
                outside: 1,
                count: 1,
            },
        ];
        assert_eq!(ExtentMap::new(outside), Err(IdMapError::Overlap(1)));
    }

    #[test]
    fn empty_and_overflowing_extents_are_refused() {
        assert_eq!(ExtentMap::single(3, 0, 0), Err(IdMapError::Empty(3)));
        assert!(matches!(
            ExtentMap::single(0, u32::MAX, 1),
            Err(IdMapError::Overflow { .. })
        ));
    }

    #[test]
    fn a_map_that_breaks_the_invariant_does_not_deserialise() {
        let text = r#"[{"inside":0,"outside":0,"count":2},{"inside":1,"outside":5,"count":1}]"#;
        assert!(serde_json::from_str::<ExtentMap>(text).is_err());
    }
}
