//! S01 to S17 with the whole program: layers that reach for files of this machine, as the base of a build that copies (read
//! through their indexes) and of one that runs (unpacked and mounted).

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::fault_oracle::{Ended, Scene};
use crate::hostile_layout::tar::{self, Member};
use crate::hostile_layout::{Canary, LayerBlob, Layout, layers_of};

/// A build whose base is `below` and then the hostile layers.
fn build_on(scene: &Scene, below: &[LayerBlob], tars: Vec<Vec<u8>>, containerfile: &str) -> Ended {
    let path = scene.place.path().join("hostile");
    let _ = fs::remove_dir_all(&path);
    let layout = Layout::new(&path);
    let layers: Vec<LayerBlob> = below
        .iter()
        .cloned()
        .chain(tars.into_iter().map(LayerBlob::of))
        .collect();
    layout.image_with(&layers, "");
    let context = format!("hostile=oci-layout:{}", path.display());
    scene.place.write("Hostile", containerfile);
    scene.build(&["-f", "Hostile", "--build-context", &context])
}

/// Every way of reaching out that has worked somewhere.
#[expect(clippy::too_many_lines, reason = "one table")]
fn escapes(canary: &str) -> Vec<(&'static str, Vec<Member>)> {
    let up = "../".repeat(20);
    let up = format!("{up}{}", canary.trim_start_matches('/'));
    vec![
        (
            "s01 file through a link of its name",
            vec![
                Member::symlink("x", &format!("{canary}/file")),
                Member::file("x", "evil"),
            ],
        ),
        (
            "s01 file through a hard link",
            vec![
                Member::hardlink("x", &format!("{canary}/file")),
                Member::file("x", "evil"),
            ],
        ),
        (
            "s02 directories through a link",
            vec![Member::symlink("s", &up), Member::file("s/new/f", "evil")],
        ),
        (
            "s03 directory entry on a link",
            vec![
                Member::symlink("d", canary),
                Member {
                    mode: 0o777,
                    ..Member::dir("d")
                },
            ],
        ),
        (
            "s06 hard link to a link, then a mode",
            vec![
                Member::symlink("s", &format!("{canary}/file")),
                Member::hardlink("h", "s"),
                Member {
                    mode: 0o777,
                    ..Member::file("h", "evil")
                },
            ],
        ),
        (
            "s08 the root is a link",
            vec![Member::symlink(".", canary), Member::file("file", "evil")],
        ),
        (
            "s08 the root is a link, ./",
            vec![Member::symlink("./", canary), Member::file("file", "evil")],
        ),
        (
            "s08 the root is a link, /",
            vec![Member::symlink("/", canary), Member::file("file", "evil")],
        ),
        (
            "s09 up and out",
            vec![Member::file(&format!("{up}/file"), "evil")],
        ),
        (
            "s09 absolute",
            vec![Member::file(&format!("{canary}/file"), "evil")],
        ),
        (
            "s09 a chain of links",
            vec![
                Member::symlink("a", "b"),
                Member::symlink("b", &up),
                Member::file("a/file", "evil"),
            ],
        ),
        (
            "s09 a loop",
            vec![
                Member::symlink("a", "b"),
                Member::symlink("b", "a"),
                Member::file("a/file", "evil"),
            ],
        ),
        (
            "s09 link up and out",
            vec![
                Member::hardlink("h", &format!("{up}/file")),
                Member::file("h", "evil"),
            ],
        ),
        (
            "s11 through /proc",
            vec![
                Member::symlink("p", "/proc/self/cwd"),
                Member::file("p/data/a", "evil"),
            ],
        ),
        (
            "s13 whiteout through a link",
            vec![Member::symlink("s", canary), Member::file("s/.wh.file", "")],
        ),
        (
            "s13 opaque through a link",
            vec![
                Member::symlink("s", canary),
                Member::file("s/.wh..wh..opq", ""),
            ],
        ),
        (
            "s13 whiteout of the parent",
            vec![Member::file("d/.wh...", "")],
        ),
        ("s13 whiteout of nothing", vec![Member::file("d/.wh.", "")]),
        (
            "s13 whiteout with a path",
            vec![Member::file(".wh.../../file", "")],
        ),
        (
            "s15 host disk",
            vec![
                Member::device("disk", b'b', 254, 0),
                Member::device("mem", b'c', 1, 1),
            ],
        ),
        (
            "s15 whiteout device",
            vec![Member::device("bin", b'c', 0, 0)],
        ),
        (
            "f26 odd names",
            vec![
                Member {
                    name: (1..=255).filter(|b| *b != b'/').take(99).collect(),
                    ..Member::file("", "odd")
                },
                Member::file("-rf", "x"),
                Member::file("a:b,c\\d", "x"),
            ],
        ),
    ]
}

fn check(scene: &Scene, canary: &Canary, what: &str, ended: &Ended) {
    canary.lives(what);
    if !ended.status.success() {
        assert_eq!(ended.status.code(), Some(1), "{what}: {}", ended.stderr);
        ended.failed(1, &[]);
    }
    assert!(
        ended.took < Duration::from_secs(15),
        "{what}: {:?}",
        ended.took
    );
    scene.is_clean();
}

#[test]
fn hostile_layers_below_a_build_that_copies() {
    let scene = Scene::copy_only();
    let canary = Canary::new(&scene.place.path().join("canary"));
    for (what, members) in escapes(&canary.path()) {
        let to = "FROM hostile\nCOPY data/a /s/file\nCOPY data/a /d/\nCOPY data/a /x\nCOPY data /p/data\nWORKDIR /s/work\nUSER 1:1\n";
        let ended = build_on(&scene, &[], vec![tar::of(&members)], to);
        check(&scene, &canary, what, &ended);
        // And what comes out of it again.
        let out = scene.place.path().join("out");
        let local = format!("type=local,dest={}", out.display());
        let context = format!(
            "hostile=oci-layout:{}",
            scene.place.path().join("hostile").display()
        );
        let ended = scene.build(&["-f", "Hostile", "--build-context", &context, "-o", &local]);
        check(&scene, &canary, what, &ended);
        let _ = fs::remove_dir_all(&out);
    }
    scene.place.expect(0, &["prune", "--all"]);
    scene.recovers();
}

#[test]
fn hostile_layers_below_a_build_that_runs() {
    requires!(execution);
    let base = requires!(base "busybox");
    let below = layers_of(&base);
    let scene = Scene::with_run(base);
    let canary = Canary::new(&scene.place.path().join("canary"));
    for (what, members) in escapes(&canary.path()) {
        let to = "FROM hostile\nRUN true; cat /s/file /x /h || true\nCOPY data/a /s/file\nCOPY data/a /x\nWORKDIR /s/work\n\
                  RUN rm -rf /s /x /d; true\nUSER 1:1\n";
        let ended = build_on(&scene, &below, vec![tar::of(&members)], to);
        check(&scene, &canary, what, &ended);
        assert!(
            !ended.stderr.contains("canary file"),
            "{what}: {}",
            ended.stderr
        );
    }
    scene.place.expect(0, &["prune", "--all"]);
    scene.recovers();
}

#[test]
fn s14_overlay_attributes_in_a_layer_hide_nothing() {
    requires!(execution);
    let base = requires!(base "busybox");
    let mut below = layers_of(&base);
    below.push(LayerBlob::of(tar::of(&[
        Member::dir("keep"),
        Member::file("keep/below", "below"),
    ])));
    let scene = Scene::with_run(base);
    for name in [
        "user.overlay.opaque",
        "trusted.overlay.opaque",
        "user.overlay.redirect",
        "user.overlay.metacopy",
        "user.overlay.whiteout",
    ] {
        let key = format!("SCHILY.xattr.{name}");
        for value in [&b"y"[..], b"x", b"/etc"] {
            let members = [
                Member::pax(&[(&key, value)]),
                Member::dir("keep"),
                Member::pax(&[(&key, value)]),
                Member::file("keep/above", "above"),
            ];
            let ended = build_on(
                &scene,
                &below,
                vec![tar::of(&members)],
                "FROM hostile\nRUN cat /keep/below /keep/above; test -d /keep\nUSER 1:1\n",
            );
            assert!(ended.status.success(), "{name}: {}", ended.stderr);
            assert!(
                ended.stderr.contains("below") && ended.stderr.contains("above"),
                "{name}: {}",
                ended.stderr
            );
        }
    }
    scene.place.expect(0, &["prune", "--all"]);
    scene.recovers();
}

#[test]
fn s17_members_that_claim_absurd_sizes() {
    let scene = Scene::copy_only();
    let canary = Canary::new(&scene.place.path().join("canary"));
    let claims = |member: Member, size| Member {
        claims: Some(size),
        ..member
    };
    for (what, member) in [
        ("8 EiB", claims(Member::file("f", "x"), u64::MAX >> 1)),
        ("17 TiB", claims(Member::file("f", "x"), 17 << 40)),
        (
            "a PAX header of 2 GiB",
            claims(Member::pax(&[("path", b"x")]), 2 << 30),
        ),
        (
            "a long name of 2 GiB",
            claims(
                Member {
                    kind: b'L',
                    ..Member::file("././@LongLink", "x")
                },
                2 << 30,
            ),
        ),
    ] {
        let ended = build_on(
            &scene,
            &[],
            vec![tar::of(&[member])],
            "FROM hostile\nCOPY data /data\nUSER 1:1\n",
        );
        assert!(!ended.status.success(), "{what}");
        check(&scene, &canary, what, &ended);
    }
    scene.place.expect(0, &["prune", "--all"]);
    scene.recovers();
}

#[test]
fn s19_programs_of_the_image_never_run_outside() {
    requires!(execution);
    let base = requires!(base "busybox");
    let below = layers_of(&base);
    let scene = Scene::with_run(base);
    let trace = scene.place.path().join("trace");
    fs::create_dir(&trace).expect("a directory");
    let evil = format!("#!/bin/sh\ntouch {}/ran\n", trace.display());
    let members: Vec<Member> = [
        "xz",
        "gzip",
        "unpigz",
        "zstd",
        "tar",
        "newuidmap",
        "pasta",
        "getent",
        "getsubids",
        "ldconfig",
    ]
    .iter()
    .flat_map(|name| {
        ["bin/", "usr/bin/", "sbin/"].map(|dir| Member::program(&format!("{dir}{name}"), &evil))
    })
    .collect();
    archive_of(&scene.place.context());
    let to = "FROM hostile\nRUN true\nADD archive.tar.gz /unpacked/\nRUN test -f /unpacked/data/a\nUSER 1:1\n";
    let ended = build_on(&scene, &below, vec![tar::of(&members)], to);
    assert!(ended.status.success(), "{}", ended.stderr);
    assert_eq!(
        fs::read_dir(&trace).expect("it").count(),
        0,
        "something of the image ran"
    );
    fs::remove_file(scene.place.context().join("archive.tar.gz")).expect("it goes");
    scene.place.expect(0, &["prune", "--all"]);
    scene.recovers();
}

fn archive_of(context: &Path) {
    let status = std::process::Command::new("tar")
        .args(["-czf", "archive.tar.gz", "data"])
        .current_dir(context)
        .status()
        .expect("tar starts");
    assert!(status.success());
}
