//! The ids of a container under `--userns auto`. The invariant: no two containers of this mode that run at the same time have an
//! id in common.

use image::{DiffId, Store};
use rootfs::accounts::Accounts;
use rootfs::trees::owners_of;
use sandbox::{IdClaim, IdMap};

use crate::container::numeric_ids;
use crate::execute::ExecuteError;

/// Podman's least (containers-storage, `auto-userns-min-size`), and the raster of the ranges.
const STEP: u32 = 1024;

/// The file whose locks say which ids are taken.
const LOCK: &str = "userns-auto.lock";

/// Claims ids for a container: `size` of them, or as many as the image and its `user` need.
pub(crate) fn claim(
    store: &Store,
    diff_ids: &[DiffId],
    user: &str,
    size: Option<u32>,
    image_ids: (u32, u32),
) -> Result<(IdClaim, IdMap), ExecuteError> {
    let size = match size {
        Some(size) => size,
        None => needed(store, diff_ids, user)?,
    };
    let most = image_ids.0.min(image_ids.1);
    let path = store.path().join(LOCK);
    let found = IdClaim::find(&path, 1..most.saturating_add(1), size, STEP)
        .map_err(|source| ExecuteError::Scratch { path, source })?;
    let claim = found.ok_or(ExecuteError::NoRange { size, most })?;
    let map = |start| sandbox::ExtentMap::single(0, start, size).map_err(ExecuteError::Ranges);
    let ids = IdMap {
        uids: map(claim.start)?,
        gids: map(claim.start)?,
    };
    Ok((claim, ids))
}

/// One more than the highest id of the image's files and accounts.
fn needed(store: &Store, diff_ids: &[DiffId], user: &str) -> Result<u32, ExecuteError> {
    let mut highest = 0;
    for diff_id in diff_ids {
        let owners = owners_of(store, diff_id)?;
        let ids = owners.uids.iter().chain(&owners.gids).copied();
        highest = ids.max().unwrap_or(0).max(highest);
    }
    let view = rootfs::trees::readable_view_of(store, diff_ids)?;
    let accounts = Accounts::of(&view).map_err(ExecuteError::Account)?;
    let named = numeric_ids(user).map_or(0, |ids| ids.uid.max(ids.gid));
    let highest = highest.max(accounts.highest()).max(named);
    Ok(highest.saturating_add(1).max(STEP))
}
