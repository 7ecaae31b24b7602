//! Which distribution a tree says that it is, os-release(5).
//!
//! Invariant: without an `ID` there is no distribution; nothing else is asked.

use super::whole;
use crate::tree::{Tree, TreeError};

/// A distribution.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distribution {
    /// `ID`: debian.
    pub id: String,
    /// `VERSION_ID`: 12; rolling distributions have none.
    pub version: String,
    /// `PRETTY_NAME`, or else the id.
    pub title: String,
}

pub(super) fn read(tree: &dyn Tree) -> Result<Option<Distribution>, TreeError> {
    for place in ["etc/os-release", "usr/lib/os-release"] {
        if let Some(text) = whole(tree, place)? {
            return Ok(parse(&String::from_utf8_lossy(&text)));
        }
    }
    Ok(None)
}

fn parse(text: &str) -> Option<Distribution> {
    let value = |wanted: &str| {
        let mut assignments = text.lines().filter_map(|line| line.trim().split_once('='));
        let found = assignments.find(|(name, _)| *name == wanted);
        found.map(|(_, value)| value.trim_matches(['"', '\'']).to_owned())
    };
    let id = value("ID").filter(|id| !id.is_empty())?;
    Some(Distribution {
        version: value("VERSION_ID").unwrap_or_default(),
        title: value("PRETTY_NAME").unwrap_or_else(|| id.clone()),
        id,
    })
}
