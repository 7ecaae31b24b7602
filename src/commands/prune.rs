//! `rbuild prune`.

use std::path::Path;

use image::Store;
use image::store::Dangling;

use crate::args::store::PruneArgs;
use crate::failure::{Failure, Kind};
use crate::host;
use crate::show;
use crate::stdout::{human_size, print};
use crate::surroundings::Surroundings;

/// Deletes what nothing uses.
pub(super) fn prune(args: &PruneArgs, place: &Path, here: &Surroundings) -> Result<(), Failure> {
    let store = Store::open(place)?;
    if args.all {
        // Trees belong to subordinate ids, so only the session can remove them.
        let plan = host::execution(here, place)?.required()?;
        builder::clear_cache(&store, &plan).map_err(|error| Failure::new(Kind::Host, error))?;
    } else if builder::has_superseded(&store) {
        remove_superseded(&store, place, here)?;
    }
    let dangling = if args.all {
        Dangling::Remove
    } else {
        Dangling::Keep
    };
    let pruned = store.prune(dangling)?;
    for digest in &pruned.damaged {
        show::note(&format!(
            "image {digest} is damaged; remove it with `rbuild rmi {digest}`, or pull or build it again"
        ));
    }
    for digest in &pruned.images {
        print(&format!("removed {digest}\n"))?;
    }
    print(&format!(
        "freed {} in {} blobs\n",
        human_size(pruned.bytes),
        pruned.blobs
    ))
}

/// Removes what steps that were made anew have left. Without a session that is for another time; the rest goes all the same.
fn remove_superseded(store: &Store, place: &Path, here: &Surroundings) -> Result<(), Failure> {
    let plan = host::execution(here, place).and_then(host::Execution::required);
    let removed = match plan {
        Ok(plan) => builder::remove_superseded(store, &plan)
            .map_err(|error| Failure::new(Kind::Host, error))?,
        Err(_) => {
            show::note(
                "results of steps that were made anew stay: nothing can be executed here, so they cannot be removed",
            );
            return Ok(());
        }
    };
    print(&format!("removed {removed} superseded results of steps\n"))
}
