//! `id-ranges.json` in the store: the subordinate ids that its trees were written with. The invariant: once trees of a range may
//! exist, a session with another range never starts, since every owner in them would be wrong.
//!
//! A session with a single id stores no foreign owners and keeps trees of its own kind, so it neither writes the record nor
//! minds it.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use sandbox::{Extent, SessionPlan};
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Kind};

const FILE: &str = "id-ranges.json";

/// The ids of a session but the caller's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Ranges {
    uids: Vec<Extent>,
    gids: Vec<Extent>,
}

impl Ranges {
    fn of(plan: &SessionPlan) -> Self {
        let above = |map: &sandbox::ExtentMap| {
            map.extents()
                .iter()
                .filter(|extent| extent.inside > 0)
                .copied()
                .collect()
        };
        Self {
            uids: above(&plan.uids),
            gids: above(&plan.gids),
        }
    }

    fn text(&self) -> String {
        let list = |extents: &[Extent]| {
            let texts = extents
                .iter()
                .map(|extent| format!("{}:{}", extent.outside, extent.count));
            texts.collect::<Vec<_>>().join(",")
        };
        match (list(&self.uids), list(&self.gids)) {
            (uids, gids) if uids == gids => format!("ids {uids}"),
            (uids, gids) => format!("uids {uids} and gids {gids}"),
        }
    }

    /// How an administrator puts the ranges back, usermod(8).
    fn restore(&self) -> String {
        let flags = |flag: &str, extents: &[Extent]| {
            let one = |extent: &Extent| {
                format!(
                    " {flag} {}-{}",
                    extent.outside,
                    u64::from(extent.outside) + u64::from(extent.count) - 1
                )
            };
            extents.iter().map(one).collect::<String>()
        };
        format!(
            "sudo usermod{}{} \"$USER\"",
            flags("--add-subuids", &self.uids),
            flags("--add-subgids", &self.gids)
        )
    }
}

/// Compares the plan's ranges with those of the store; the first plan's are noted.
///
/// # Errors
/// When they differ, or the record cannot be read or written.
pub(crate) fn check(store: &Path, plan: &SessionPlan) -> Result<(), Failure> {
    if plan.is_single_id() {
        return Ok(());
    }
    let path = store.join(FILE);
    let now = Ranges::of(plan);
    let then = match fs::read(&path) {
        // Without a store there are no trees.
        Err(error) if error.kind() == io::ErrorKind::NotFound && !store.exists() => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return record(store, &path, &now),
        Err(error) => return Err(failed("read", &path, error)),
        Ok(bytes) => serde_json::from_slice::<Ranges>(&bytes)
            .map_err(|error| failed("read", &path, error))?,
    };
    if then == now {
        return Ok(());
    }
    let (then_text, now_text) = (then.text(), now.text());
    Err(Failure::host(format!(
        "the store {} was written with {then_text}, but yours are {now_text} now: its files would have wrong owners",
        store.display()
    ))
    .hint(format!("put the old range back: {}", then.restore()))
    .hint(format!("or give up what was built so far (images stay): {}", give_up(store))))
}

/// Only root can delete files of ids that the user has no more.
fn give_up(store: &Path) -> String {
    let word = |name: &str| quoted(&store.join(name));
    format!(
        "sudo rm -rf {} {} && rm {}",
        word("trees"),
        word("cache"),
        word(FILE)
    )
}

fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+@".contains(&byte);
    if text.bytes().all(plain) {
        text.into_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// Two first commands at the same time write the same, or the second one finds the first one's at its next start.
fn record(store: &Path, path: &Path, ranges: &Ranges) -> Result<(), Failure> {
    let text = serde_json::to_string(ranges).map_err(|error| failed("write", path, error))?;
    let temporary = store.join(format!(".{FILE}.{}", std::process::id()));
    let written = fs::File::create(&temporary)
        .and_then(|mut file| {
            file.write_all(format!("{text}\n").as_bytes())
                .and_then(|()| file.sync_all())
        })
        .and_then(|()| fs::rename(&temporary, path));
    written.map_err(|error| {
        let _ = fs::remove_file(&temporary);
        failed("write", path, error)
    })
}

fn failed(call: &str, path: &Path, error: impl Into<anyhow::Error>) -> Failure {
    Failure::new(
        Kind::Host,
        error.into().context(format!("{call} {}", path.display())),
    )
}

#[cfg(test)]
mod tests {
    use sandbox::subids::{SubIdRange, SubIds};
    use sandbox::{Caller, WriterChoice};

    use super::*;

    fn plan(start: Option<u32>) -> SessionPlan {
        let ids = start.map(|start| {
            let ranges = vec![SubIdRange {
                start,
                count: 65_536,
            }];
            SubIds {
                uids: ranges.clone(),
                gids: ranges,
            }
        });
        SessionPlan::choose(&Caller {
            uid: 1000,
            gid: 1000,
            ids,
            writer: WriterChoice::Caller,
        })
        .unwrap()
    }

    #[test]
    fn a_changed_range_names_both_and_the_commands_that_mend_it() {
        let store = tempfile::tempdir().unwrap();
        check(store.path(), &plan(Some(100_000))).unwrap();
        check(store.path(), &plan(Some(100_000))).unwrap();
        let failure = check(store.path(), &plan(Some(300_000))).unwrap_err();
        assert_eq!(failure.code(), 3);
        let text = failure.text();
        for part in [
            "ids 100000:65536",
            "ids 300000:65536",
            "--add-subuids 100000-165535 --add-subgids 100000-165535",
            "sudo rm -rf",
        ] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
    }

    #[test]
    fn a_single_id_neither_notes_nor_minds_ranges() {
        let store = tempfile::tempdir().unwrap();
        check(store.path(), &plan(None)).unwrap();
        check(store.path(), &plan(Some(100_000))).unwrap();
        check(store.path(), &plan(None)).unwrap();
        assert_eq!(fs::read_dir(store.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_damaged_record_is_an_error_that_names_it() {
        let store = tempfile::tempdir().unwrap();
        fs::write(store.path().join(FILE), "{").unwrap();
        let failure = check(store.path(), &plan(Some(100_000))).unwrap_err();
        assert!(failure.text().contains(FILE), "{}", failure.text());
    }

    #[test]
    fn paths_in_commands_are_quoted() {
        assert_eq!(quoted(Path::new("/a/b-c")), "/a/b-c");
        assert_eq!(quoted(Path::new("/a b/it's")), r"'/a b/it'\''s'");
    }
}
