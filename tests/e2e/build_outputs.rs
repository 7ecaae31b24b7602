//! Where images go, and that the same inputs give the same bytes.

use std::fs;
use std::path::Path;

use crate::build_oracle::{Site, python, tree_of};
use crate::support::Place;

const FILE: &str =
    "FROM scratch\nCOPY --chown=5:6 one /d/one\nCOPY --chmod=0700 one /two\nUSER 1:1\n";

/// Reads a tar with Python: name, kind, mode and owner of each member.
fn members(path: &Path) -> String {
    python(
        "import sys, tarfile\nfor m in tarfile.open(sys.argv[1]):\n    print(m.name.strip('/'), m.type.decode(), oct(m.mode), m.uid, m.gid, m.size)",
        &[path.into()],
    )
}

#[test]
fn a_tar_of_the_files_is_read_by_others() {
    let site = site!();
    site.place.write("one", "1");
    site.build(FILE, &["-o", "type=tar,dest=files.tar", "-o", "type=store"]);
    assert_eq!(
        members(&site.place.context().join("files.tar")),
        "d 5 0o755 5 6 0\nd/one 0 0o644 5 6 1\ntwo 0 0o700 0 0 1\n"
    );
}

#[test]
fn local_files_belong_to_the_caller() {
    let site = site!();
    site.place.write("one", "1");
    site.build(FILE, &["-o", "type=local,dest=files", "-o", "type=store"]);
    let two = site.place.context().join("files/two");
    assert_eq!(fs::read_to_string(&two).expect("a file"), "1");
    let owner = |path: &Path| std::os::unix::fs::MetadataExt::uid(&fs::metadata(path).expect("it"));
    assert_eq!(
        owner(&site.place.context().join("files/d/one")),
        owner(&site.place.context())
    );
}

#[test]
fn links_in_the_directory_of_local_files_are_not_followed_out_of_it() {
    let site = site!();
    site.place.write("one", "1");
    let outside = site.place.path().join("outside");
    fs::create_dir(&outside).expect("a directory");
    fs::write(outside.join("two"), "mine").expect("a file");
    let files = site.place.path().join("files");
    fs::create_dir(&files).expect("a directory");
    std::os::unix::fs::symlink(&outside, files.join("d")).expect("a link");
    std::os::unix::fs::symlink(outside.join("two"), files.join("two")).expect("a link");
    let output = site
        .command(FILE, &["-o", "type=local,dest=../files"])
        .output()
        .expect("it starts");
    assert_eq!(fs::read_dir(&outside).expect("it").count(), 1, "{output:?}");
    assert_eq!(fs::read_to_string(outside.join("two")).expect("it"), "mine");
}

#[test]
fn several_names_and_annotations_are_in_the_index_of_a_layout() {
    let site = site!();
    site.place.write("one", "1");
    let annotations = "manifest,manifest-descriptor:a=b";
    site.build(
        FILE,
        &[
            "-o",
            "type=oci,dest=../layout,compression=zstd",
            "-o",
            "type=store",
            "-t",
            "localhost/a",
            "-t",
            "localhost/b:2",
            "--annotation",
            annotations,
            "--annotation",
            "c=d",
        ],
    );
    let shown = python(
        "import json, sys\nroot = sys.argv[1]\nblob = lambda d: json.load(open(root + '/blobs/' + d.replace(':', '/')))\n\
         index = json.load(open(root + '/index.json'))['manifests']\n\
         for entry in index:\n    print(sorted(entry['annotations'].items()), entry['platform']['os'])\n\
         manifest = blob(index[0]['digest'])\n\
         print(sorted(manifest['annotations'].items()), {l['mediaType'].split('.')[-1] for l in manifest['layers']})",
        &[site.place.path().join("layout").into()],
    );
    assert_eq!(
        shown,
        "[('a', 'b'), ('org.opencontainers.image.ref.name', 'localhost/a:latest')] linux\n\
         [('a', 'b'), ('org.opencontainers.image.ref.name', 'localhost/b:2')] linux\n\
         [('a', 'b'), ('c', 'd')] {'tar+zstd'}\n"
    );
    // Python's tarfile reads no zstd, but another store does.
    let other = Site::new(site.place.path().join("layout"));
    let child = other.build("FROM busybox\nENV A=b\n", &[]);
    let layers = child.config["rootfs"]["diff_ids"].as_array();
    assert_eq!(layers.map(Vec::len), Some(2));
}

#[test]
fn layouts_and_archives_are_bases_again_and_hold_the_same_files() {
    let site = site!();
    site.place.write("one", "1");
    let args = [
        "-o",
        "type=oci,dest=../layout",
        "-o",
        "type=oci,dest=../image.tar",
        "-o",
        "type=docker,dest=../docker.tar",
        "-o",
        "type=store",
        "-t",
        "localhost/app:1",
    ];
    let built = site.build(FILE, &args);
    let root = site.place.path();
    let tree = tree_of(&root.join("layout"));
    assert_eq!(
        tree,
        "d 0755 5:6 d\nf 0644 5:6 d/one = \"1\"\nf 0700 0:0 two = \"1\"\n"
    );
    fs::create_dir(root.join("unpacked")).expect("a directory");
    python(
        "import sys, tarfile\ntarfile.open(sys.argv[1]).extractall(sys.argv[2])",
        &[root.join("image.tar").into(), root.join("unpacked").into()],
    );
    assert_eq!(tree_of(&root.join("unpacked")), tree);
    // docker load's format: manifest.json names the configuration, the names and the layers.
    let manifest = python(
        "import json, sys, tarfile\nt = tarfile.open(sys.argv[1])\nm = json.load(t.extractfile('manifest.json'))[0]\n\
         print(m['RepoTags'], len(m['Layers']), json.load(t.extractfile(m['Config']))['config']['User'])\n\
         [t.getmember(l) for l in m['Layers']]",
        &[root.join("docker.tar").into()],
    );
    assert_eq!(manifest, "['localhost/app:1'] 2 1:1\n");
    // Another store builds on the layout, and gets the same layers.
    let other = Site::new(root.join("layout"));
    let child = other.build("FROM busybox\n", &[]);
    assert_eq!(child.config["rootfs"], built.config["rootfs"]);
}

/// Builds in a fresh place under a umask and returns the layout's only manifest digest.
fn digest_under(umask: &str, jobs: &str, busybox: &Path, file: &str) -> (Place, String) {
    let place = Place::new();
    place.write("Containerfile", file).write("one", "1");
    for path in ["one", "Containerfile"] {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        fs::set_permissions(place.context().join(path), mode).expect("a mode");
    }
    let line = format!(
        "umask {umask}; exec {} build --network none --user-policy off --jobs {jobs} --build-context busybox=oci-layout:{} \
         -o type=oci,dest=../layout .",
        crate::support::binary().display(),
        busybox.display()
    );
    let output = std::process::Command::new("sh")
        .args(["-c", &line])
        .current_dir(place.context())
        .env("RBUILD_ROOT", place.store())
        .env("SOURCE_DATE_EPOCH", "1700000000")
        .output()
        .expect("sh starts");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let index = fs::read_to_string(place.path().join("layout/index.json")).expect("an index");
    let index: serde_json::Value = serde_json::from_str(&index).expect("JSON");
    let digest = index["manifests"][0]["digest"].to_string();
    (place, digest)
}

/// Anything in the tree that is writable for others.
fn writable_for_others(root: &Path) -> String {
    let output = std::process::Command::new("find")
        .arg(root)
        .args([
            "-not",
            "-type",
            "l",
            "-perm",
            "/022",
            "-not",
            "-path",
            "*/trees/*",
        ])
        .output()
        .expect("find starts");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn s48_the_umask_the_store_and_the_jobs_change_nothing() {
    let busybox = requires!(base "busybox");
    let files = [
        "FROM scratch\nCOPY one /d/\nWORKDIR /w\nCOPY <<EOF /f\nx\nEOF\nADD --chown=3 one /deep/er/\n",
        "FROM busybox AS a\nRUN mkdir /d && echo a >/d/x && rm /bin/vi && ln /d/x /d/y && umask\nWORKDIR /w/v\nCOPY one /e/f/\n\
         FROM busybox AS b\nRUN echo b >/b\nFROM a\nCOPY --from=b /b /b\n",
    ];
    for file in files {
        if file.contains("RUN") {
            requires!(sub_ids);
            requires!(execution);
        }
        let (loose_place, loose) = digest_under("000", "1", &busybox, file);
        let (_, strict) = digest_under("077", "4", &busybox, file);
        assert_eq!(loose, strict, "{file}");
        for directory in ["store", "layout"] {
            assert_eq!(
                writable_for_others(&loose_place.path().join(directory)),
                "",
                "{directory}"
            );
        }
    }
}

#[test]
fn source_date_epoch_clamps_times_and_leaves_the_base_alone() {
    let site = site!(run);
    site.place.write("one", "1");
    let file = "FROM busybox\nCOPY one /one\nRUN echo x >/x\n";
    let built = site.built(
        site.command(
            file,
            &["-o", "type=tar,dest=../files.tar", "-o", "type=store"],
        )
        .env("SOURCE_DATE_EPOCH", "1000000000"),
    );
    let times = python(
        "import sys, tarfile\nt = tarfile.open(sys.argv[1])\nprint([int(t.getmember(n).mtime) for n in ('one', 'x', 'bin/busybox')])",
        &[site.place.path().join("files.tar").into()],
    );
    assert!(
        times.starts_with("[1000000000, 1000000000, ") && !times.ends_with(" 1000000000]\n"),
        "{times}"
    );
    assert_eq!(built.config["created"], "2001-09-09T01:46:40Z");
    let plain = site.build("FROM busybox\nLABEL a=b\n", &[]);
    assert_eq!(plain.config["history"][0], built.config["history"][0]);
}
