//! Deleting what only saves work: unpacked layers, results of steps and their records. The invariant: nothing that a living
//! process holds is removed, and trees go before their records do not matter: a record without its tree is a miss.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::ExitCode;

use image::{Area, Store};
use rootfs::trees::remove_tree;
use sandbox::{Ground, Session, SessionContext, SessionPlan};

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
    let fail = |source| PruneError::Trees {
        store: store.path().display().to_string(),
        source,
    };
    let mut session = Session::start(PRUNE_ENTRY, plan, Ground::Background)?;
    let path = serde_json::to_vec(store.path()).map_err(|error| fail(error.into()))?;
    std::io::Write::write_all(&mut session.socket(), &path).map_err(fail)?;
    session
        .socket()
        .shutdown(std::net::Shutdown::Write)
        .map_err(fail)?;
    let mut said = String::new();
    std::io::Read::read_to_string(&mut session.socket(), &mut said).map_err(fail)?;
    match session.wait().map_err(fail)? {
        status if status.success() => Ok(()),
        status if said.is_empty() => Err(fail(std::io::Error::other(status.to_string()))),
        _ => Err(fail(std::io::Error::other(said))),
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

/// The entry function of the session that removes trees, for [`sandbox::divert`].
pub fn prune_entry(context: SessionContext) -> ExitCode {
    let mut text = Vec::new();
    let path = std::io::Read::read_to_end(&mut &context.socket, &mut text)
        .ok()
        .and_then(|_| serde_json::from_slice::<std::path::PathBuf>(&text).ok());
    let Some(store) = path.and_then(|path| Store::open(path).ok()) else {
        return ExitCode::FAILURE;
    };
    match remove_unheld(&store) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            // A caller that is gone need not know.
            let _ = std::io::Write::write_all(&mut &context.socket, why.as_bytes());
            ExitCode::FAILURE
        }
    }
}

/// Removes all trees that nobody holds; what one of them resists with does not save the others.
fn remove_unheld(store: &Store) -> Result<(), String> {
    let sweep = store.exclusive().map_err(|error| chain(&error))?;
    let trees = store.subdir(Area::Trees);
    let mut result = Ok(());
    for kind in ["layers", "steps", "reowned", "caches", "contexts"] {
        let Ok(entries) = fs::read_dir(trees.join(kind)) else {
            continue;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            // Layers and steps are held by their names alone, all others by names that say what they are.
            let held = name.to_str().is_some_and(|name| match kind {
                "layers" | "steps" => sweep.is_held(Area::Trees, name),
                _ => sweep.is_held(Area::Trees, &format!("{kind}/{name}")),
            });
            if !held && let Err(error) = remove_tree(&entry.path()) {
                result = Err(chain(&error));
            }
        }
    }
    result
}
