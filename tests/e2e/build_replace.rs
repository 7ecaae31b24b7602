//! COPY of every kind over every kind: each pair has one result, in layers as in trees.

use std::fs;
use std::os::unix::fs::symlink;

use crate::build_oracle::Site;

/// What each pair of kinds becomes when one is copied over the other in a directory: `None` is an error. All are BuildKit's but one: a
/// directory over a link to one goes through the link, as a destination's other links do (BuildKit: moby/buildkit#2626).
const NESTED: [(&str, &str, Option<&str>); 9] = [
    ("file", "file", Some(r#"f 0644 0:0 x/t = "new""#)),
    ("file", "directory", None),
    (
        "file",
        "link to a directory",
        Some(r#"f 0644 0:0 x/t = "new""#),
    ),
    ("directory", "file", None),
    (
        "directory",
        "directory",
        Some(r#"f 0644 0:0 x/t/inner = "new""#),
    ),
    (
        "directory",
        "link to a directory",
        Some(r#"f 0644 0:0 x/kept/inner = "new""#),
    ),
    ("link to nothing", "file", Some("l 0777 0:0 x/t -> nowhere")),
    ("link to nothing", "directory", None),
    (
        "link to nothing",
        "link to a directory",
        Some("l 0777 0:0 x/t -> nowhere"),
    ),
];

/// The same where the source and the destination are named themselves, and so followed where they are links: into a directory, in
/// the place of a file. A link at the destination stays a link.
const NAMED: [(&str, &str, Option<&str>); 10] = [
    ("file", "file", Some(r#"f 0644 0:0 x/t = "new""#)),
    ("file", "directory", Some(r#"f 0644 0:0 x/t/t = "new""#)),
    (
        "file",
        "link to a file",
        Some(r#"f 0644 0:0 x/real = "new""#),
    ),
    (
        "file",
        "link to a directory",
        Some(r#"f 0644 0:0 x/kept/t = "new""#),
    ),
    (
        "file",
        "link to nothing",
        Some(r#"f 0644 0:0 x/nowhere = "new""#),
    ),
    ("directory", "file", None),
    (
        "directory",
        "directory",
        Some(r#"f 0644 0:0 x/t/inner = "new""#),
    ),
    ("directory", "link to a file", None),
    (
        "directory",
        "link to a directory",
        Some(r#"f 0644 0:0 x/kept/inner = "new""#),
    ),
    (
        "directory",
        "link to nothing",
        Some(r#"f 0644 0:0 x/nowhere/inner = "new""#),
    ),
];

/// What stands at `side/t`: a thing of this kind.
fn put(site: &Site, side: &str, kind: &str) {
    let directory = site.place.context().join(side);
    let _absent_at_first = fs::remove_dir_all(&directory);
    fs::create_dir_all(directory.join("kept")).expect("a directory");
    fs::write(directory.join("real"), side).expect("a file");
    fs::write(directory.join("kept/inner"), side).expect("a file");
    let path = directory.join("t");
    let target = match kind {
        "file" => return fs::write(&path, side).expect("a file"),
        "directory" => {
            fs::create_dir(&path).expect("a directory");
            return fs::write(path.join("inner"), side).expect("a file");
        }
        "link to a file" => "real",
        "link to a directory" => "kept",
        _ => "nowhere",
    };
    symlink(target, &path).expect("a link");
}

/// One COPY over the old one: the layer of it, or what was said.
fn replace(site: &Site, base: &str, last: &str) -> Result<Vec<String>, String> {
    let file = format!("{base}COPY old /x\n{last}\n");
    let output = site.command(&file, &[]).output().expect("it starts");
    if output.status.success() {
        let built = site.build(&file, &[]);
        return Ok(built.layers_above(0).pop().expect("a layer"));
    }
    assert_eq!(output.status.code(), Some(1));
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}

fn compare(what: &str, outcome: Result<Vec<String>, String>, expected: Option<&str>) {
    match (outcome, expected) {
        (Ok(lines), Some(line)) => {
            assert!(
                lines.iter().any(|l| l == line),
                "{what}: {line} in {lines:#?}"
            );
        }
        (Err(stderr), None) => assert!(stderr.contains("x/t"), "{what}: {stderr}"),
        (Ok(lines), None) => panic!("{what} worked: {lines:#?}"),
        (Err(stderr), Some(_)) => panic!("{what} failed: {stderr}"),
    }
}

fn check_nested(site: &Site, base: &str) {
    for (new, old, expected) in NESTED {
        put(site, "new", new);
        put(site, "old", old);
        // Only the pair: all else is the same on both sides.
        for name in ["kept", "real"] {
            let path = site.place.context().join("new").join(name);
            let _one_is_a_directory = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
        }
        let outcome = replace(site, base, "COPY new /x");
        compare(&format!("{new} over {old}"), outcome, expected);
    }
}

fn check_named(site: &Site, base: &str) {
    for (new, old, expected) in NAMED {
        for link in ["", "link to a "] {
            put(site, "new", &format!("{link}{new}"));
            put(site, "old", old);
            let outcome = replace(site, base, "COPY new/t /x/t");
            compare(&format!("{link}{new} to {old}"), outcome, expected);
        }
    }
}

#[test]
fn each_kind_over_each_kind_has_one_result_in_layers() {
    let site = site!();
    check_nested(&site, "FROM scratch\n");
    check_named(&site, "FROM scratch\n");
}

#[test]
fn each_kind_over_each_kind_has_the_same_result_in_trees() {
    let site = site!(run);
    check_nested(&site, "FROM busybox\nRUN true\n");
    check_named(&site, "FROM busybox\nRUN true\n");
}
