//! Maps of ids that are asked for line by line, `--uidmap` and `--gidmap`. The invariant: what comes out maps only ids that the
//! session has, and id 0 among those inside.
//!
//! The ids in the middle are podman's intermediate ones, and the session's: 0 is the invoking user, 1 the first subordinate id.

use std::str::FromStr;

use sandbox::{Extent, ExtentMap, IdMap, IdMapError};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The lines of both maps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapRequest {
    uids: Vec<MapLine>,
    gids: Vec<MapLine>,
}

/// `[+][u][g]INSIDE:[@]FROM[:AMOUNT]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapLine {
    inside: u32,
    from: u32,
    count: u32,
    /// Whether `from` is an id of the machine.
    of_host: bool,
    /// Whether the line breaks up those before it, instead of clashing with them.
    extends: bool,
    /// The kinds of ids that it is for, users and groups; neither says both.
    only: (bool, bool),
}

/// A text that is no line of a map.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error(
    "understand the id map {0:?}: it is [+]INSIDE:FROM[:AMOUNT], where @FROM is an id of this machine"
)]
pub struct ParseMapError(String);

/// Maps that this user cannot have.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum MapRequestError {
    /// The machine does not give the id.
    #[error("map {count} ids from {from}: {what} has them only up to {last}")]
    Outside {
        /// The first id.
        from: u32,
        /// How many.
        count: u32,
        /// Which ids these are.
        what: &'static str,
        /// The last that there is.
        last: u32,
    },
    /// An id of the machine that is neither the user's nor a subordinate one.
    #[error("map the id {0} of this machine: it is neither yours nor one of your subordinate ids")]
    Foreign(u32),
    /// Without it nothing can be mounted.
    #[error("make the container's id maps: id 0 is not in them")]
    NoRoot,
    /// The lines contradict each other.
    #[error("make the container's id maps")]
    Map(#[from] IdMapError),
}

impl FromStr for MapLine {
    type Err = ParseMapError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseMapError(text.chars().take(100).collect());
        let rest = text.trim_start_matches(['+', 'u', 'g']);
        let flags = &text[..text.len() - rest.len()];
        let mut parts = rest.split(':');
        let (inside, from) = (parts.next(), parts.next().ok_or_else(wrong)?);
        let (of_host, from) = match from.strip_prefix('@') {
            Some(from) => (true, from),
            None => (false, from),
        };
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| text.parse().ok()).flatten()
        };
        let line = Self {
            inside: inside.and_then(number).ok_or_else(wrong)?,
            from: number(from).ok_or_else(wrong)?,
            count: parts.next().map_or(Some(1), number).ok_or_else(wrong)?,
            of_host,
            extends: flags.contains('+'),
            only: (flags.contains('u'), flags.contains('g')),
        };
        match parts.next() {
            None => Ok(line),
            Some(_) => Err(wrong()),
        }
    }
}

impl MapRequest {
    /// The lines of `--uidmap` and of `--gidmap`. Where one of them says nothing it is as the other, but for lines that are
    /// meant for one kind of ids only.
    pub fn new(uids: Vec<MapLine>, gids: Vec<MapLine>) -> Self {
        let of_users = |line: &MapLine| line.only.0 || !line.only.1;
        let of_groups = |line: &MapLine| line.only.1 || !line.only.0;
        let both: Vec<MapLine> = uids.iter().chain(&gids).copied().collect();
        let chosen =
            |own: Vec<MapLine>, wanted: &dyn Fn(&MapLine) -> bool, kind: fn(&MapLine) -> bool| {
                let (lines, foreign): (Vec<_>, Vec<_>) = (own, both.clone());
                match lines.is_empty() {
                    true => foreign.into_iter().filter(|line| wanted(line)).collect(),
                    // A line of the other flag that names this kind of ids is meant here too.
                    false => {
                        let named = foreign
                            .into_iter()
                            .filter(|line| kind(line) && !lines.contains(line));
                        let named: Vec<MapLine> = named.collect();
                        lines
                            .into_iter()
                            .filter(|line| wanted(line))
                            .chain(named)
                            .collect()
                    }
                }
            };
        Self {
            uids: chosen(uids, &of_users, |line| line.only.0),
            gids: chosen(gids, &of_groups, |line| line.only.1),
        }
    }

    /// The maps in a session whose ids these are.
    ///
    /// # Errors
    /// What of them this session cannot give.
    pub fn resolve(&self, uids: &ExtentMap, gids: &ExtentMap) -> Result<IdMap, MapRequestError> {
        Ok(IdMap {
            uids: resolve(&self.uids, uids)?,
            gids: resolve(&self.gids, gids)?,
        })
    }
}

fn resolve(lines: &[MapLine], session: &ExtentMap) -> Result<ExtentMap, MapRequestError> {
    let mut extents: Vec<Extent> = Vec::new();
    // As in podman: lines that only extend do so to the map of a container without any.
    if lines.iter().all(|line| line.extends) {
        extents.push(Extent {
            inside: 0,
            outside: 0,
            count: session.contiguous_from_zero(),
        });
    }
    for line in lines {
        let new = in_session(line, session)?;
        if line.extends {
            extents = extents
                .into_iter()
                .flat_map(|old| without(old, new, |extent| extent.inside))
                .flat_map(|old| without(old, new, |extent| extent.outside))
                .collect();
        }
        extents.push(new);
    }
    let map = ExtentMap::new(extents)?;
    match map.outside(0) {
        Some(_) => Ok(map),
        None => Err(MapRequestError::NoRoot),
    }
}

fn in_session(line: &MapLine, session: &ExtentMap) -> Result<Extent, MapRequestError> {
    let MapLine {
        inside,
        from,
        count,
        ..
    } = *line;
    let last = session.contiguous_from_zero().saturating_sub(1);
    let outside = match line.of_host {
        false => from,
        true => session.inside(from).ok_or(MapRequestError::Foreign(from))?,
    };
    let end = outside.checked_add(count.saturating_sub(1));
    if end.is_none_or(|end| end > last) {
        return Err(MapRequestError::Outside {
            from,
            count,
            what: "your user namespace",
            last,
        });
    }
    if line.of_host
        && let Some(other) = (0..count).find(|at| {
            let id = from.checked_add(*at);
            id.and_then(|id| session.inside(id)) != Some(outside + at)
        })
    {
        return Err(MapRequestError::Foreign(from.saturating_add(other)));
    }
    Ok(Extent {
        inside,
        outside,
        count,
    })
}

/// What of `old` is left where `new` takes its ids on one side.
fn without(old: Extent, new: Extent, side: fn(&Extent) -> u32) -> Vec<Extent> {
    let (start, end) = (
        u64::from(side(&old)),
        u64::from(side(&old)) + u64::from(old.count),
    );
    let (from, to) = (
        u64::from(side(&new)),
        u64::from(side(&new)) + u64::from(new.count),
    );
    let part = |first: u64, last: u64| {
        let count = last.checked_sub(first).filter(|count| *count > 0)?;
        let skipped = u32::try_from(first - start).ok()?;
        Some(Extent {
            inside: old.inside + skipped,
            outside: old.outside + skipped,
            count: u32::try_from(count).ok()?,
        })
    };
    let before = part(start, end.min(from));
    let after = part(start.max(to), end);
    if from >= end || to <= start {
        return vec![old];
    }
    before.into_iter().chain(after).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// User 1000 with the subordinate ids 100000 to 165535.
    fn session() -> ExtentMap {
        let extent = |inside, outside, count| Extent {
            inside,
            outside,
            count,
        };
        ExtentMap::new(vec![extent(0, 1000, 1), extent(1, 100_000, 65_536)]).unwrap()
    }

    fn request(uids: &[&str], gids: &[&str]) -> MapRequest {
        let lines = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        MapRequest::new(lines(uids), lines(gids))
    }

    fn maps(uids: &[&str], gids: &[&str]) -> Result<(String, String), MapRequestError> {
        let map = request(uids, gids).resolve(&session(), &session())?;
        let shown = |map: &ExtentMap| map.to_string().trim_end().replace('\n', ", ");
        Ok((shown(&map.uids), shown(&map.gids)))
    }

    #[test]
    fn lines_are_podmans() {
        let keep = "0 1 1000, 1000 0 1, 1001 1001 64536";
        let lines = ["0:1:1000", "1000:0:1", "1001:1001:64536"];
        assert_eq!(maps(&lines, &[]), Ok((keep.into(), keep.into())));
        let (uids, gids) = maps(&lines, &["0:0:5"]).unwrap();
        assert_eq!((uids.as_str(), gids.as_str()), (keep, "0 0 5"));
        let (uids, gids) = maps(&["0:5"], &[]).unwrap();
        assert_eq!((uids.as_str(), gids.as_str()), ("0 5 1", "0 5 1"));
    }

    #[test]
    fn a_line_that_extends_breaks_up_what_it_clashes_with() {
        // podman-run(1), "Extending previous mappings".
        let extended = maps(&["0:0:65000", "+100000:1:1"], &[]).unwrap().0;
        assert_eq!(extended, "0 0 1, 2 2 64998, 100000 1 1");
        let alone = maps(&["+u7:@100000"], &[]).unwrap();
        let (uids, gids) = ("0 0 1, 2 2 5, 7 1 1, 8 8 65529", "0 0 65537");
        assert_eq!(alone, (uids.into(), gids.into()));
        // What was the invoking user's is not root's any more.
        assert_eq!(maps(&["+u7:@1000"], &[]), Err(MapRequestError::NoRoot));
    }

    #[test]
    fn ids_of_the_machine_are_found_in_the_session() {
        assert_eq!(
            maps(&["0:@100000:10", "10:@1000"], &[]).unwrap().0,
            "0 1 10, 10 0 1"
        );
        for id in ["0:@0", "0:@165536", "0:@165535:2"] {
            assert!(maps(&[id], &[]).is_err(), "{id}");
        }
        assert_eq!(maps(&["0:@7"], &[]), Err(MapRequestError::Foreign(7)));
    }

    #[test]
    fn what_the_session_does_not_have_is_refused() {
        assert!(matches!(
            maps(&["0:0:70000"], &[]),
            Err(MapRequestError::Outside { last: 65_536, .. })
        ));
        assert_eq!(maps(&["5:1:1"], &[]), Err(MapRequestError::NoRoot));
        assert!(matches!(
            maps(&["0:1:5", "3:9:1"], &[]),
            Err(MapRequestError::Map(IdMapError::Overlap(3)))
        ));
        assert!(matches!(
            maps(&["0:1:0"], &[]),
            Err(MapRequestError::Map(IdMapError::Empty(0)))
        ));
        for text in [
            "", "1", "a:1", "1:b", "1:2:3:4", "1:2:", "-1:2", "1:@", "x1:2",
        ] {
            assert!(text.parse::<MapLine>().is_err(), "{text:?} was accepted");
        }
    }
}
