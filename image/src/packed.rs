//! What is remembered about packed layers, so that a push of what is known packs nothing: their digests, and the repositories
//! that have them.
//!
//! Invariant: a memo only saves work. One that is damaged counts as none, and one that is wrong is found out before its blob
//! leaves, since what is packed is hashed.

use crate::compress::Packing;
use crate::digest::{DiffId, Digest};
use crate::reference::Reference;
use crate::store::{Area, Store};

/// How many repositories are remembered for one blob.
const PLACES_MAX: usize = 8;

/// The digest and size that a layer has when it is packed that way.
pub(crate) fn known(store: &Store, diff_id: &DiffId, packing: Packing) -> Option<(Digest, u64)> {
    let body = read(store, &name(diff_id, packing))?;
    let (digest, size) = body.trim_end().split_once(' ')?;
    Some((digest.parse().ok()?, size.parse().ok()?))
}

pub(crate) fn remember(
    store: &Store,
    diff_id: &DiffId,
    packing: Packing,
    (digest, size): (Digest, u64),
) {
    write(
        store,
        &name(diff_id, packing),
        &format!("{digest} {size}\n"),
    );
}

pub(crate) fn forget(store: &Store, diff_id: &DiffId, packing: Packing) {
    write(store, &name(diff_id, packing), "");
}

/// The repositories that had a blob, as `(REGISTRY, REPOSITORY)`, the latest first.
pub(crate) fn places(store: &Store, blob: &Digest) -> Vec<(String, String)> {
    let body = read(store, &place_name(blob)).unwrap_or_default();
    body.lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(registry, repository)| (registry.to_owned(), repository.to_owned()))
        .collect()
}

pub(crate) fn note_place(store: &Store, blob: &Digest, at: &Reference) {
    let new = (at.registry().to_owned(), at.repository().to_owned());
    let mut places = places(store, blob);
    if places.first() == Some(&new) {
        return;
    }
    places.retain(|place| *place != new);
    places.insert(0, new);
    places.truncate(PLACES_MAX);
    let lines = places
        .iter()
        .map(|(host, repository)| format!("{host} {repository}\n"));
    write(store, &place_name(blob), &lines.collect::<String>());
}

/// Another version of rbuild may pack to other bytes.
fn name(diff_id: &DiffId, packing: Packing) -> String {
    let what = format!("{diff_id} {}", packing.form());
    format!("packed/{}", Digest::of(what).hex())
}

fn place_name(blob: &Digest) -> String {
    format!("places/{}", blob.hex())
}

/// Failing to remember costs time, not correctness. The first line is the digest of the rest and of the name.
fn write(store: &Store, name: &str, body: &str) {
    let sum = Digest::of(format!("{name}\n{body}"));
    let _ = store.write_derived(Area::Cache, name, format!("{sum}\n{body}").as_bytes());
}

fn read(store: &Store, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(store.subdir(Area::Cache).join(name)).ok()?;
    let (sum, body) = text.split_once('\n')?;
    (Digest::of(format!("{name}\n{body}")).to_string() == sum).then(|| body.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memo_is_its_own_and_a_damaged_one_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path().join("store")).unwrap();
        let (one, two) = (DiffId::new(Digest::of("1")), DiffId::new(Digest::of("2")));
        let packed = (Digest::of("packed"), 7);
        remember(&store, &one, Packing::GZIP, packed);
        assert_eq!(known(&store, &one, Packing::GZIP), Some(packed));
        assert_eq!(known(&store, &two, Packing::GZIP), None);
        let fast = Packing::new(Packing::GZIP.compression(), Some(1)).unwrap();
        assert_eq!(known(&store, &one, fast), None);
        let path = |id: &DiffId| store.subdir(Area::Cache).join(name(id, Packing::GZIP));
        std::fs::copy(path(&one), path(&two)).unwrap();
        assert_eq!(known(&store, &two, Packing::GZIP), None);
        forget(&store, &one, Packing::GZIP);
        assert_eq!(known(&store, &one, Packing::GZIP), None);
    }

    #[test]
    fn places_are_few_and_the_latest_comes_first() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path().join("store")).unwrap();
        let blob = Digest::of("blob");
        for n in (0..20).chain([18]) {
            note_place(&store, &blob, &format!("q.io/app{n}").parse().unwrap());
        }
        let found = places(&store, &blob);
        assert_eq!(found.len(), PLACES_MAX);
        assert_eq!(found[0], ("q.io".to_owned(), "app18".to_owned()));
        assert_eq!(found[1].1, "app19");
    }
}
