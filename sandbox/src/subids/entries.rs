//! The text of subuid(5) and subgid(5). Invariant: a range that leaves this file is not empty and ends below the id that
//! means "no id"; a list of ranges is sorted and disjoint.

use serde::Serialize;

use super::{Flaw, NEEDED};

/// Consecutive ids `start..start + count`, never empty; the end fits because id 4294967295 means "no id".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct SubIdRange {
    /// The first id.
    pub start: u32,
    /// How many ids.
    pub count: u32,
}

impl SubIdRange {
    /// The range, unless it is empty or runs beyond the last id that the kernel knows.
    pub fn new(start: u64, count: u64) -> Result<Self, Flaw> {
        if count == 0 {
            return Err(Flaw::Empty);
        }
        match (u32::try_from(start), u32::try_from(count)) {
            (Ok(start), Ok(count)) if start.checked_add(count).is_some() => {
                Ok(Self { start, count })
            }
            _ => Err(Flaw::BeyondLastId),
        }
    }

    /// One past the last id.
    pub fn end(self) -> u32 {
        self.start.saturating_add(self.count)
    }

    /// The last id.
    pub fn last(self) -> u32 {
        self.end().saturating_sub(1)
    }

    /// Whether `id` is in the range.
    pub fn contains(self, id: u32) -> bool {
        (self.start..self.end()).contains(&id)
    }

    /// Whether the two have an id in common.
    pub fn overlaps(self, other: Self) -> bool {
        self.start < other.end() && other.start < self.end()
    }
}

/// One well-formed line of /etc/subuid or /etc/subgid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'t> {
    /// Counted from 1.
    pub line: usize,
    /// A login name, or a uid in decimal.
    pub owner: &'t str,
    /// What it grants.
    pub range: SubIdRange,
}

/// A line that grants nothing because it is not `owner:start:count`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadLine<'t> {
    /// Counted from 1.
    pub line: usize,
    /// What stands before the first colon.
    pub owner: &'t str,
    /// The whole line.
    pub text: &'t str,
    /// What is wrong with it.
    pub flaw: Flaw,
}

/// Every line of a sub-id file that is neither empty nor a comment, in order.
pub fn entries(text: &str) -> impl Iterator<Item = Result<Entry<'_>, BadLine<'_>>> {
    text.lines().enumerate().filter_map(|(index, raw)| {
        let text = raw.trim();
        if text.is_empty() || text.starts_with('#') {
            return None;
        }
        let owner = text.split(':').next().unwrap_or(text);
        let line = index + 1;
        Some(match parse_line(text) {
            Ok(range) => Ok(Entry { line, owner, range }),
            Err(flaw) => Err(BadLine {
                line,
                owner,
                text,
                flaw,
            }),
        })
    })
}

fn parse_line(text: &str) -> Result<SubIdRange, Flaw> {
    let fields: Vec<&str> = text.split(':').collect();
    let [owner, start, count] = fields[..] else {
        return Err(Flaw::NotThreeFields);
    };
    if owner.is_empty() {
        return Err(Flaw::NotThreeFields);
    }
    let start = start.parse().map_err(|_| Flaw::NotANumber)?;
    let count = count.parse().map_err(|_| Flaw::NotANumber)?;
    SubIdRange::new(start, count)
}

/// The ranges that `text` grants to the account: by name or by uid, sorted, overlapping and adjacent ones joined.
pub fn ranges_for(name: &str, uid: u32, text: &str) -> Vec<SubIdRange> {
    let uid = uid.to_string();
    let own = entries(text)
        .flatten()
        .filter(|e| e.owner == name || e.owner == uid);
    joined(own.map(|e| e.range).collect())
}

/// Sorted and disjoint: the kernel refuses a map whose extents overlap (user_namespaces(7)).
pub(super) fn joined(mut ranges: Vec<SubIdRange>) -> Vec<SubIdRange> {
    ranges.sort_unstable();
    let mut out: Vec<SubIdRange> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match out.last_mut() {
            Some(last) if range.start <= last.end() => {
                last.count = last.end().max(range.end()) - last.start;
            }
            _ => out.push(range),
        }
    }
    out
}

/// How many ids the ranges have together.
pub fn total(ranges: &[SubIdRange]) -> u32 {
    ranges
        .iter()
        .fold(0, |sum, range| sum.saturating_add(range.count))
}

/// The first range of [`NEEDED`] ids from 100000 on that no entry of `text` touches and no id in `used` lies in.
pub fn first_free(text: &str, used: &[u32]) -> Option<SubIdRange> {
    let single = used.iter().map(|&id| SubIdRange {
        start: id,
        count: 1,
    });
    let mut taken: Vec<SubIdRange> = entries(text)
        .flatten()
        .map(|e| e.range)
        .chain(single)
        .collect();
    taken.sort_unstable();
    let mut start = 100_000;
    for range in taken {
        if SubIdRange::new(start, u64::from(NEEDED)).is_ok_and(|free| free.overlaps(range)) {
            start = u64::from(range.end());
        }
    }
    SubIdRange::new(start, u64::from(NEEDED)).ok()
}
