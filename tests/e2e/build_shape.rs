//! How an image is put together: one layer or many, with or without a history, in whose format, with whose labels.

use serde_json::Value;

use crate::build_oracle::{Built, Site, tree_of};

fn history(built: &Built) -> Vec<(bool, String)> {
    let entries = built.config["history"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let entry = |entry: &Value| {
        let by = entry["created_by"].as_str().or(entry["comment"].as_str());
        (
            entry["empty_layer"] == true,
            by.unwrap_or_default().to_owned(),
        )
    };
    entries.iter().map(entry).collect()
}

fn layer_count(built: &Built) -> usize {
    built.manifest["layers"].as_array().expect("layers").len()
}

/// Builds with a clock that stands still; the image and its flattened files.
fn built(site: &Site, file: &str, name: &str, args: &[&str]) -> (Built, String) {
    let layout = format!("type=oci,dest=../{name}");
    let mut all = vec!["-o", "type=store", "-o", layout.as_str()];
    all.extend(args);
    let mut command = site.command(file, &all);
    let image = site.built(command.env("SOURCE_DATE_EPOCH", "1700000000"));
    let tree = tree_of(&site.place.path().join(name));
    (image, tree)
}

#[test]
fn one_layer_is_the_tree_of_the_many() {
    let site = site!(ids);
    let file = "FROM busybox\nRUN mkdir /d && echo 1 >/d/one && ln /d/one /d/two && chown 5:6 /d/one && chmod 4711 /d/one\n\
        RUN ln -s one /d/link && rm -r /work && echo 2 >/three\nRUN rm /three && mkdir /work && echo 4 >/work/four && rm /bin/true\n\
        ENV A=b\n";
    let (many, tree) = built(&site, file, "many", &[]);
    let (one, of_one) = built(&site, file, "one", &["--squash"]);
    let (all, of_all) = built(&site, file, "all", &["--squash-all"]);
    assert_eq!([&of_one, &of_all], [&tree, &tree]);
    assert!(tree.contains("4711 5:6 d/one"), "{tree}");
    assert_eq!([&many, &one, &all].map(layer_count), [4, 2, 1]);
    // The base's own layer is untouched, and only what hides its files is marked as gone.
    assert_eq!(
        one.config["rootfs"]["diff_ids"][0],
        many.config["rootfs"]["diff_ids"][0]
    );
    let marks = |layer: Vec<String>| {
        let marks = layer.into_iter().filter(|line| line.contains(".wh."));
        marks.collect::<Vec<_>>()
    };
    assert_eq!(marks(one.layer()), [r#"f 0644 0:0 bin/.wh.true = """#]);
    assert_eq!(marks(all.layers_above(0).concat()), [""; 0]);
    let steps = [&many, &one].map(|image| history(image).len());
    assert_eq!(steps[1], steps[0] + 1);
    let last = history(&one).pop();
    assert_eq!(last, Some((false, "merge 3 layers".to_owned())));
    for image in [&many, &one, &all] {
        let filled = history(image).iter().filter(|(empty, _)| !empty).count();
        assert_eq!(filled, layer_count(image));
    }
    // The same again, though nothing is taken from the cache.
    for (args, before) in [(["--squash"], &one), (["--squash-all"], &all)] {
        let again = built(&site, file, "again", &[&args[..], &["--no-cache"]].concat()).0;
        assert_eq!(again.id, before.id);
    }
}

#[test]
fn a_squashed_image_of_copies_needs_no_session_and_runs_nothing() {
    let site = site!();
    site.place.write("one", "1").write("two", "2");
    let file = "FROM scratch\nCOPY one /a/x\nCOPY two /a/x\nCOPY --chown=7:8 --chmod=600 one /b\n";
    let (many, tree) = built(&site, file, "many", &[]);
    for arg in ["--squash", "--squash-all"] {
        let (one, of_one) = built(&site, file, arg, &[arg]);
        assert_eq!(of_one, tree);
        assert_eq!((layer_count(&many), layer_count(&one)), (3, 1));
    }
    // Nothing to merge is no layer.
    let (empty, _) = built(&site, "FROM scratch\nENV A=b\n", "empty", &["--squash"]);
    assert_eq!(layer_count(&empty), 0);
}

#[test]
fn an_image_without_a_history_is_whole() {
    let site = site!();
    site.place.write("one", "1");
    let file = "FROM busybox\nCOPY one /one\nCMD [\"a\"]\n";
    let bare = site.build(file, &["--omit-history"]);
    assert_eq!(bare.config["history"], Value::Null);
    assert_eq!(layer_count(&bare), 2);
    assert_eq!(bare.field("Cmd"), r#"["a"]"#);
    // Its children have one again, with an entry for each of its layers.
    let (layout, file) = ("../bare", "FROM busybox\nCOPY one /one\n");
    site.build(
        file,
        &[
            "--omit-history",
            "-o",
            "type=store",
            "-o",
            &format!("type=oci,dest={layout}"),
        ],
    );
    let other = Site::new(site.place.path().join("bare"));
    let child = other.build("FROM busybox\nENV A=b\n", &[]);
    assert_eq!(history(&child).len(), 3);
}

const HEALTH: &str = "FROM busybox\nSHELL [\"/bin/ash\", \"-c\"]\nHEALTHCHECK --interval=5s --retries=2 CMD true\nONBUILD USER 3:4\n\
    ONBUILD COPY <<EOF /y\nbody $A\nEOF\nLABEL a=b\nSTOPSIGNAL 9\nCMD x\n";

#[test]
fn both_formats_keep_what_only_docker_knows() {
    let site = site!();
    let oci = site.build(HEALTH, &["--format", "oci"]);
    let docker = site.build(
        HEALTH,
        &[
            "--format",
            "docker",
            "-o",
            "type=store",
            "-o",
            "type=oci,dest=../layout",
        ],
    );
    assert_eq!(oci.id, docker.id);
    for (image, own, other) in [
        (&oci, "vnd.oci", "vnd.docker"),
        (&docker, "vnd.docker", "vnd.oci"),
    ] {
        let manifest = image.manifest.to_string();
        assert!(
            manifest.contains(own) && !manifest.contains(other),
            "{manifest}"
        );
    }
    assert_eq!(
        docker.field("Healthcheck"),
        r#"{"Interval":5000000000,"Retries":2,"Test":["CMD-SHELL","true"]}"#
    );
    assert_eq!(docker.field("Shell"), r#"["/bin/ash","-c"]"#);
    assert_eq!(docker.field("Cmd"), r#"["/bin/ash","-c","x"]"#);
    assert_eq!(
        docker.field("OnBuild"),
        r#"["USER 3:4","COPY <<EOF /y\nbody $A\nEOF"]"#
    );
    let index = std::fs::read_to_string(site.place.path().join("layout/index.json")).expect("it");
    assert!(
        index.contains("vnd.docker.distribution.manifest.v2+json"),
        "{index}"
    );
    // What another builder finds in the layout is built upon.
    let other = Site::new(site.place.path().join("layout"));
    let child = other.build("FROM busybox\n", &["--build-arg", "A=1"]);
    assert_eq!(child.layer(), [r#"f 0644 0:0 y = "body \n""#]);
    assert_eq!(child.field("User"), r#""3:4""#);
    assert_eq!(child.field("OnBuild"), "null");
}

#[test]
fn labels_of_the_base_are_inherited_unless_told_otherwise() {
    let site = site!();
    site.build(
        "FROM busybox\nLABEL a=1 b=2\n",
        &["-o", "type=oci,dest=../labelled", "-o", "type=store"],
    );
    let child = Site::new(site.place.path().join("labelled"));
    let labels = |args: &[&str]| {
        child
            .build("FROM busybox\nLABEL c=3\n", args)
            .field("Labels")
    };
    assert_eq!(labels(&[]), r#"{"a":"1","b":"2","c":"3"}"#);
    assert_eq!(labels(&["--unsetlabel", "a"]), r#"{"b":"2","c":"3"}"#);
    assert_eq!(labels(&["--inherit-labels=false"]), r#"{"c":"3"}"#);
}

#[test]
fn the_history_shows_the_arguments_in_effect_and_no_proxies() {
    let site = site!(run);
    let file = "FROM busybox\nARG A=1\nENV B=2\nRUN echo x >/x\nARG HTTPS_PROXY\nCOPY <<EOF /y\n$B\nEOF\nWORKDIR /\nRUN [\"true\"]\n";
    let args = [
        "--build-arg",
        "A=given",
        "--build-arg",
        "HTTP_PROXY=http://user:secret@proxy",
        "--build-arg",
        "UNUSED=9",
    ];
    let image = site.build(file, &args);
    let base = site.build("FROM busybox\n", &[]);
    let own = history(&image).split_off(history(&base).len());
    let shown: Vec<String> = own
        .iter()
        .map(|(empty, by)| format!("{}{by}", if *empty { "- " } else { "" }))
        .collect();
    assert_eq!(
        shown,
        [
            "- ARG A=given",
            "- ENV B=2",
            "RUN |1 A=given /bin/sh -c echo x >/x",
            "- ARG HTTPS_PROXY",
            "COPY <<EOF /y",
            "- WORKDIR /",
            "- RUN |1 A=given true",
        ]
    );
    assert!(!image.config.to_string().contains("secret"));
    let filled = history(&image).iter().filter(|(empty, _)| !empty).count();
    assert_eq!(filled, layer_count(&image));
}

#[test]
fn a_stage_may_be_built_anew_while_the_others_are_cached() {
    let site = site!(run);
    let file = "FROM busybox AS One\nRUN echo 1 >/1\nFROM busybox AS two\nRUN echo 2 >/2\nFROM scratch\nCOPY --from=one /1 /\nCOPY --from=two /2 /\n";
    let first = site.build(file, &[]);
    let (fresh, everything) = (
        site.build(file, &["--no-cache-filter", "ONE"]),
        site.build(file, &[]),
    );
    assert_eq!((first.cached(), everything.cached()), (0, 4));
    // What is copied out of it may be found again: it is the same content.
    assert!((2..4).contains(&fresh.cached()), "{}", fresh.stderr);
    assert!(fresh.stderr.contains("[two 1/1] RUN echo 2 >/2 (cached)"));
    assert!(!fresh.stderr.contains("[one 1/1] RUN echo 1 >/1 (cached)"));
    let unknown = site.fails(file, &["--no-cache-filter", "tow"]);
    assert!(unknown.contains("did you mean \"two\""), "{unknown}");
}
