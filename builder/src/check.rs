//! Looking at a whole store, and removing what is damaged. The invariant: without being asked to, it changes nothing; what it
//! removes is derived data or data that has a digest, so that the next use makes it again, fetches it, or says what is missing.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use image::store::{Damage, Examined};
use image::{Area, Store};
use rootfs::Ownership;
use rootfs::trees::{TreeState, Trees};
use sandbox::{Ground, Session, SessionContext, SessionPlan};
use serde::{Deserialize, Serialize};

use crate::cache::Cache;
use crate::job::chain;

/// The name of the entry for [`sandbox::divert`].
pub const CHECK_ENTRY: &str = "check";

/// Why the store was not looked at.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// Its own files could not be read or removed.
    #[error(transparent)]
    Store(#[from] image::StoreError),
    /// Trees belong to subordinate ids, and the session that could read them did not start.
    #[error(transparent)]
    Session(#[from] sandbox::SessionError),
    /// The session could not be told what to do, or did not do it.
    #[error("look at the trees of {store}")]
    Trees {
        /// The store.
        store: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// What was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// Manifests, configurations and layers.
    Blob,
    /// Records of images, indexes and names.
    Record,
    /// Indexes of layers.
    Index,
    /// Records of steps and remembered digests.
    Cache,
    /// Unpacked layers.
    Tree,
}

/// Something damaged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What it is.
    pub part: Part,
    /// Where it is.
    pub path: PathBuf,
    /// What is wrong with it, as the end of a sentence.
    pub problem: String,
    /// Whether it was removed.
    pub repaired: bool,
}

/// All that was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// How many there are of each part.
    pub checked: Vec<(Part, u64)>,
    /// What could not be compared with anything, and why.
    pub unchecked: Vec<(PathBuf, String)>,
    /// What is damaged.
    pub damaged: Vec<Finding>,
}

impl Report {
    fn add(&mut self, part: Part, count: u64, damaged: impl IntoIterator<Item = Finding>) {
        self.checked.push((part, count));
        self.damaged.extend(damaged);
    }
}

/// Looks at all blobs, records, indexes, cache files and, with the ids of `plan`, unpacked layers. With `repair`, what is damaged is
/// removed where that helps.
///
/// # Errors
/// See [`CheckError`]. What is damaged is no error.
pub fn check(
    store: &Store,
    plan: Option<&SessionPlan>,
    repair: bool,
) -> Result<Report, CheckError> {
    let mut report = Report::default();
    let blobs = store.examine_blobs()?;
    let records = store.examine_records(&blobs)?;
    let parts = [
        (Part::Blob, blobs),
        (Part::Record, records),
        (Part::Index, examine_indexes(store)),
        (Part::Cache, Cache::new(store).examine()),
    ];
    for (part, examined) in parts {
        let count = examined.count;
        report.add(part, count, settle(store, part, examined, repair)?);
    }
    let trees = store.subdir(Area::Trees).join("layers");
    match plan {
        _ if !trees.exists() => report.add(Part::Tree, 0, []),
        None => {
            let why = "it takes a session to read it, and there can be none here";
            report.unchecked.push((trees, why.to_owned()));
        }
        Some(plan) => {
            let of_trees = ask_session(store, plan, repair)?;
            report.checked.extend(of_trees.checked);
            report.unchecked.extend(of_trees.unchecked);
            report.damaged.extend(of_trees.damaged);
        }
    }
    Ok(report)
}

/// What is damaged, removed if that is asked for and helps.
fn settle(
    store: &Store,
    part: Part,
    examined: Examined,
    repair: bool,
) -> Result<Vec<Finding>, CheckError> {
    let mut findings = Vec::new();
    for damage in examined.damaged {
        let repaired = repair && damage.removable;
        if repaired {
            store.discard(&damage)?;
        }
        findings.push(Finding {
            part,
            path: damage.path,
            problem: damage.problem,
            repaired,
        });
    }
    Ok(findings)
}

/// What every user of an index does: a damaged one is made again from its blob.
fn examine_indexes(store: &Store) -> Examined {
    let mut examined = Examined::default();
    let place = store.subdir(Area::Index);
    for entry in std::fs::read_dir(place).into_iter().flatten().flatten() {
        let Ok(file) = std::fs::File::open(entry.path()) else {
            continue;
        };
        examined.count += 1;
        let name = entry.file_name();
        let problem = match read_whole(file) {
            Ok(diff_id) if *diff_id.digest().hex() == *name => continue,
            Ok(diff_id) => format!("is the index of layer {diff_id}"),
            Err(error) => format!("is no index ({})", chain(&error)),
        };
        examined.damaged.push(Damage {
            path: entry.path(),
            problem,
            removable: true,
        });
    }
    examined
}

/// Reads an index to its end, and says of which layer it is.
fn read_whole(file: std::fs::File) -> Result<image::DiffId, rootfs::layer::IndexError> {
    let mut index = rootfs::layer::IndexReader::open(file)?;
    while index.next()?.is_some() {}
    Ok(index.diff_id())
}

fn ask_session(store: &Store, plan: &SessionPlan, repair: bool) -> Result<Report, CheckError> {
    let fail = |source| CheckError::Trees {
        store: store.path().display().to_string(),
        source,
    };
    let mut session = Session::start(CHECK_ENTRY, plan, Ground::Background)?;
    let asked = serde_json::to_vec(&(store.path(), repair)).map_err(|error| fail(error.into()))?;
    session.socket().write_all(&asked).map_err(fail)?;
    session
        .socket()
        .shutdown(std::net::Shutdown::Write)
        .map_err(fail)?;
    let mut said = Vec::new();
    session.socket().read_to_end(&mut said).map_err(fail)?;
    let status = session.wait().map_err(fail)?;
    let answer: Result<Report, String> = serde_json::from_slice(&said)
        .map_err(|_| fail(std::io::Error::other(status.to_string())))?;
    answer.map_err(|why| fail(std::io::Error::other(why)))
}

/// The entry function of the session that looks at trees, for [`sandbox::divert`].
pub fn check_entry(context: SessionContext) -> ExitCode {
    let mut text = Vec::new();
    let asked = (&context.socket)
        .read_to_end(&mut text)
        .ok()
        .and_then(|_| serde_json::from_slice::<(PathBuf, bool)>(&text).ok());
    let Some((path, repair)) = asked else {
        return ExitCode::FAILURE;
    };
    let ownership = Ownership::of_session(context.is_single_id(), context.image_ids());
    let answer = examine_trees(&path, ownership, repair);
    let sent = serde_json::to_vec(&answer).map(|text| (&context.socket).write_all(&text));
    match sent {
        Ok(Ok(())) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn examine_trees(path: &Path, ownership: Ownership, repair: bool) -> Result<Report, String> {
    let store = Store::open(path).map_err(|error| chain(&error))?;
    let trees = Trees::of(&store, ownership);
    let home = store.subdir(Area::Trees).join("layers");
    let mut report = Report::default();
    let (mut count, mut damaged) = (0, Vec::new());
    trees.check_layers(&store, &mut |name, state| {
        let mut found = |problem| damaged.push((name.to_owned(), problem));
        count += 1;
        match state {
            TreeState::Whole => {}
            TreeState::Absent => count -= 1,
            TreeState::Unknown(why) => {
                count -= 1;
                report.unchecked.push((home.join(name), why));
            }
            TreeState::Misnamed => found("is another layer than its name says".to_owned()),
            TreeState::Damaged(differences) => {
                let differences = differences.iter();
                let shown = differences.map(|one| format!("{} {}", one.path, one.what));
                found(format!(
                    "is not its layer: {}",
                    shown.collect::<Vec<_>>().join(", ")
                ));
            }
        }
    });
    // What is used meanwhile stays: nobody starts or stops using anything while this is held.
    let sweep = store.exclusive().map_err(|error| chain(&error))?;
    let mut findings = Vec::new();
    for (name, problem) in damaged {
        let discard = || trees.discard_layer(&sweep, &name);
        let repaired = repair && discard().map_err(|error| chain(&error))?;
        let problem = match repair && !repaired {
            true => format!("{problem} (it is in use)"),
            false => problem,
        };
        findings.push(Finding {
            part: Part::Tree,
            path: home.join(&name),
            problem,
            repaired,
        });
    }
    report.add(Part::Tree, count, findings);
    Ok(report)
}
