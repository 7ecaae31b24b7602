//! F14: every kind of file in a store goes bad in every way. It is found on use or by `rbuild system check`, never served, and gone
//! after `--repair`. `fault_store.rs` has what builds alone do about it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{Degree, Place, degree};

const FIRST: &str = "FROM scratch AS a\nCOPY one /in\nFROM scratch\nCOPY --from=a /in /one\nCOPY deep /deep\nUSER 1:1\n";
const SECOND: &str = "FROM scratch\nCOPY two /two\nUSER 2:2\n";

/// Two images in one store, with the ids that they have while nothing is wrong.
struct Pair {
    place: Place,
    ids: [String; 2],
}

impl Pair {
    fn new() -> Self {
        let place = Place::new();
        place.write("one", "one\n".repeat(5000));
        place.write("two", "two\n".repeat(5000));
        place.write("deep/er/file", "deep\n".repeat(500));
        let mut pair = Self {
            place,
            ids: Default::default(),
        };
        pair.ids = pair.build();
        pair
    }

    fn build(&self) -> [String; 2] {
        self.build_with(&["--source-date-epoch", "1700000000"])
    }

    fn build_with(&self, args: &[&str]) -> [String; 2] {
        [(FIRST, "first"), (SECOND, "second")]
            .map(|(text, name)| self.place.build(text, &[&["-t", name], args].concat()))
    }

    /// Has a file made again that was removed as damaged and that nobody has needed since.
    fn make(&self, path: &Path) {
        if !path.exists() {
            let args = ["--source-date-epoch", "1700000000", "--no-cache"];
            assert_eq!(self.build_with(&args), self.ids);
        }
        assert!(path.exists(), "{}", path.display());
    }

    fn files(&self, directory: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.place.store().join(directory)).expect("it is there");
        let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        found.sort();
        found
    }

    /// What the check says is damaged.
    fn check(&self, args: &[&str]) -> BTreeSet<PathBuf> {
        let output = self
            .place
            .rbuild()
            .args(["system", "check", "--format", "json"])
            .args(args)
            .output()
            .expect("it starts");
        let report: serde_json::Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
        let damaged = report["damaged"].as_array().expect("a list");
        let code = i32::from(!damaged.is_empty());
        assert_eq!(output.status.code(), Some(code), "{report}");
        let path = |one: &serde_json::Value| one["path"].as_str().expect("a path").into();
        damaged.iter().map(path).collect()
    }

    /// It is found and mended, and never was there another image than there should be.
    fn is_found_and_mended(&self, what: &str, paths: &[&Path]) {
        let before = self.check(&[]);
        for path in paths {
            assert!(before.contains(*path), "{what}: not found, but {before:?}");
        }
        assert_eq!(self.check(&[]), before, "{what}: looking changes nothing");
        self.check(&["--repair"]);
        assert_eq!(self.build(), self.ids, "{what}: other images");
        assert_eq!(self.check(&[]), BTreeSet::new(), "{what}: still damaged");
    }
}

type Rot = (&'static str, fn(&mut Vec<u8>));

const ROT: [Rot; 4] = [
    ("one bit", |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    }),
    ("truncated", |bytes| bytes.truncate(bytes.len() / 2)),
    ("zeros", |bytes| bytes.fill(0)),
    ("empty", Vec::clear),
];

const KINDS: [&str; 6] = [
    "blobs/sha256",
    "index",
    "cache/steps",
    "cache/digests",
    "images",
    "refs",
];

#[test]
fn f14_the_check_finds_every_damage_of_every_kind_of_file_and_mends_it() {
    let pair = Pair::new();
    assert_eq!(pair.check(&[]), BTreeSet::new());
    for kind in KINDS {
        for path in pair.files(kind) {
            for (how, spoil) in ROT {
                pair.make(&path);
                let mut bytes = fs::read(&path).expect("it is there");
                spoil(&mut bytes);
                fs::write(&path, bytes).expect("bad bytes");
                pair.is_found_and_mended(&format!("{how}: {}", path.display()), &[&path]);
            }
        }
    }
}

#[test]
fn f14_the_check_finds_files_that_stand_under_each_others_names() {
    let pair = Pair::new();
    // Remembered digests are found by what identifies a file: under another name there is none of them.
    for kind in KINDS.into_iter().filter(|kind| *kind != "cache/digests") {
        let files = pair.files(kind);
        for pair_of in files.windows(2) {
            let [one, other] = pair_of else { continue };
            [one, other].into_iter().for_each(|path| pair.make(path));
            let aside = pair.place.path().join("aside");
            let what = format!("{} and {}", one.display(), other.display());
            for (from, to) in [(one, &aside), (other, one), (&aside, other)] {
                fs::rename(from, to).unwrap_or_else(|error| panic!("{what}: {error}"));
            }
            pair.is_found_and_mended(&what, &[one, other]);
        }
    }
}

#[test]
fn f14_a_name_is_never_another_image() {
    let pair = Pair::new();
    let refs = pair.files("refs");
    let [one, other] = &refs[..] else {
        panic!("{refs:?}")
    };
    fs::copy(one, other).expect("a copy");
    let outcome = ["first", "second"].map(|name| {
        let output = pair.place.rbuild().args(["inspect", name]).output();
        let output = output.expect("it starts");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), text)
    });
    for ((code, text), id) in outcome.iter().zip(&pair.ids) {
        assert!(*code != Some(0) || text.contains(id), "{text}");
    }
    assert!(
        outcome.iter().any(|(code, _)| *code != Some(0)),
        "{outcome:?}"
    );
}

/// Spoils what one file of an image has in its layer's blob.
fn spoil_blob(pair: &Pair, content: &str, spoil: impl Fn(&mut Vec<u8>, usize)) -> PathBuf {
    for path in pair.files("blobs/sha256") {
        let mut bytes = fs::read(&path).expect("it is there");
        let at = bytes
            .windows(content.len())
            .position(|bytes| bytes == content.as_bytes());
        if let Some(at) = at {
            spoil(&mut bytes, at);
            fs::write(&path, bytes).expect("bad bytes");
            return path;
        }
    }
    panic!("no blob has it");
}

#[test]
fn f14_what_is_copied_from_a_rotten_layer_is_never_in_an_image() {
    type Spoil = fn(&mut Vec<u8>, usize);
    let ways: [(&str, Spoil); 3] = [
        ("one bit", |bytes, at| bytes[at + 9000] ^= 1),
        ("truncated", |bytes, at| bytes.truncate(at + 9000)),
        ("zeros", |bytes, at| bytes[at..at + 9000].fill(0)),
    ];
    for (how, spoil) in ways {
        let pair = Pair::new();
        let path = spoil_blob(&pair, &"two\n".repeat(5000), spoil);
        pair.place.write(
            "Containerfile",
            "FROM scratch\nCOPY --from=second /two /copy\nUSER 1:1\n",
        );
        let (_, stderr) = pair.place.expect(1, &["build", "."]);
        assert!(stderr.contains("/two"), "{how}: {stderr}");
        assert!(stderr.contains("damaged"), "{how}: {stderr}");
        assert!(!path.exists(), "{how}: it could be served again");
        assert_eq!(pair.build(), pair.ids, "{how}");
    }
}

#[test]
fn f14_a_rotten_layer_leaves_neither_the_store_nor_becomes_a_tree() {
    requires!(execution);
    let pair = Pair::new();
    pair.place.expect(0, &["prune", "--all"]);
    let path = spoil_blob(&pair, &"two\n".repeat(5000), |bytes, at| bytes[at] ^= 1);
    let (_, stderr) = pair.place.expect(125, &["run", "second", "/two"]);
    let hex = path.file_name().expect("a name").to_string_lossy();
    assert!(stderr.contains(&*hex), "{stderr}");
    assert!(!path.exists(), "it could be served again");
    assert_eq!(pair.build(), pair.ids);
    spoil_blob(&pair, &"two\n".repeat(5000), |bytes, at| bytes[at] ^= 1);
    let to = format!("type=oci,dest={}", pair.place.path().join("out").display());
    pair.place.write("Containerfile", SECOND);
    let build = ["build", "--source-date-epoch", "1700000000", "-o", &to, "."];
    let (_, stderr) = pair.place.expect(1, &build);
    assert!(stderr.contains("sha256:"), "{stderr}");
    assert!(!pair.place.path().join("out").exists());
}

/// Runs a shell script on the unpacked layers, as only the session may.
fn in_trees(pair: &Pair, script: &str) {
    let trees = pair.place.store().join("trees/layers");
    let script = format!("cd '{}' && {script}", trees.display());
    pair.place.expect(0, &["unshare", "sh", "-ec", &script]);
}

#[test]
fn f14_the_check_compares_unpacked_layers_with_their_layers() {
    requires!(execution);
    let file = "*/tree/deep/er/file";
    let kept = "touch -r \"$f\" /tmp/rbuild-rot.$$";
    let again = "touch -r /tmp/rbuild-rot.$$ \"$f\"; rm /tmp/rbuild-rot.$$";
    let spoiled = |how: &str| format!("f=$(echo {file}); {kept}; {how}; {again}");
    let mut ways = vec![
        (spoiled("printf X | dd of=\"$f\" bs=1 seek=1001 conv=notrunc status=none"), "another content"),
        (spoiled("truncate -s 100 \"$f\""), "another length"),
        (spoiled("n=$(stat -c %s \"$f\"); truncate -s 0 \"$f\"; truncate -s \"$n\" \"$f\""), "another content"),
        (format!("touch -d @5 {file}"), "another time"),
        (format!("chmod 0700 {file}"), "another mode"),
        (format!("rm {file}"), "is missing"),
        ("for d in */tree/deep; do echo more >\"$d/more\"; chown --reference=\"$d\" \"$d/more\"; done".to_owned(), "not in the layer"),
        ("f=$(echo */tree/deep | cut -d/ -f1); g=$(echo */tree/two | cut -d/ -f1); mv \"$f\" aside; mv \"$g\" \"$f\"; mv aside \"$g\"".to_owned(), "another layer"),
    ];
    if degree() != Degree::NoSub {
        ways.push((format!("chown 7:7 {file}"), "another owner"));
    }
    let pair = Pair::new();
    for (script, problem) in ways {
        in_trees(&pair, &script);
        let (text, _) = pair.place.expect(1, &["system", "check"]);
        assert!(text.contains(problem), "{script}: {text}");
        let (text, _) = pair.place.expect(1, &["system", "check", "--repair"]);
        assert!(text.contains(": removed"), "{script}: {text}");
        let (text, _) = pair.place.expect(0, &["system", "check"]);
        assert!(text.contains("nothing is damaged"), "{script}: {text}");
        pair.place.expect(0, &["prune", "--all"]);
        assert_eq!(pair.build(), pair.ids, "{script}");
    }
}
