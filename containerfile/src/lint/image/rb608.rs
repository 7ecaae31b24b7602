//! RB608: files of many owners.

use std::collections::BTreeSet;

use super::{ImageFacts, Place, Seen};

pub(super) fn check(image: &ImageFacts, seen: &mut Seen) {
    // Of whom some are, if it is not known who USER is.
    let Some(account) = &image.account else {
        return;
    };
    let mut ids: BTreeSet<u32> = image
        .files
        .values()
        .flat_map(|file| [file.uid, file.gid])
        .collect();
    ids.remove(&0);
    ids.remove(&account.uid);
    for group in &account.groups {
        ids.remove(group);
    }
    if ids.is_empty() {
        return;
    }
    let shown: Vec<String> = ids.iter().take(8).map(u32::to_string).collect();
    let more = if ids.len() > 8 { ", ..." } else { "" };
    let count = match ids.len() {
        1 => "an id".to_owned(),
        many => format!("{many} ids"),
    };
    let message = format!(
        "files belong to {} beside root's and USER's ({}{more}): a host with a single id cannot unpack them as they are",
        count,
        shown.join(", ")
    );
    seen.add(
        Place::Image,
        message,
        "chown them to root or to USER; scratch has none",
    );
}
