//! The store's promises, each with the row of the reliability catalogue that it answers.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::{Descriptor, DiffId, Digest, Image, ImageConfig, MediaType, Platform, Reference};

fn store() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path().join("store")).unwrap();
    (directory, store)
}

fn image(store: &Store, tar: &[u8]) -> Image {
    let diff_id = store.put(tar).unwrap();
    let mut config = ImageConfig::new(&Platform::linux("amd64"));
    config.rootfs.diff_ids.push(DiffId::new(diff_id));
    let layer = Descriptor::new(MediaType::OciLayer, diff_id, tar.len() as u64);
    Image::compose(&config, vec![layer], BTreeMap::new()).unwrap()
}

fn again(store: &Store) -> Store {
    Store::open(store.path()).unwrap()
}

#[test]
fn s16_a_store_that_others_may_enter_is_refused() {
    let (_directory, store) = store();
    assert_eq!(fs::metadata(store.path()).unwrap().mode() & 0o777, 0o700);
    assert_eq!(
        fs::metadata(store.subdir(Area::Trees)).unwrap().mode() & 0o777,
        0o700
    );
    fs::set_permissions(store.path(), fs::Permissions::from_mode(0o750)).unwrap();
    let error = Store::open(store.path()).unwrap_err();
    assert!(
        matches!(error.kind(), StoreErrorKind::NotPrivate { mode: 0o750, .. }),
        "{error}"
    );
}

#[test]
fn f13_a_store_of_another_version_is_refused_by_name() {
    let (_directory, store) = store();
    fs::write(store.path().join("format"), "rbuild store 99\n").unwrap();
    let error = Store::open(store.path()).unwrap_err();
    assert!(error.to_string().contains("rbuild store 99"), "{error}");
}

#[test]
fn a_directory_with_other_files_does_not_become_a_store() {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(directory.path().join("letter"), "dear").unwrap();
    let error = Store::open(directory.path()).unwrap_err();
    assert!(
        matches!(error.kind(), StoreErrorKind::NotAStore { .. }),
        "{error}"
    );
}

#[test]
fn a_blob_is_visible_only_when_finished_and_right() {
    let (_directory, store) = store();
    let digest = Digest::of("hello");
    let mut writer = store.blob_writer().unwrap();
    writer.write_all(b"hello").unwrap();
    assert!(!store.contains(&digest));
    let error = writer.finish_as(&Digest::of("other")).unwrap_err();
    assert!(matches!(error.kind(), StoreErrorKind::Mismatch { .. }));
    assert!(!store.contains(&digest) && !store.contains(&Digest::of("other")));
    assert_eq!(store.put(b"hello").unwrap(), digest);
    assert_eq!(store.read_document(&digest).unwrap(), b"hello");
    let leftovers = fs::read_dir(store.path().join("tmp")).unwrap().flatten();
    assert_eq!(
        leftovers
            .flat_map(|dir| fs::read_dir(dir.path()).unwrap())
            .count(),
        0
    );
}

#[test]
fn f14_a_flipped_byte_is_found_on_use_and_never_served_again() {
    let (_directory, store) = store();
    let digest = store.put(b"hello").unwrap();
    fs::write(store.blob_path(&digest), b"hellp").unwrap();
    let mut text = String::new();
    let error = store
        .open_blob(&digest)
        .unwrap()
        .read_to_string(&mut text)
        .unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
    assert!(
        !store.contains(&digest),
        "the damaged blob must lose its name"
    );
    store.put(b"hello").unwrap();
    assert_eq!(store.read_document(&digest).unwrap(), b"hello");
}

#[test]
fn names_move_and_ids_resolve_as_docker_users_expect() {
    let (_directory, store) = store();
    let (one, two) = (image(&store, b"one"), image(&store, b"two"));
    let name = Reference::from_static("app");
    store.add_image(&one, std::slice::from_ref(&name)).unwrap();
    store.add_image(&two, std::slice::from_ref(&name)).unwrap();
    assert_eq!(store.lookup(&name).unwrap().as_ref(), Some(two.digest()));
    assert_eq!(store.resolve("app:latest").unwrap(), *two.digest());
    assert_eq!(
        store.resolve(&one.id().digest().short()).unwrap(),
        *one.digest()
    );
    assert_eq!(store.resolve(&one.id().to_string()).unwrap(), *one.digest());
    assert_eq!(
        store.resolve(&one.digest().to_string()).unwrap(),
        *one.digest()
    );
    assert_eq!(
        store.resolve(&format!("app@{}", one.digest())).unwrap(),
        *one.digest()
    );
    assert!(store.resolve("nothing").is_err());
    assert!(store.resolve("").is_err());
    let untagged = store
        .images()
        .unwrap()
        .into_iter()
        .find(|image| image.digest == *one.digest())
        .unwrap();
    assert_eq!((untagged.id, untagged.names), (one.id(), vec![]));
}

#[test]
fn an_image_without_its_layer_is_not_recorded() {
    let (_directory, store) = store();
    let image = image(&store, b"layer");
    fs::remove_file(store.blob_path(image.layers()[0].diff_id.digest())).unwrap();
    assert!(
        store
            .add_image(&image, &[Reference::from_static("a")])
            .is_err()
    );
    assert_eq!(store.images().unwrap(), vec![]);
    assert_eq!(store.lookup(&Reference::from_static("a")).unwrap(), None);
}

#[test]
fn f12_prune_keeps_what_images_and_living_processes_use() {
    let (_directory, store) = store();
    let kept = image(&store, b"kept");
    store
        .add_image(&kept, &[Reference::from_static("kept")])
        .unwrap();
    let loose = store.put(b"just put by a running build").unwrap();
    let other = again(&store);
    assert_eq!(other.prune(Dangling::Remove).unwrap(), Pruned::default());
    drop(store);
    let pruned = other.prune(Dangling::Remove).unwrap();
    assert_eq!((pruned.blobs, other.contains(&loose)), (1, false));
    assert_eq!(other.image(kept.digest()).unwrap(), kept);
}

#[test]
fn untagged_images_go_only_when_asked() {
    let (_directory, store) = store();
    let image = image(&store, b"x");
    store.add_image(&image, &[]).unwrap();
    let other = again(&store);
    drop(store);
    assert_eq!(other.prune(Dangling::Keep).unwrap(), Pruned::default());
    let pruned = other.prune(Dangling::Remove).unwrap();
    assert_eq!((pruned.images.len(), pruned.blobs), (1, 3));
}

#[test]
fn a_damaged_image_is_reported_by_prune_and_stops_nothing() {
    let (_directory, store) = store();
    let image = image(&store, b"x");
    store
        .add_image(&image, &[Reference::from_static("x")])
        .unwrap();
    fs::write(store.blob_path(image.digest()), b"rot").unwrap();
    let other = again(&store);
    drop(store);
    assert_eq!(
        other.prune(Dangling::Keep).unwrap().damaged,
        vec![*image.digest()]
    );
}

#[test]
fn f11_what_a_dead_process_left_is_swept_at_the_next_open() {
    let (_directory, store) = store();
    let root = store.path().to_owned();
    drop(store);
    fs::write(root.join("leases/999999-0"), "sha256:x\n").unwrap();
    fs::create_dir(root.join("tmp/999999-0")).unwrap();
    fs::write(root.join("tmp/999999-0/1"), "half").unwrap();
    let living = Store::open(&root).unwrap();
    assert!(!root.join("leases/999999-0").exists() && !root.join("tmp/999999-0").exists());
    let mut writer = living.blob_writer().unwrap();
    writer.write_all(b"half").unwrap();
    Store::open(&root).unwrap();
    writer.finish().unwrap();
}

#[test]
fn f10_many_writers_of_the_same_blobs_agree() {
    let (_directory, store) = store();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let store = again(&store);
                for n in 0..20_u8 {
                    let digest = Digest::of([n; 100]);
                    let _claim = store.claim(&digest).unwrap();
                    store.put(&[n; 100]).unwrap();
                    again(&store).prune(Dangling::Remove).unwrap();
                    assert!(store.contains(&digest), "a held blob was pruned");
                }
            });
        }
    });
}

#[test]
fn s50_held_names_cannot_forge_lines() {
    let (_directory, store) = store();
    store.hold_entry(Area::Trees, "a\ntrees/b").unwrap();
    let other = again(&store);
    let sweep = other.exclusive().unwrap();
    assert!(sweep.is_held(Area::Trees, "a\ntrees/b"));
    assert!(!sweep.is_held(Area::Trees, "b"));
}

#[test]
fn a_name_that_pins_an_index_finds_the_image_that_came_of_it() {
    let (_directory, store) = store();
    let image = image(&store, b"x");
    let index = Digest::of("an index");
    let name = Reference::from_static("debian:12").pinned(index);
    store
        .add_image(&image, std::slice::from_ref(&name))
        .unwrap();
    assert_eq!(store.lookup(&name).unwrap().as_ref(), Some(image.digest()));
    assert_eq!(
        store.lookup(&name.pinned(Digest::of("another"))).unwrap(),
        None
    );
}

#[test]
fn f04_no_record_is_written_before_what_it_speaks_of_is_on_the_disk() {
    let (_directory, store) = store();
    let image = image(&store, b"x");
    assert!(store.unsynced.load(Ordering::SeqCst));
    store.add_image(&image, &[]).unwrap();
    assert!(!store.unsynced.load(Ordering::SeqCst));
    let other = again(&store);
    assert!(other.reuse(image.digest()).unwrap());
    assert!(
        other.unsynced.load(Ordering::SeqCst),
        "what another process put may not be on the disk yet"
    );
}

#[test]
fn f02_a_store_that_was_asked_to_stop_moves_no_more_bytes() {
    let place = tempfile::tempdir().unwrap();
    let store = Store::open(place.path().join("store")).unwrap();
    let digest = store.put(b"before").unwrap();
    let mut reading = store.open_blob(&digest).unwrap();
    let mut writing = store.blob_writer().unwrap();
    store.stop().ask();
    let error = std::io::copy(&mut reading, &mut std::io::sink()).unwrap_err();
    // Copying functions try again after that one.
    assert_ne!(error.kind(), std::io::ErrorKind::Interrupted);
    assert!(std::io::Write::write_all(&mut writing, b"after").is_err());
    assert!(store.contains(&digest));
}

#[test]
fn f01_derived_files_are_whole_and_their_beginnings_vanish_with_the_lease() {
    let place = tempfile::tempdir().unwrap();
    let store = Store::open(place.path().join("store")).unwrap();
    store.write_derived(Area::Cache, "steps/a", b"one").unwrap();
    store.write_derived(Area::Cache, "steps/a", b"two").unwrap();
    let directory = store.subdir(Area::Cache).join("steps");
    assert_eq!(fs::read(directory.join("a")).unwrap(), b"two");
    // A directory of that name cannot be replaced by a file.
    fs::create_dir(directory.join("b")).unwrap();
    fs::write(directory.join("b/x"), "").unwrap();
    assert!(store.write_derived(Area::Cache, "steps/b", b"x").is_err());
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 2);
    let tmp = store.join("tmp");
    drop(store);
    assert_eq!(fs::read_dir(tmp).unwrap().count(), 0);
}

/// An index of two images that differ in their platform.
fn index(store: &Store) -> (crate::Index, [Image; 2]) {
    let images = ["amd64", "arm64"].map(|architecture| {
        let mut config = ImageConfig::new(&Platform::linux(architecture));
        let diff_id = store.put(architecture.as_bytes()).unwrap();
        config.rootfs.diff_ids.push(DiffId::new(diff_id));
        let layer = Descriptor::new(MediaType::OciLayer, diff_id, 5);
        let image = Image::compose(&config, vec![layer], BTreeMap::new()).unwrap();
        store.add_image(&image, &[]).unwrap();
        image
    });
    (crate::Index::of(&images), images)
}

#[test]
fn an_index_means_the_image_of_a_platform() {
    let (_directory, store) = store();
    let (index, [amd64, arm64]) = index(&store);
    let name: Reference = "localhost/app:1".parse().unwrap();
    let digest = store
        .add_index(&index, std::slice::from_ref(&name))
        .unwrap();
    assert_eq!(store.resolve("localhost/app:1").unwrap(), digest);
    assert_eq!(store.resolve(&digest.hex()[..8]).unwrap(), digest);
    assert_eq!(store.index(&digest).unwrap(), Some(index));
    assert_eq!(store.index(arm64.digest()).unwrap(), None);
    let of = |platform| store.image_for(&digest, &Platform::linux(platform));
    assert_eq!(of("amd64").unwrap(), amd64);
    assert_eq!(of("arm64").unwrap(), arm64);
    let error = of("riscv64").unwrap_err().to_string();
    assert!(
        error.contains("linux/riscv64") && error.contains("linux/amd64, linux/arm64"),
        "{error}"
    );
    assert!(
        store.image(&digest).is_err(),
        "an index is no image by itself"
    );
}

#[test]
fn an_index_keeps_its_images_and_takes_them_along() {
    let (_directory, store) = store();
    let (index, [amd64, arm64]) = index(&store);
    let name: Reference = "localhost/app:1".parse().unwrap();
    let digest = store.add_index(&index, &[name]).unwrap();
    let kept: Reference = "localhost/mine:1".parse().unwrap();
    store.tag(&kept, amd64.digest()).unwrap();
    let path = store.path().to_owned();
    drop(store);
    let store = Store::open(&path).unwrap();
    assert_eq!(
        store.prune(Dangling::Remove).unwrap(),
        super::Pruned::default()
    );
    let error = store.check_in_no_index(arm64.digest()).unwrap_err();
    assert!(error.to_string().contains("localhost/app:1"), "{error}");
    store.remove_index(&digest).unwrap();
    let left: Vec<Digest> = store.images().unwrap().iter().map(|i| i.digest).collect();
    assert_eq!(
        left,
        [*amd64.digest()],
        "only the image with a name of its own stays"
    );
    assert_eq!(
        store.prune(Dangling::Keep).unwrap().blobs,
        4,
        "index, manifest, configuration, layer"
    );
}

#[test]
fn an_index_of_a_missing_image_is_refused() {
    let (_directory, store) = store();
    let (index, [amd64, _]) = index(&store);
    store.remove_image(amd64.digest()).unwrap();
    assert!(store.add_index(&index, &[]).is_err());
    assert_eq!(store.indexes().unwrap(), []);
}

#[test]
fn a_name_keeps_the_images_of_other_platforms() {
    let (_directory, store) = store();
    let (index, [amd64, arm64]) = index(&store);
    let name: Reference = "docker.io/library/debian:12".parse().unwrap();
    store.tag_beside(&name, &arm64).unwrap();
    assert_eq!(store.lookup(&name).unwrap(), Some(*arm64.digest()));
    store.tag_beside(&name, &amd64).unwrap();
    assert_eq!(store.lookup(&name).unwrap(), Some(index.digest()));
    // The same platform again takes the old one's place.
    let newer = image(&store, b"newer");
    store.add_image(&newer, &[]).unwrap();
    store.tag_beside(&name, &newer).unwrap();
    let digest = store.lookup(&name).unwrap().unwrap();
    let of = |platform| {
        store
            .image_for(&digest, &Platform::linux(platform))
            .unwrap()
    };
    assert_eq!((of("amd64"), of("arm64")), (newer, arm64));
}

#[test]
fn a_sync_takes_notes_away_from_trees_and_from_nothing_that_an_image_or_a_user_made() {
    let (_directory, store) = store();
    let note = |kind: &str| {
        let home = store.subdir(Area::Trees).join(kind).join("name");
        fs::create_dir_all(&home).unwrap();
        fs::write(home.join(UNSYNCED), "this boot").unwrap();
        home.join(UNSYNCED)
    };
    let (layer, reowned) = (note("layers"), note("reowned"));
    let others = ["steps", "caches", "contexts", "work"].map(note);
    store.settle_trees().unwrap();
    assert!(!layer.exists() && !reowned.exists());
    assert!(others.iter().all(|note| note.exists()));
}

#[test]
fn f14_a_record_under_another_name_is_damaged() {
    let (_directory, store) = store();
    let names = ["one", "two"].map(|name| name.parse::<Reference>().unwrap());
    let digest = Digest::of("manifest");
    names
        .iter()
        .for_each(|name| store.write_name(name, &digest).unwrap());
    let record = |name: &Reference| {
        let hex = Digest::of(name.to_string()).hex();
        store.path().join("refs").join(hex)
    };
    assert_eq!(store.lookup(&names[0]).unwrap(), Some(digest));
    fs::copy(record(&names[1]), record(&names[0])).unwrap();
    let error = store.lookup(&names[0]).unwrap_err();
    assert!(matches!(error.kind(), StoreErrorKind::DamagedRecord { .. }));
    assert_eq!(store.lookup(&names[1]).unwrap(), Some(digest));
}
