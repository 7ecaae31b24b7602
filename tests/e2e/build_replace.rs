//! COPY of every kind over every kind: each pair has one result, in layers as in trees.

use std::fs;
use std::os::unix::fs::symlink;

use crate::build_oracle::{Built, Site};

/// What each pair of kinds becomes when one is copied over the other: `None` is an error.
const REPLACEMENTS: [(&str, &str, Option<&str>); 9] = [
    ("file", "file", Some(r#"f 0644 0:0 x/t = "new""#)),
    ("file", "directory", None),
    ("file", "link", Some(r#"f 0644 0:0 x/t = "new""#)),
    ("directory", "file", None),
    (
        "directory",
        "directory",
        Some(r#"f 0644 0:0 x/t/inner = "new""#),
    ),
    (
        "directory",
        "link",
        Some(r#"f 0644 0:0 x/kept/inner = "new""#),
    ),
    ("link", "file", Some("l 0777 0:0 x/t -> nowhere")),
    ("link", "directory", None),
    ("link", "link", Some("l 0777 0:0 x/t -> nowhere")),
];

fn replace(site: &Site, base: &str, new: &str, old: &str) -> Result<Built, String> {
    let context = site.place.context();
    for (side, kind) in [("new", new), ("old", old)] {
        let _absent_at_first = fs::remove_dir_all(context.join(side));
        fs::create_dir_all(context.join(side)).expect("a directory");
        let path = context.join(side).join("t");
        match kind {
            "file" => fs::write(&path, side).expect("a file"),
            "directory" => {
                fs::create_dir(&path).expect("a directory");
                fs::write(path.join("inner"), side).expect("a file");
            }
            _ => symlink(if side == "new" { "nowhere" } else { "kept" }, &path).expect("a link"),
        }
    }
    fs::create_dir(context.join("old/kept")).expect("a directory");
    let file = format!("{base}COPY old /x\nCOPY new /x\n");
    let output = site.command(&file, &[]).output().expect("it starts");
    if output.status.success() {
        Ok(site.build(&file, &[]))
    } else {
        assert_eq!(output.status.code(), Some(1));
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

fn check_replacements(site: &Site, base: &str, layers: usize) {
    for (new, old, expected) in REPLACEMENTS {
        match (replace(site, base, new, old), expected) {
            (Ok(built), Some(line)) => {
                let lines = built.layers_above(layers).concat();
                assert!(
                    lines.iter().any(|l| l == line),
                    "{new} over {old}: {line} in {lines:#?}"
                );
            }
            (Err(stderr), None) => {
                assert!(stderr.contains("x/t"), "{new} over {old}: {stderr}");
            }
            (Ok(built), None) => {
                panic!("{new} over {old} worked: {:#?}", built.layers_above(layers))
            }
            (Err(stderr), Some(_)) => panic!("{new} over {old} failed: {stderr}"),
        }
    }
}

#[test]
fn each_kind_over_each_kind_has_one_result_in_layers() {
    let site = site!();
    check_replacements(&site, "FROM scratch\n", 0);
}

#[test]
fn each_kind_over_each_kind_has_the_same_result_in_trees() {
    let site = site!(run);
    check_replacements(&site, "FROM busybox\nRUN true\n", 1);
}
