//! What the cache reuses and what it does not. Each issue of buildah whose cause was a key made of history text has a test.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::build_oracle::{Built, Site};

/// How many steps of the second build were cached.
fn again(site: &Site, file: &str, args: &[&str], cached: usize) -> Built {
    let built = site.build(file, args);
    assert_eq!(built.cached(), cached, "{file}\n{}", built.stderr);
    built
}

#[test]
fn a_second_build_is_the_same_image_and_all_cached() {
    let site = site!(run);
    site.place.write("one", "1");
    let file = "FROM busybox AS a\nRUN echo x >/x\nWORKDIR /w\nCOPY one .\nFROM scratch\nCOPY --from=a /x /w/one /\nUSER 1:1\n";
    let first = again(&site, file, &[], 0);
    let second = again(&site, file, &[], 4);
    assert_eq!(first.id, second.id);
    let third = again(&site, file, &["--no-cache"], 0);
    assert_eq!(first.id, third.id);
}

fn date(path: &Path, time: SystemTime) {
    fs::File::open(path)
        .and_then(|file| file.set_modified(time))
        .expect("a time");
}

#[test]
fn contents_and_modes_count_and_times_too() {
    let site = site!();
    site.place.write("d/one", "1").write("d/two", "2");
    let file = "FROM scratch\nCOPY d /d\nCOPY d/two /two\n";
    again(&site, file, &[], 0);
    let one = site.place.context().join("d/one");
    let touched = SystemTime::now() + Duration::from_secs(100);
    date(&one, touched);
    again(&site, file, &[], 0);
    again(&site, file, &[], 2);
    site.place.write("d/one", "changed");
    again(&site, file, &[], 0);
    again(&site, file, &[], 2);
    // Times that the image does not get do not count.
    again(&site, file, &["--timestamp", "1"], 0);
    date(&one, touched + Duration::from_secs(100));
    again(&site, file, &["--timestamp", "1"], 2);
    again(&site, file, &[], 0);
    fs::set_permissions(&one, fs::Permissions::from_mode(0o600)).expect("a mode");
    again(&site, file, &[], 0);
    fs::rename(&one, site.place.context().join("d/renamed")).expect("a name");
    again(&site, file, &[], 0);
    site.place.write("unrelated", "x");
    again(&site, file, &[], 2);
    site.place.write(".dockerignore", "d/renamed\n");
    again(&site, file, &[], 0);
}

#[test]
fn a_copy_from_a_stage_that_was_rebuilt_to_the_same_bytes_is_cached() {
    let site = site!(run);
    let file = |made: &str, other: &str| {
        format!(
            "FROM busybox AS a\nRUN mkdir /out && echo {made} >/out/f && ln /out/f /out/g\nRUN echo {other} >/tmp/x\n\
             FROM scratch\nCOPY --from=a /out /out\nUSER 1:1\n"
        )
    };
    again(&site, &file("made", "one"), &[], 0);
    // Only the second RUN is done again.
    let other = again(&site, &file("made", "two"), &[], 2);
    // What was looked at is remembered: nothing runs, so no session is needed.
    let all = again(&site, &file("made", "two"), &[], 3);
    assert_eq!(other.id, all.id);
    again(&site, &file("made", "one"), &[], 3);
    again(&site, &file("changed", "two"), &[], 0);
}

#[test]
fn modes_of_what_is_copied_from_a_stage_count() {
    let site = site!(run);
    let file = |change: &str| {
        format!(
            "FROM busybox AS a\nRUN echo x >/f && {change}\nFROM scratch\nCOPY --from=a /f /\nUSER 1:1\n"
        )
    };
    again(&site, &file("true"), &[], 0);
    again(&site, &file("chmod 600 /f"), &[], 0);
    again(&site, &file("chmod 644 /f"), &[], 1);
}

#[test]
fn a_stage_that_moves_in_the_file_is_still_the_same_stage() {
    let site = site!();
    site.place.write("one", "1").write("two", "2");
    let stage = "FROM scratch AS a\nCOPY one /one\n";
    let end = "FROM scratch\nCOPY --from=a /one /\nUSER 1:1\n";
    again(&site, &format!("{stage}{end}"), &[], 0);
    let before = "FROM scratch AS b\nCOPY two /two\n";
    let file = format!("{before}{stage}{end}").replace("USER", "COPY --from=b /two /\nUSER");
    again(&site, &file, &[], 2);
}

#[test]
fn later_steps_survive_a_change_of_what_they_do_not_read() {
    let site = site!();
    site.place.write("one", "1").write("two", "2");
    let file = "FROM scratch\nCOPY one /one\nCOPY two /two\n";
    again(&site, file, &[], 0);
    site.place.write("two", "changed");
    again(&site, file, &[], 1);
}

#[test]
fn a_rewrite_of_the_same_size_within_one_tick_is_seen() {
    let site = site!();
    for round in 0..6 {
        let text = if round % 2 == 0 { "aaaa" } else { "bbbb" };
        site.place.write("one", text);
        let lines = site.build("FROM scratch\nCOPY one /\n", &[]).scratch();
        assert_eq!(lines, [format!(r#"f 0644 0:0 one = "{text}""#)]);
    }
    // Also when the times are put back, which ctime tells.
    let one = site.place.context().join("one");
    let before = fs::metadata(&one)
        .and_then(|meta| meta.modified())
        .expect("a time");
    site.place.write("one", "cccc");
    fs::File::open(&one)
        .and_then(|file| file.set_modified(before))
        .expect("a time");
    let lines = site.build("FROM scratch\nCOPY one /\n", &[]).scratch();
    assert_eq!(lines, [r#"f 0644 0:0 one = "cccc""#]);
}

#[test]
fn environment_user_directory_and_shell_bust_the_steps_below_them() {
    let site = site!(ids);
    let file = |middle: &str| format!("FROM busybox\nRUN echo first\n{middle}\nRUN echo last\n");
    again(&site, &file("LABEL a=b"), &[], 0);
    again(&site, &file("LABEL a=c"), &[], 2);
    for change in [
        "ENV A=1",
        "ENV A=2",
        "USER 5:5",
        "WORKDIR /tmp",
        "SHELL [\"/bin/ash\", \"-c\"]",
    ] {
        again(&site, &file(change), &[], 1);
    }
}

#[test]
fn an_equal_layer_of_another_base_is_not_taken_for_it() {
    let site = site!(run);
    again(&site, "FROM busybox\nRUN echo x >/x\n", &[], 0);
    again(
        &site,
        "FROM busybox AS other\nRUN echo y >/y\nFROM other\nRUN echo x >/x\n",
        &[],
        0,
    );
}

#[test]
fn buildah_1391_1507_2992_build_arguments_bust_only_what_sees_them() {
    let site = site!(run);
    let file = "FROM busybox\nRUN echo before\nARG V=1\nRUN echo after $V\n";
    again(&site, file, &[], 0);
    again(&site, file, &[], 2);
    let other = again(&site, file, &["--build-arg", "V=2"], 1);
    assert!(other.said("| after 2"), "{}", other.stderr);
    again(&site, file, &["--build-arg", "V=2"], 2);
    // 1507: a value that looks like the text of another instruction; 2992: an argument that only COPY uses.
    again(&site, file, &["--build-arg", "V=1 && echo"], 1);
    site.place.write("a", "A").write("b", "B");
    let copy = "FROM busybox\nARG WHICH\nCOPY $WHICH /x\n";
    let first = site.build(copy, &["--build-arg", "WHICH=a"]);
    let second = site.build(copy, &["--build-arg", "WHICH=b"]);
    assert_eq!(first.layer(), [r#"f 0644 0:0 x = "A""#]);
    assert_eq!(second.layer(), [r#"f 0644 0:0 x = "B""#]);
}

#[test]
fn buildah_5656_heredocs_are_part_of_the_key() {
    let site = site!(run);
    let file = |body: &str| {
        format!("FROM busybox\nCOPY <<EOF /f\n{body}\nEOF\nRUN <<EOF\necho {body}\nEOF\n")
    };
    again(&site, &file("one"), &[], 0);
    again(&site, &file("one"), &[], 2);
    let changed = again(&site, &file("two"), &[], 0);
    assert!(changed.said("| two"), "{}", changed.stderr);
    let only_run = file("two").replace("echo two", "echo three");
    let changed = again(&site, &only_run, &[], 1);
    assert!(changed.said("| three"), "{}", changed.stderr);
}

#[test]
fn buildah_6609_a_change_in_a_stage_reaches_what_copies_from_it() {
    let site = site!(run);
    let file = |text: &str| {
        format!(
            "FROM busybox AS a\nRUN echo {text} >/x\nFROM busybox\nCOPY --from=a /x /x\nRUN cat /x\n"
        )
    };
    again(&site, &file("one"), &[], 0);
    let changed = again(&site, &file("two"), &[], 0);
    assert!(changed.said("| two"), "{}", changed.stderr);
    again(&site, &file("one"), &[], 3);
}

#[test]
fn two_stages_alike_in_text_are_told_apart_by_their_inputs() {
    let site = site!(run);
    site.place.write("a/f", "A").write("b/f", "B");
    let file = "FROM scratch AS a\nCOPY a /\nFROM scratch AS b\nCOPY b /\n\
                FROM busybox AS x\nCOPY --from=a /f /f\nRUN cp /f /g\nFROM busybox AS y\nCOPY --from=b /f /f\nRUN cp /f /g\n\
                FROM scratch\nCOPY --from=x /g /x\nCOPY --from=y /g /y\n";
    let lines = site.build(file, &[]).scratch();
    assert_eq!(lines, [r#"f 0644 0:0 x = "A""#, r#"f 0644 0:0 y = "B""#]);
}

#[test]
fn s41_history_of_a_base_that_looks_like_a_step_is_no_hit() {
    let site = site!(run);
    // An image whose history says that it has the step, and whose files do not.
    let real = site.build("FROM busybox\nRUN echo real >/x\n", &[]);
    let text = real.config["history"][1]["created_by"]
        .as_str()
        .expect("a text")
        .to_owned();
    site.place.write("x", "forged\n");
    let forged = site.build(
        "FROM busybox\nCOPY x /x\n",
        &["-o", "type=oci,dest=../forged", "-o", "type=store"],
    );
    assert_ne!(forged.id, real.id);
    let layout = site.place.path().join("forged");
    let script = r#"
import hashlib, json, os, sys
layout, text = sys.argv[1:]
def blob(d): return os.path.join(layout, "blobs", *d.split(":"))
def put(value):
    data = json.dumps(value).encode(); digest = "sha256:" + hashlib.sha256(data).hexdigest()
    open(blob(digest), "wb").write(data); return digest, len(data)
index = json.load(open(os.path.join(layout, "index.json")))
manifest = json.load(open(blob(index["manifests"][0]["digest"])))
config = json.load(open(blob(manifest["config"]["digest"])))
config["history"][1]["created_by"] = text
manifest["config"]["digest"], manifest["config"]["size"] = put(config)
index["manifests"][0]["digest"], index["manifests"][0]["size"] = put(manifest)
json.dump(index, open(os.path.join(layout, "index.json"), "w"))
"#;
    crate::build_oracle::python(script, &[layout.clone().into(), text.into()]);
    let context = format!("forged=oci-layout:{}", layout.display());
    site.build("FROM forged\nRUN true\n", &["--build-context", &context]);
    let built = site.build("FROM busybox\nRUN echo real >/x\n", &[]);
    assert_eq!(built.layer(), [r#"f 0644 0:0 x = "real\n""#]);
}

#[test]
fn a_step_that_was_made_anew_is_what_runs_and_the_earlier_image_keeps_its_own() {
    let site = site!(run);
    let file = "FROM busybox\nRUN cat /proc/sys/kernel/random/uuid >/x\nRUN cp /x /y\nUSER 1:1\n";
    site.build(file, &["-t", "first"]);
    site.build(file, &["-t", "second", "--no-cache"]);
    let shown = |image: &str, path: &str| {
        let args = ["run", "--network", "none", image, "cat", path];
        site.place.expect(0, &args).0
    };
    let first = shown("first", "/x");
    let second = shown("second", "/x");
    assert_ne!(first, second);
    assert_eq!(shown("second", "/y"), second);
    assert_eq!(shown("first", "/y"), first);
    again(&site, file, &["-t", "third"], 2);
    assert_eq!(shown("third", "/x"), second);
}
