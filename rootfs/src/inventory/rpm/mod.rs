//! rpm's database, in each of its three forms: SQLite (since 4.16), ndb (SUSE) and the Berkeley DB of older systems.
//!
//! Invariant: every offset and count is a stranger's and is checked where it is used; a database that is there and cannot be read is
//! told.

mod berkeley;
mod header;
mod ndb;
mod sqlite;

use super::{Database, whole};
use crate::path::TreePath;
use crate::tree::{Tree, TreeError};

/// Why a database gives no packages, as the end of a sentence.
type Reason = &'static str;
/// Gives each header to somebody.
type Walk = fn(&[u8], &mut dyn FnMut(&[u8])) -> Result<(), Reason>;

const HOMES: [&str; 2] = ["var/lib/rpm", "usr/lib/sysimage/rpm"];
const FORMS: [(&str, Walk); 3] = [
    ("rpmdb.sqlite", sqlite::walk),
    ("Packages.db", ndb::walk),
    ("Packages", berkeley::walk),
];

pub(super) fn read(
    tree: &dyn Tree,
    database: &mut Database,
    unread: &mut Vec<String>,
) -> Result<(), TreeError> {
    for home in HOMES {
        for (name, walk) in FORMS {
            let place = format!("{home}/{name}");
            let Some(bytes) = whole(tree, &place)? else {
                if tree
                    .lookup(&TreePath::clamped(&place)?)
                    .is_ok_and(|it| it.is_some())
                {
                    unread.push(format!("/{place}: it is too large to be read"));
                }
                continue;
            };
            let log = whole(tree, &format!("{place}-wal"))?;
            if log.is_some_and(|log| !log.is_empty()) {
                unread.push(format!(
                    "/{place}: it has a write-ahead log, whose changes are not read"
                ));
            }
            let found = walk(&bytes, &mut |blob| header::take(blob, database));
            if let Err(reason) = found {
                unread.push(format!("/{place}: {reason}"));
            }
            return Ok(());
        }
    }
    Ok(())
}

/// Four bytes, most significant first.
fn big(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
    usize::try_from(u32::from_be_bytes(bytes)).ok()
}

/// Four bytes, least significant first.
fn little(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
    usize::try_from(u32::from_le_bytes(bytes)).ok()
}
