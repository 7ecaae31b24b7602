//! S18, S21, S51 to S53, F28: base images whose descriptions lie. Each is refused with one error, and nothing of it is in the
//! store afterwards.

use std::fs;
use std::io::Read as _;
use std::num::NonZeroUsize;
use std::time::Duration;

use image::{Compression, Digest};

use crate::fault_oracle::{Ended, Scene};
use crate::hostile_layout::{GZIP, LayerBlob, Layout, TAR, tar};

const ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

/// A build on what `make` puts into a layout.
fn build_on(scene: &Scene, make: impl FnOnce(&Layout)) -> Ended {
    let path = scene.place.path().join("hostile");
    let _ = fs::remove_dir_all(&path);
    let layout = Layout::new(&path);
    make(&layout);
    let context = format!("hostile=oci-layout:{}", path.display());
    scene
        .place
        .write("Hostile", "FROM hostile\nCOPY data /data\nUSER 1:1\n");
    scene.build(&["-f", "Hostile", "--build-context", &context])
}

/// It failed with one error, in time, and left no blob and no image.
fn refused(scene: &Scene, what: &str, ended: &Ended, words: &[&str]) {
    assert_eq!(ended.status.code(), Some(1), "{what}: {}", ended.stderr);
    ended.failed(1, words);
    assert!(
        ended.took < Duration::from_secs(15),
        "{what}: {:?}",
        ended.took
    );
    let blobs: Vec<_> = fs::read_dir(scene.place.store().join("blobs/sha256"))
        .expect("the blobs")
        .flatten()
        .map(|blob| blob.file_name())
        .collect();
    assert!(blobs.is_empty(), "{what}: the store has {blobs:?}");
    let records = fs::read_dir(scene.place.store().join("images")).expect("the records");
    assert_eq!(records.count(), 0, "{what}: an image is recorded");
    scene.place.expect(0, &["images"]);
    scene.is_clean();
}

fn good_layer() -> LayerBlob {
    LayerBlob::of(tar::of(&[tar::Member::file("etc/file", "content")]))
}

#[test]
fn the_honest_image_of_these_tests_is_taken() {
    let scene = Scene::copy_only();
    let ended = build_on(&scene, |layout| layout.image_with(&[good_layer()], ""));
    assert!(ended.status.success(), "{}", ended.stderr);
    scene.recovers();
}

#[test]
fn s53_layers_that_are_not_what_they_are_called() {
    let scene = Scene::copy_only();
    type Lie = (&'static str, fn(&mut LayerBlob));
    let lies: [Lie; 6] = [
        ("wrong digest", |layer| layer.blob[600] ^= 1),
        ("wrong diff id", |layer| {
            layer.diff_id = Digest::of("other").to_string()
        }),
        ("truncated", |layer| layer.blob.truncate(700)),
        ("longer than it says", |layer| layer.blob.extend([0; 512])),
        ("size is a lie", |layer| layer.size = 1 << 40),
        ("missing", |layer| {
            layer.digest = Digest::of("nothing").to_string()
        }),
    ];
    for (what, lie) in lies {
        let mut layer = good_layer();
        let name = layer.digest.clone();
        lie(&mut layer);
        let ended = build_on(&scene, |layout| {
            layout.image_with(std::slice::from_ref(&layer), "");
            if what == "missing" {
                let path = layout.path().join("blobs/sha256").join(&layer.digest[7..]);
                fs::remove_file(path).expect("it goes");
            } else {
                // Under the name that the manifest has, whatever it is now.
                let path = layout.path().join("blobs/sha256").join(&name[7..]);
                fs::write(path, &layer.blob).expect("a layer");
            }
        });
        refused(&scene, what, &ended, &["sha256:"]);
    }
    scene.recovers();
}

#[test]
fn s21_junk_is_no_layer() {
    let scene = Scene::copy_only();
    let noise: Vec<u8> = (0..40_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let whole = tar::of(&[tar::Member::file("a", "x".repeat(5000))]);
    for (what, blob) in [
        ("noise", noise),
        ("text", b"hello, I am a layer\n".repeat(100)),
        ("half a tar", whole[..1500].to_vec()),
        ("broken checksum", {
            let mut tar = whole.clone();
            tar[3] ^= 7;
            tar
        }),
    ] {
        for media_type in [TAR, GZIP, ZSTD] {
            let layer = LayerBlob {
                media_type,
                ..LayerBlob::of(blob.clone())
            };
            let ended = build_on(&scene, |layout| layout.image_with(&[layer], ""));
            assert_eq!(
                ended.status.code(),
                Some(1),
                "{what} {media_type}: {}",
                ended.stderr
            );
            ended.failed(1, &[]);
            scene.place.expect(0, &["prune", "--all"]);
        }
    }
    scene.recovers();
}

#[test]
fn s18_a_bomb_stops_at_the_limit() {
    let scene = Scene::copy_only();
    let mut bomb = Vec::new();
    let mut zeros = std::io::repeat(0).take(2 << 30);
    image::compress::compress(Compression::Zstd, &mut zeros, &mut bomb, NonZeroUsize::MIN)
        .expect("a bomb");
    let layer = LayerBlob {
        media_type: ZSTD,
        ..LayerBlob::of(bomb)
    };
    let ended = build_on(&scene, |layout| layout.image_with(&[layer], ""));
    refused(&scene, "zstd bomb", &ended, &["expands more than"]);
    scene.recovers();
}

#[test]
fn s51_documents_that_can_be_read_in_two_ways() {
    let scene = Scene::copy_only();
    let digest = Digest::of("").to_string();
    let config = format!(
        r#""config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{digest}","size":0}}"#
    );
    for (what, manifest) in [
        (
            "both",
            format!(r#"{{"schemaVersion":2,{config},"layers":[],"manifests":[]}}"#),
        ),
        (
            "twice",
            format!(r#"{{"schemaVersion":2,{config},"layers":[],"layers":[]}}"#),
        ),
        (
            "cases",
            format!(r#"{{"schemaVersion":2,{config},"layers":[],"Layers":[]}}"#),
        ),
        (
            "type",
            format!(
                r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json",{config},"layers":[]}}"#
            ),
        ),
        (
            "deep",
            format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)),
        ),
        ("no JSON", "{".to_owned()),
        (
            "large",
            format!(r#"{{"schemaVersion":2,"x":"{}"}}"#, "x".repeat(9 << 20)),
        ),
    ] {
        let ended = build_on(&scene, |layout| layout.manifest(&manifest));
        refused(&scene, what, &ended, &[]);
    }
    for (what, index) in [
        (
            "index of nothing",
            r#"{"schemaVersion":2,"manifests":[]}"#.to_owned(),
        ),
        (
            "index and manifest",
            format!(r#"{{"schemaVersion":2,"manifests":[],{config},"layers":[]}}"#),
        ),
        ("empty", String::new()),
    ] {
        let ended = build_on(&scene, |layout| layout.index(&index));
        refused(&scene, what, &ended, &[]);
    }
    scene.recovers();
}

#[test]
fn s52_digests_are_no_paths() {
    let scene = Scene::copy_only();
    let secret = scene.place.path().join("secret");
    fs::write(&secret, "secret").expect("a file");
    let upper = Digest::of("secret").to_string().to_uppercase();
    for digest in [
        "sha256:../../../secret".to_owned(),
        format!("sha256:{}", secret.display()),
        "sha256:1234".to_owned(),
        upper,
        format!("md5:{}", "0".repeat(32)),
        format!("sha256:{}/", Digest::of("secret").hex()),
        String::new(),
    ] {
        let layer = LayerBlob {
            digest: digest.clone(),
            ..good_layer()
        };
        let ended = build_on(&scene, |layout| layout.image_with(&[layer], ""));
        refused(&scene, &digest, &ended, &["digest"]);
        let layer = LayerBlob {
            diff_id: digest.clone(),
            ..good_layer()
        };
        let ended = build_on(&scene, |layout| layout.image_with(&[layer], ""));
        refused(&scene, &digest, &ended, &[]);
        let ended = build_on(&scene, |layout| {
            layout.index(&format!(
            r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{digest}","size":6}}]}}"#
        ))
        });
        refused(&scene, &digest, &ended, &[]);
        assert!(!ended.stderr.contains("secret\n"), "{}", ended.stderr);
    }
    scene.recovers();
}

#[test]
fn f28_ten_thousand_layers_are_refused_before_they_are_read() {
    let scene = Scene::copy_only();
    let layers = vec![good_layer(); 10_000];
    let ended = build_on(&scene, |layout| layout.image_with(&layers, ""));
    refused(&scene, "10,000 layers", &ended, &["10000"]);
    scene.recovers();
}

#[test]
fn a_layout_of_fifos_and_links_is_refused_without_waiting() {
    let scene = Scene::copy_only();
    for name in ["oci-layout", "index.json"] {
        let ended = build_on(&scene, |layout| {
            layout.image_with(&[good_layer()], "");
            fs::remove_file(layout.path().join(name)).expect("it goes");
            let status = std::process::Command::new("mkfifo")
                .arg(layout.path().join(name))
                .status();
            assert!(status.expect("mkfifo starts").success());
        });
        refused(&scene, name, &ended, &["regular file"]);
    }
    scene.recovers();
}
