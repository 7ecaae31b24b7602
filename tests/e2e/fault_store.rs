//! F10 to F14: several builds, prunes, dead lock holders, other versions and bit rot in one store.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::fault_oracle::Scene;
use crate::support::{Degree, degree};

#[test]
fn f13_a_store_of_a_newer_version_is_left_alone() {
    let scene = Scene::copy_only();
    scene.place.expect(0, &["images"]);
    let format = scene.place.store().join("format");
    let text = fs::read(&format).expect("the format");
    fs::write(&format, "rbuild store 999\n").expect("another");
    scene.build(&[]).failed(3, &["rbuild store 999", "format"]);
    scene.place.expect(3, &["prune", "--all"]);
    assert_eq!(fs::read(&format).expect("it"), b"rbuild store 999\n");
    fs::write(&format, text).expect("the old one");
    scene.recovers();
}

#[test]
fn s16_a_store_that_others_may_enter_is_refused_before_any_work() {
    let scene = Scene::copy_only();
    scene.place.expect(0, &["images"]);
    let mode = |mode| {
        fs::set_permissions(scene.place.store(), fs::Permissions::from_mode(mode))
            .expect("its mode")
    };
    for open in [0o755, 0o710, 0o701] {
        mode(open);
        let store = scene.place.store().display().to_string();
        scene.build(&[]).failed(3, &[&store, "chmod 700"]);
    }
    mode(0o700);
    scene.recovers();
}

#[test]
fn a_store_that_cannot_be_written_is_named() {
    if degree() == Degree::Root {
        skip!("degree", "root writes everywhere");
    }
    let scene = Scene::copy_only();
    scene.place.expect(0, &["images"]);
    let store = scene.place.store();
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("its mode")
    };
    for name in ["leases", "tmp", "blobs/sha256", "images"] {
        mode(&store.join(name), 0o500);
        let ended = scene.build(&["--no-cache"]);
        assert!(!ended.status.success(), "{name}");
        let named = store.join(name).display().to_string();
        ended.failed(
            ended.status.code().expect("a code"),
            &[&named, "ermission denied"],
        );
        mode(&store.join(name), 0o700);
    }
    mode(scene.place.path(), 0o500);
    let missing = scene.place.path().join("new-store").display().to_string();
    let (_, stderr) = scene.place.expect(3, &["--root", &missing, "images"]);
    assert!(stderr.contains(&missing), "{stderr}");
    mode(scene.place.path(), 0o700);
    scene.recovers();
}

#[test]
fn f10_f12_builds_and_prunes_at_the_same_time() {
    requires!(execution);
    let base = requires!(base "busybox");
    let scene = Scene::with_run(base);
    let first = scene.build(&[]);
    assert!(first.status.success(), "{}", first.stderr);
    for _ in 0..3 {
        let builds: Vec<_> = (0..4)
            .map(|number| {
                scene.start(if number % 2 == 0 {
                    &["--no-cache"]
                } else {
                    &[]
                })
            })
            .collect();
        for _ in 0..6 {
            scene.place.expect(0, &["prune", "--all"]);
        }
        for build in builds {
            let ended = build.end(Duration::from_secs(60));
            assert!(ended.status.success(), "{}", ended.stderr);
            assert_eq!(ended.stdout, first.stdout);
        }
    }
    scene.recovers();
}

#[test]
fn f11_a_dead_lock_holder_is_not_waited_for() {
    requires!(program "flock");
    let scene = Scene::copy_only();
    scene.place.expect(0, &["images"]);
    let lock = scene.place.store().join("gc.lock");
    fs::File::create(&lock).expect("the lock");
    let mut holder = Command::new("flock")
        .arg("--no-fork")
        .arg(&lock)
        .args(["sleep", "60"])
        .stdout(Stdio::null())
        .spawn()
        .expect("flock starts");
    std::thread::sleep(Duration::from_millis(200));
    let build = scene.start(&[]);
    std::thread::sleep(Duration::from_millis(200));
    holder.kill().expect("it can be killed");
    holder.wait().expect("it ends");
    let ended = build.end(Duration::from_secs(20));
    assert!(ended.status.success(), "{}", ended.stderr);
    assert!(ended.took < Duration::from_secs(5), "{:?}", ended.took);
    scene.recovers();
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found
}

/// A way in which a file goes bad.
type Rot = (&'static str, fn(&mut Vec<u8>));

const ROT: [Rot; 4] = [
    ("one byte", |bytes| {
        let middle = bytes.len() / 2;
        if let Some(byte) = bytes.get_mut(middle) {
            *byte ^= 0x20;
        }
    }),
    ("truncated", |bytes| bytes.truncate(bytes.len() / 2)),
    ("zeros", |bytes| bytes.fill(0)),
    ("empty", Vec::clear),
];

/// Spoils every file of a directory in every way, one at a time; at worst the next build says what is wrong.
fn rots(scene: &Scene, directory: &str, image: &str) {
    let out = scene.place.path().join("out.tar");
    let to = format!("type=oci,dest={}", out.display());
    for path in files(&scene.place.store().join(directory)) {
        for (how, spoil) in ROT {
            let Ok(mut bytes) = fs::read(&path) else {
                continue;
            };
            spoil(&mut bytes);
            fs::write(&path, bytes).expect("bad bytes");
            let what = format!("{how}: {}", path.display());
            // Reads everything of the image.
            let mut ended = scene.build(&["-o", &to, "-o", "type=store"]);
            if !ended.status.success() {
                ended.failed(1, &[]);
                ended = scene.build(&["-o", &to, "-o", "type=store"]);
            }
            assert!(
                ended.status.success(),
                "{what}: not mended by the second build:\n{}",
                ended.stderr
            );
            assert_eq!(ended.stdout.trim(), image, "{what}: another image");
        }
    }
}

#[test]
fn f14_bit_rot_in_a_store_of_copied_layers() {
    let scene = Scene::copy_only();
    let first = scene.build(&[]);
    for directory in [
        "blobs/sha256",
        "index",
        "cache/steps",
        "cache/digests",
        "images",
    ] {
        rots(&scene, directory, first.stdout.trim());
    }
    scene.recovers();
}

#[test]
fn f14_bit_rot_in_a_store_of_trees() {
    requires!(execution);
    let base = requires!(base "busybox");
    let scene = Scene::with_run(base);
    let first = scene.build(&[]);
    assert!(first.status.success(), "{}", first.stderr);
    for directory in ["blobs/sha256", "index", "cache/steps"] {
        rots(&scene, directory, first.stdout.trim());
    }
    scene.recovers();
}

#[test]
fn f15_trees_that_vanished_are_made_again() {
    requires!(execution);
    let base = requires!(base "busybox");
    let scene = Scene::with_run(base);
    let first = scene.build(&[]);
    for directory in ["trees/layers", "trees/steps", "trees"] {
        for path in files(&scene.place.store().join(directory)) {
            let path = path.display().to_string();
            scene.place.expect(0, &["unshare", "rm", "-rf", &path]);
            let ended = scene.build(&["--no-cache"]);
            assert!(ended.status.success(), "{path}: {}", ended.stderr);
            let ended = scene.build(&[]);
            assert!(ended.status.success(), "{path}: {}", ended.stderr);
            assert_eq!(ended.stdout, first.stdout, "{path}");
        }
    }
    scene.recovers();
}

#[test]
fn a_layer_cached_without_a_session_is_no_tree_of_one() {
    requires!(execution);
    let base = requires!(base "busybox");
    let scene = Scene::with_run(base);
    let copies = "FROM busybox\nCOPY data/a /a\nWORKDIR /w\n";
    for rest in [
        "USER 1:1\n",
        "RUN test -s /a && test -d /w\nUSER 1:1\n",
        "USER 1:1\n",
    ] {
        scene.place.write("Other", format!("{copies}{rest}"));
        let ended = scene.build(&["-f", "Other"]);
        assert!(ended.status.success(), "{rest}: {}", ended.stderr);
    }
    fs::remove_file(scene.place.context().join("Other")).expect("it goes");
    scene.place.expect(0, &["prune", "--all"]);
    scene.recovers();
}
