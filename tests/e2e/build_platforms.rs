//! Images for several platforms. Nothing here executes a foreign program; `build_foreign` does.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::build_oracle::python;
use crate::support::Place;

const FILE: &str = "FROM scratch AS files-amd64\nCOPY one /one\nFROM scratch AS files-arm64\nCOPY two /two\n\
                    FROM scratch AS files-arm\nCOPY one two /\n\
                    FROM files-$TARGETARCH\nARG TARGETPLATFORM TARGETVARIANT BUILDPLATFORM\n\
                    LABEL target=$TARGETPLATFORM variant=[$TARGETVARIANT] build=$BUILDPLATFORM\nUSER 1:1\n";
const BOTH: &str = "--platform=linux/amd64,linux/arm64";

fn place() -> Place {
    let place = Place::new();
    place.write("one", "1").write("two", "22");
    place
}

fn json(place: &Place, args: &[&str]) -> Value {
    let (text, _) = place.expect(0, &[args, &["--format", "json"]].concat());
    serde_json::from_str(&text).expect("JSON")
}

/// What a layout's entry leads to, read by Python: for each image its platform twice, by index and configuration, and its files.
fn layout(path: &Path) -> String {
    python(
        r"
import hashlib, io, json, os, sys, tarfile
root = sys.argv[1]
def blob(descriptor):
    data = open(os.path.join(root, 'blobs', *descriptor['digest'].split(':')), 'rb').read()
    assert len(data) == descriptor['size'] and 'sha256:' + hashlib.sha256(data).hexdigest() == descriptor['digest']
    return data
top, = json.load(open(os.path.join(root, 'index.json')))['manifests']
print(top['mediaType'].split('.')[3], top['annotations']['org.opencontainers.image.ref.name'])
for entry in json.loads(blob(top))['manifests']:
    manifest = json.loads(blob(entry))
    config = json.loads(blob(manifest['config']))
    files = [m.name for l in manifest['layers'] for m in tarfile.open(fileobj=io.BytesIO(blob(l))).getmembers()]
    said = '/'.join(entry['platform'][k] for k in ('os', 'architecture', 'variant') if k in entry['platform'])
    print(said, config['architecture'], config.get('variant'), config['config']['Labels']['variant'], files)
",
        &[path.into()],
    )
}

#[test]
fn several_platforms_make_an_index_that_the_store_lists_with_its_images() {
    let place = place();
    let id = place.build(FILE, &[BOTH, "-t", "localhost/app:1"]);
    let inspected = json(&place, &["inspect", "localhost/app:1"]);
    assert_eq!(inspected["digest"], id.as_str());
    let entries = inspected["index"]["manifests"]
        .as_array()
        .expect("manifests");
    assert_eq!(entries.len(), 2);
    for (entry, architecture) in entries.iter().zip(["amd64", "arm64"]) {
        assert_eq!(entry["platform"]["architecture"], architecture);
        let platform = format!("--platform=linux/{architecture}");
        let image = json(&place, &["inspect", "localhost/app:1", &platform]);
        assert_eq!(image["digest"], entry["digest"]);
        assert_eq!(image["config"]["architecture"], architecture);
        let labels = &image["config"]["config"]["Labels"];
        assert_eq!(labels["target"], format!("linux/{architecture}"));
        assert_eq!(labels["build"], json_host().as_str());
    }
    let (files, _) = place.expect(
        0,
        &["inspect", "localhost/app:1", "--platform=arm64", "--files"],
    );
    assert!(files.contains("two") && !files.contains("one"), "{files}");
    let (_, stderr) = place.expect(2, &["inspect", "localhost/app:1", "--files"]);
    assert!(
        stderr.contains("--platform chooses one of linux/amd64, linux/arm64"),
        "{stderr}"
    );
    let (text, _) = place.expect(0, &["images"]);
    let rows: Vec<&str> = text
        .lines()
        .skip(1)
        .map(|line| line.split("  ").find(|w| !w.is_empty()).unwrap_or(""))
        .collect();
    assert_eq!(
        rows,
        ["localhost/app:1", "linux/amd64", "linux/arm64"],
        "{text}"
    );
    // A name of the store is a base for each of its platforms, without a registry.
    let child = place.build(
        "FROM localhost/app:1\nENV a=b\n",
        &["--platform=arm64", "--pull=never"],
    );
    let child = json(&place, &["inspect", &child]);
    assert_eq!(child["config"]["architecture"], "arm64");
    place.expect(0, &["rmi", child["id"].as_str().expect("an id")]);
    let listed = json(&place, &["images"]);
    assert_eq!(listed.as_array().map(Vec::len), Some(1));
    assert_eq!(listed[0]["images"][1]["platform"], "linux/arm64");
}

fn json_host() -> String {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!("linux/{architecture}")
}

#[test]
fn an_index_goes_as_a_whole_and_keeps_its_images_until_then() {
    let place = place();
    let id = place.build(FILE, &[BOTH, "-t", "localhost/app:1"]);
    place.expect(0, &["prune"]);
    let member = json(
        &place,
        &["inspect", "localhost/app:1", "--platform", "arm64"],
    )["digest"]
        .to_string();
    let member = member.trim_matches('"');
    let (_, stderr) = place.expect(1, &["rmi", member]);
    assert!(stderr.contains("it is part of localhost/app:1"), "{stderr}");
    let (stdout, _) = place.expect(0, &["rmi", "localhost/app:1"]);
    assert_eq!(stdout, format!("untagged localhost/app:1\nremoved {id}\n"));
    assert_eq!(json(&place, &["images"]), Value::Array(Vec::new()));
    let (freed, _) = place.expect(0, &["prune"]);
    assert!(freed.contains("7 blobs"), "{freed}");
}

#[test]
fn a_layout_and_an_archive_hold_the_index_and_every_image() {
    let place = place();
    let outputs = [
        "-o",
        "type=oci,dest=../layout",
        "-o",
        "type=oci,dest=../image.tar",
        "--platform=linux/arm/v6",
        "--platform=linux/arm64/v8,linux/amd64",
        "-t",
        "localhost/app:1",
    ];
    place.build(FILE, &outputs);
    let root = place.path();
    let found = layout(&root.join("layout"));
    assert_eq!(
        found,
        "index localhost/app:1\n\
         linux/arm/v6 arm v6 [v6] ['one', 'two']\n\
         linux/arm64 arm64 None [] ['two']\n\
         linux/amd64 amd64 None [] ['one']\n"
    );
    fs::create_dir(root.join("unpacked")).expect("a directory");
    python(
        "import sys, tarfile\nt = tarfile.open(sys.argv[1])\nassert len(set(t.getnames())) == len(t.getnames())\nt.extractall(sys.argv[2])",
        &[root.join("image.tar").into(), root.join("unpacked").into()],
    );
    assert_eq!(layout(&root.join("unpacked")), found);
    // The layout is a base again, for each of its platforms and no other.
    let context = format!("base=oci-layout:{}", root.join("layout").display());
    place.build(
        "FROM base\nCOPY one /three\n",
        &[
            "--platform=arm64,linux/arm/v7",
            "--build-context",
            &context,
            "-t",
            "child",
        ],
    );
    let child = json(&place, &["inspect", "child", "--platform", "linux/arm/v7"]);
    assert_eq!(child["config"]["config"]["Labels"]["variant"], "[v6]");
    place.write("Containerfile", "FROM base\n");
    let (_, stderr) = place.expect(
        1,
        &[
            "build",
            "--platform=riscv64",
            "--build-context",
            &context,
            ".",
        ],
    );
    assert!(
        stderr.contains("linux/riscv64")
            && stderr.contains("linux/arm/v6, linux/arm64, linux/amd64"),
        "{stderr}"
    );
}

#[test]
fn files_of_several_platforms_go_into_a_directory_each() {
    let place = place();
    let outputs = [
        "-o",
        "type=local,dest=../files",
        "-o",
        "type=tar,dest=../files.tar",
        "--platform=linux/arm/v7,amd64",
    ];
    place.build(FILE, &outputs);
    let read = |path: &str| fs::read_to_string(place.path().join("files").join(path)).ok();
    assert_eq!(read("linux_arm_v7/two").as_deref(), Some("22"));
    assert_eq!(read("linux_amd64/one").as_deref(), Some("1"));
    assert_eq!(read("linux_amd64/two"), None);
    let names = python(
        "import sys, tarfile\nprint(sorted(m.name.strip('/') for m in tarfile.open(sys.argv[1]) if m.isfile()))",
        &[place.path().join("files.tar").into()],
    );
    assert_eq!(
        names,
        "['linux_amd64/one', 'linux_arm_v7/one', 'linux_arm_v7/two']\n"
    );
}

#[test]
fn what_one_platform_only_can_have_is_refused_before_the_build() {
    let place = place();
    place.write("Containerfile", FILE);
    let (_, stderr) = place.expect(
        2,
        &["build", BOTH, "-o", "type=docker,dest=../docker.tar", "."],
    );
    assert!(
        stderr.contains("type=docker") && stderr.contains("one platform"),
        "{stderr}"
    );
    place.write(
        "Containerfile",
        "FROM --platform=linux/amd64 scratch\nCOPY one /\nUSER 1\n",
    );
    let (_, stderr) = place.expect(1, &["build", BOTH, "."]);
    assert!(
        stderr.contains("the image for linux/arm64 would be for linux/amd64")
            && stderr.contains("Containerfile:1"),
        "{stderr}"
    );
}

#[test]
fn steps_of_the_build_platform_are_done_once() {
    let place = place();
    let file = "FROM --platform=$BUILDPLATFORM scratch AS shared\nCOPY one /shared\nFROM scratch\nCOPY --from=shared / /\nUSER 1\n";
    place.write("Containerfile", file);
    let (_, stderr) = place.expect(
        0,
        &["build", "--progress=plain", "--user-policy=off", BOTH, "."],
    );
    let done = |what: &str| {
        stderr
            .lines()
            .filter(|line| line.contains("shared 1/1") && line.contains(what))
            .count()
    };
    assert_eq!((done("done in"), done("(cached)")), (1, 1), "{stderr}");
    assert!(stderr.contains("[linux/arm64 stage-1 1/1]"), "{stderr}");
}

#[test]
fn platform_arguments_can_be_given_and_do_not_change_what_the_image_is_for() {
    let place = place();
    let id = place.build(
        FILE,
        &["--platform=amd64", "--build-arg", "TARGETARCH=arm64"],
    );
    let image = json(&place, &["inspect", &id]);
    assert_eq!(image["config"]["architecture"], "amd64");
    assert_eq!(image["config"]["config"]["Labels"]["target"], "linux/amd64");
    let (files, _) = place.expect(0, &["inspect", &id, "--files"]);
    assert!(files.contains("two"), "{files}");
}

#[test]
fn an_image_of_another_platform_is_no_base_without_a_warning_and_not_run() {
    let place = place();
    place.build(FILE, &["--platform=arm64", "-o", "type=oci,dest=../layout"]);
    let context = format!("base=oci-layout:{}", place.path().join("layout").display());
    place.write("Containerfile", "FROM base\nUSER 1\n");
    let (id, stderr) = place.expect(
        0,
        &[
            "build",
            "--platform=linux/s390x",
            "--build-context",
            &context,
            ".",
        ],
    );
    assert!(
        stderr.contains("base is for linux/arm64, not for linux/s390x"),
        "{stderr}"
    );
    let image = json(&place, &["inspect", id.trim()]);
    assert_eq!(
        image["config"]["architecture"], "arm64",
        "it says what its files are"
    );
    let (_, stderr) = place.expect(125, &["run", "--platform=linux/ppc64le", id.trim()]);
    assert!(
        stderr.contains("linux/ppc64le: this one is for linux/arm64"),
        "{stderr}"
    );
}
