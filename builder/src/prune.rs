//! Deleting what only saves work: unpacked layers, results of steps and their records. The invariant: nothing that a living
//! process holds is removed, and trees go before their records do not matter: a record without its tree is a miss. What is
//! superseded is decided while nobody can start or stop using anything.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use image::{Area, ChainId, DiffId, Store};
use rootfs::trees::{TAGS, remove_tree, remove_unused_writable};
use sandbox::{Ground, Session, SessionContext, SessionPlan};
use serde::{Deserialize, Serialize};

use crate::cache::Cache;
use crate::job::chain;

/// The name of the entry for [`sandbox::divert`].
pub const PRUNE_ENTRY: &str = "prune";

/// Why the build cache was not cleared.
#[derive(Debug, thiserror::Error)]
pub enum PruneError {
    /// Trees belong to subordinate ids, and the session that could remove them did not start.
    #[error(transparent)]
    Session(#[from] sandbox::SessionError),
    /// The session could not be told what to do, or did not do it.
    #[error("remove the trees of {store}")]
    Trees {
        /// The store.
        store: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A record could not be removed.
    #[error("remove {path}")]
    Record {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Removes the build cache of a store: records, trees of steps, unpacked layers, layer indexes. Everything is made again when
/// it is needed.
///
/// # Errors
/// See [`PruneError`].
pub fn clear_cache(store: &Store, plan: &SessionPlan) -> Result<(), PruneError> {
    for area in [Area::Cache, Area::Index] {
        clear(&store.subdir(area)).map_err(|(path, source)| PruneError::Record { path, source })?;
    }
    let trees = store.subdir(Area::Trees);
    if fs::read_dir(&trees).map_or(true, |mut entries| entries.next().is_none()) {
        return Ok(());
    }
    in_session(store, plan, What::All).map(drop)
}

/// Removes the trees of steps that were made anew since, which no record names any more; returns how many.
///
/// A tree that is an unpacked layer of an image with a name stays, and so does what a living process holds.
///
/// # Errors
/// See [`PruneError`].
pub fn remove_superseded(store: &Store, plan: &SessionPlan) -> Result<u64, PruneError> {
    in_session(store, plan, What::Superseded)
}

/// Whether there is anything for [`remove_superseded`] to do, as far as can be told without a session.
pub fn has_superseded(store: &Store) -> bool {
    superseded(store).is_ok_and(|names| !names.is_empty())
}

/// Trees belong to subordinate ids, so only a session can remove them.
fn in_session(store: &Store, plan: &SessionPlan, what: What) -> Result<u64, PruneError> {
    let fail = |source| PruneError::Trees {
        store: store.path().display().to_string(),
        source,
    };
    let mut session = Session::start(PRUNE_ENTRY, plan, Ground::Background)?;
    let order = (store.path(), what);
    let order = serde_json::to_vec(&order).map_err(|error| fail(error.into()))?;
    std::io::Write::write_all(&mut session.socket(), &order).map_err(fail)?;
    session
        .socket()
        .shutdown(std::net::Shutdown::Write)
        .map_err(fail)?;
    let mut said = String::new();
    std::io::Read::read_to_string(&mut session.socket(), &mut said).map_err(fail)?;
    let status = session.wait().map_err(fail)?;
    match serde_json::from_str::<Result<u64, String>>(&said) {
        Ok(Ok(removed)) => Ok(removed),
        Ok(Err(why)) => Err(fail(std::io::Error::other(why))),
        Err(_) => Err(fail(std::io::Error::other(status.to_string()))),
    }
}

/// Directories stay: a build may be about to rename a record into one.
fn clear(directory: &Path) -> Result<(), (String, std::io::Error)> {
    let at = |path: &Path| {
        let path = path.display().to_string();
        move |error| (path, error)
    };
    let Ok(entries) = fs::read_dir(directory) else {
        return Ok(());
    };
    for entry in entries.flatten() {
        let path = entry.path();
        match fs::remove_file(&path) {
            Err(error) if error.kind() == ErrorKind::IsADirectory => clear(&path)?,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            other => other.map_err(at(&path))?,
        }
    }
    Ok(())
}

/// What a session is to remove.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum What {
    /// All trees that nobody holds.
    All,
    /// Those of steps that no record names.
    Superseded,
}

/// The entry function of the session that removes trees, for [`sandbox::divert`].
pub fn prune_entry(context: SessionContext) -> ExitCode {
    let mut text = Vec::new();
    let order = std::io::Read::read_to_end(&mut &context.socket, &mut text)
        .ok()
        .and_then(|_| serde_json::from_slice::<(PathBuf, What)>(&text).ok());
    let Some((path, what)) = order else {
        return ExitCode::FAILURE;
    };
    let removed = Store::open(path)
        .map_err(|error| chain(&error))
        .and_then(|store| match what {
            What::All => remove_unheld(&store),
            What::Superseded => remove_unnamed(&store),
        });
    let answer = serde_json::to_vec(&removed).unwrap_or_default();
    // A caller that is gone need not know.
    let _ = std::io::Write::write_all(&mut &context.socket, &answer);
    match removed {
        Ok(_) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Removes all trees that nobody holds; what one of them resists with does not save the others.
fn remove_unheld(store: &Store) -> Result<u64, String> {
    let sweep = store.exclusive().map_err(|error| chain(&error))?;
    let trees = store.subdir(Area::Trees);
    let mut removal = Removal::default();
    for kind in ["layers", "steps", "reowned", "caches", "contexts"] {
        for name in names_in(&trees.join(kind)) {
            // Layers and steps are held by their names alone, all others by names that say what they are.
            let held = name.to_str().is_some_and(|name| match kind {
                "layers" | "steps" => sweep.is_held(Area::Trees, name),
                _ => sweep.is_held(Area::Trees, &format!("{kind}/{name}")),
            });
            if !held {
                removal.remove(&trees.join(kind).join(name));
            }
        }
    }
    remove_unused_writable(store).map_err(|error| chain(&error))?;
    removal.result()
}

/// Removes the trees of steps that no record names, and the links of layers that led to them.
fn remove_unnamed(store: &Store) -> Result<u64, String> {
    // A build that publishes a record holds the tree that it names until it ends. So records that are read while nobody's
    // hold can begin or end name everything that is not held.
    let sweep = store.exclusive().map_err(|error| chain(&error))?;
    let trees = store.subdir(Area::Trees);
    let mut removal = Removal::default();
    for name in superseded(store)? {
        if !sweep.is_held(Area::Trees, &name) {
            removal.remove(&trees.join("steps").join(name));
        }
    }
    let removed = removal.result()?;
    let mut links = Removal::default();
    for name in names_in(&trees.join("layers")) {
        let home = trees.join("layers").join(&name);
        let held = name
            .to_str()
            .is_some_and(|name| sweep.is_held(Area::Trees, name));
        let link = home.join("tree");
        if !held && link.is_symlink() && !link.exists() {
            links.remove(&home);
        }
    }
    links.result()?;
    Ok(removed)
}

/// The trees of steps that neither a record names nor the unpacked layers of an image with a name.
fn superseded(store: &Store) -> Result<Vec<String>, String> {
    let trees = store.subdir(Area::Trees);
    let made = names_in(&trees.join("steps"));
    if made.is_empty() {
        return Ok(Vec::new());
    }
    let mut used = BTreeSet::new();
    for record in Cache::new(store).all() {
        // One record is of one kind of session; which one, it does not say.
        used.extend(
            record
                .tree
                .iter()
                .flat_map(|name| TAGS.map(|tag| OsString::from(format!("{tag}-{name}")))),
        );
    }
    for chain in named_chains(store)? {
        for tag in TAGS {
            let home = trees
                .join("layers")
                .join(format!("{tag}-{}", chain.digest().hex()));
            let link = fs::read_link(home.join("tree")).ok();
            used.extend(link.and_then(|target| target.file_name().map(OsString::from)));
        }
    }
    let unused = made.into_iter().filter(|name| !used.contains(name));
    Ok(unused.filter_map(|name| name.into_string().ok()).collect())
}

/// The stacks of layers of all images that have a name.
fn named_chains(store: &Store) -> Result<BTreeSet<ChainId>, String> {
    let mut chains = BTreeSet::new();
    for image in store.named_images().map_err(|error| chain(&error))? {
        let layers: Vec<DiffId> = image.layers().iter().map(|layer| layer.diff_id).collect();
        chains.extend((1..=layers.len()).filter_map(|count| ChainId::of(&layers[..count])));
    }
    Ok(chains)
}

fn names_in(directory: &Path) -> Vec<OsString> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    entries.flatten().map(|entry| entry.file_name()).collect()
}

/// Removals: what one tree resists with does not save the others.
#[derive(Default)]
struct Removal {
    removed: u64,
    failed: Option<String>,
}

impl Removal {
    fn remove(&mut self, tree: &Path) {
        match remove_tree(tree) {
            Ok(()) => self.removed += 1,
            Err(error) => self.failed = Some(chain(&error)),
        }
    }

    fn result(self) -> Result<u64, String> {
        self.failed.map_or(Ok(self.removed), Err)
    }
}
