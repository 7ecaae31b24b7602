//! An image that comes into the store is ready to run: its first start, in this boot and after the next, does what every later one
//! does.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::fault_oracle::Scene;
use crate::support::Place;

/// More files than anybody unpacks by the way.
const FILES: usize = 6000;

fn place() -> Place {
    let place = Place::new();
    for number in 0..FILES {
        place.write(
            &format!("data/{}/{number}", number % 7),
            format!("{number}\n"),
        );
    }
    place
}

/// The unpacked layers, by name.
fn trees(place: &Place) -> Vec<PathBuf> {
    let entries = fs::read_dir(place.store().join("trees/layers"));
    let mut found: Vec<PathBuf> = entries
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found
}

fn inode(path: &Path) -> u64 {
    fs::metadata(path).expect("it is there").ino()
}

#[test]
fn an_image_of_many_copied_files_is_unpacked_by_its_build() {
    requires!(execution);
    let place = place();
    place.build("FROM scratch\nCOPY data /data\nUSER 1:1\n", &["-t", "many"]);
    let unpacked = trees(&place);
    assert_eq!(unpacked.len(), 1, "{unpacked:?}");
    let list = ["unshare", "find", "-L"];
    let below = unpacked[0].join("tree/data").display().to_string();
    let (found, _) = place.expect(0, &[&list[..], &[&below, "-type", "f"]].concat());
    assert_eq!(found.lines().count(), FILES);
    // Its program does not exist, which is found out in the unpacked image.
    let before = inode(&unpacked[0]);
    place.expect(127, &["run", "many", "/program"]);
    assert_eq!(inode(&unpacked[0]), before, "it was unpacked again");
    let (text, _) = place.expect(0, &["system", "check"]);
    assert!(
        text.contains("1 unpacked layers: nothing is damaged"),
        "{text}"
    );
}

#[test]
fn an_image_that_is_not_kept_here_is_not_unpacked() {
    let place = place();
    place.build("FROM scratch\nCOPY data /data\nUSER 1:1\n", &[]);
    assert_eq!(trees(&place), Vec::<PathBuf>::new());
}

#[test]
fn what_was_brought_to_the_disk_is_good_after_the_next_boot_and_nothing_else_is() {
    requires!(execution);
    let place = Place::new();
    place.write("file", "content\n");
    place.build("FROM scratch\nCOPY file /\nUSER 1:1\n", &["-t", "one"]);
    let [home] = &trees(&place)[..] else {
        panic!("one layer")
    };
    let note = home.join("unsynced");
    assert!(!note.exists(), "the build's sync brought it to the disk");
    let before = inode(home);
    place.expect(127, &["run", "one", "/program"]);
    assert_eq!(inode(home), before, "the same in any boot");
    // As after a power cut: noted in another boot, and cut short.
    fs::write(&note, "another boot\n").expect("a note");
    let file = home.join("tree/file").display().to_string();
    place.expect(0, &["unshare", "truncate", "-s", "0", &file]);
    place.expect(127, &["run", "one", "/program"]);
    assert_ne!(inode(home), before, "it was trusted");
    let (content, _) = place.expect(0, &["unshare", "cat", &file]);
    assert_eq!(content, "content\n");
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("the kernel says it");
    assert_eq!(fs::read_to_string(&note).expect("a note"), boot);
    // Anything that syncs the store brings it to the disk.
    place.build("FROM scratch\nCOPY file /other\nUSER 1:1\n", &["-t", "two"]);
    assert!(!note.exists());
}

#[test]
fn a_file_of_an_image_that_is_called_like_a_note_stays() {
    requires!(execution);
    let base = requires!(base "busybox");
    let place = Place::new();
    let base = format!("base=oci-layout:{}", base.display());
    place.write("unsynced", "mine\n");
    let text = "FROM base\nCOPY unsynced /\nRUN echo too >/chain\nUSER 1:1\n";
    place.build(
        text,
        &["-t", "notes", "--build-context", &base, "--network", "none"],
    );
    place.build("FROM scratch\nCOPY unsynced /\nUSER 1:1\n", &["-t", "more"]);
    let (text, _) = place.expect(0, &["run", "notes", "cat", "/unsynced", "/chain"]);
    assert_eq!(text, "mine\ntoo\n");
    place.expect(0, &["system", "check"]);
}

#[test]
fn f01_a_build_that_is_killed_while_its_layers_are_unpacked_leaves_no_half_of_one() {
    requires!(execution);
    let scene = Scene::copy_only();
    for number in 0..3000 {
        let name = format!("data/many/{number}");
        scene.place.write(&name, format!("{number}\n"));
    }
    let unpacking = |scene: &Scene| {
        let work = fs::read_dir(scene.place.store().join("trees/work"));
        work.into_iter().flatten().flatten().next().is_some()
    };
    for delay in [0, 5, 20, 60] {
        let mut running = scene.start(&["-t", "x", "--no-cache"]);
        running.until("the unpacking", |_| unpacking(&scene));
        std::thread::sleep(std::time::Duration::from_millis(delay));
        running.signal("KILL");
        let _ = running.end(std::time::Duration::from_secs(20));
        scene.place.expect(0, &["system", "check"]);
    }
    // What is left of the killed ones goes with the next that unpacks anything.
    let ended = scene.build(&["-t", "x"]);
    assert!(ended.status.success(), "{}", ended.stderr);
    scene.is_clean();
    scene.place.expect(0, &["rmi", "x"]);
    scene.recovers();
}
