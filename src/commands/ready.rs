//! What a first start would have to make of an image is made when the image comes into the store, so that its first start is as
//! quick as every later one. The invariant: an image that cannot be made ready is as good; `rbuild run` does it, or says what is
//! missing.

use std::path::Path;

use image::{Image, Platform, Store};

use crate::host;
use crate::surroundings::Surroundings;

/// Unpacks what is not unpacked yet of an image for this machine, re-owns files as a start with no options would, and brings
/// both to the disk.
pub(super) fn make_ready(image: &Image, store: &Store, place: &Path, here: &Surroundings) {
    if Platform::host().fit(&image.config().platform()).is_none() {
        return;
    }
    let Ok(plan) = host::execution(here, place).and_then(host::Execution::required) else {
        return;
    };
    let request = runner::RunRequest {
        image: image.digest().to_string(),
        ..runner::RunRequest::default()
    };
    // An image without a program has layers all the same.
    let _ = runner::prepare(&request, store.path(), &plan, &|_| {});
    let _ = store.settle_trees();
}
