//! `rbuild rmi`.

use std::path::Path;

use image::{Digest, Reference, Store};

use crate::args::store::RmiArgs;
use crate::failure::Failure;
use crate::stdout::print;

/// Removes images or names, and says what went, one line each; the first one that is not there ends it.
pub(super) fn rmi(args: &RmiArgs, place: &Path) -> Result<(), Failure> {
    let store = Store::open(place)?;
    for text in &args.images {
        let digest = store.resolve(text)?;
        let named = text
            .parse::<Reference>()
            .ok()
            .filter(|name| name.digest().is_none());
        match named {
            Some(name) if store.lookup(&name)? == Some(digest) => {
                remove_name(&store, &name, &digest)?
            }
            _ => remove_image(&store, &digest)?,
        }
    }
    Ok(())
}

/// As Docker does: an image goes with its last name.
fn remove_name(store: &Store, name: &Reference, digest: &Digest) -> Result<(), Failure> {
    store.untag(name)?;
    print(&format!("untagged {}\n", name.familiar()))?;
    if store.names()?.iter().any(|(_, target)| target == digest)
        || store.indexed()?.contains(digest)
    {
        return Ok(());
    }
    remove_image(store, digest)
}

fn remove_image(store: &Store, digest: &Digest) -> Result<(), Failure> {
    if store.index(digest).is_ok_and(|index| index.is_some()) {
        store.remove_index(digest)?;
    } else {
        store.check_in_no_index(digest)?;
        store.remove_image(digest)?;
    }
    print(&format!("removed {digest}\n"))
}
