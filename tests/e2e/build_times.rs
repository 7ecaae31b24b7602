//! Times in images, and that nothing but the inputs decides the bytes. The invariant: no test sets the clock; time passes while
//! they run, and that must not show.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::build_oracle::{Built, Site, python};
use crate::support::Place;
use crate::web::Web;

// The base image is from 1_700_000_000.
const EARLY: u64 = 1_710_000_000;
const LATE: u64 = 1_720_000_000;
const EARLY_TEXT: &str = "2024-03-09T16:00:00Z";
const LATE_TEXT: &str = "2024-07-03T09:46:40Z";

/// Every kind of step, with what it makes on the way.
const FILE: &str = "FROM busybox AS made\nRUN echo ran && mkdir -p /made/by && echo x >/made/by/run && ln /made/by/run /made/link && rm /bin/vi\n\
     FROM busybox\nWORKDIR /work/dir\nCOPY d /new/d\nRUN date -r /new/d/one >/dev/null && touch /run-made\nCOPY --from=made /made /made\nLABEL a=b\n";

fn date(path: &Path, seconds: u64) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    fs::File::open(path)
        .and_then(|file| file.set_modified(time))
        .expect("a time");
}

/// A context whose files are from `EARLY`.
fn context(place: &Place) {
    place.write("d/one", "1").write("d/sub/two", "2");
    for name in ["d/one", "d/sub/two", "d/sub", "d"] {
        date(&place.context().join(name), EARLY);
    }
}

fn git(directory: &Path, seconds: u64, args: &[&str]) {
    let mut command = Command::new("git");
    command
        .current_dir(directory)
        .args(["-c", "user.name=a", "-c", "user.email=a@b"]);
    command
        .env("HOME", directory)
        .env("GIT_COMMITTER_DATE", format!("{seconds} +0300"));
    let output = command.args(args).output().expect("git starts");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Makes the context a work tree with a commit at `seconds`.
fn commit(place: &Place, seconds: u64) {
    if !place.context().join(".git").exists() {
        git(&place.context(), seconds, &["init", "-q"]);
        git(&place.context(), seconds, &["add", "d"]);
    }
    git(
        &place.context(),
        seconds,
        &["commit", "-q", "--allow-empty", "-m", "x"],
    );
}

/// The times of the entries of the layers above busybox, without doubles.
fn times(site: &Site, built: &Built) -> String {
    let layers = built.manifest["layers"].as_array().expect("layers");
    let blob = |digest: &str| {
        site.place
            .store()
            .join("blobs")
            .join(digest.replace(':', "/"))
    };
    let paths: Vec<_> = layers
        .iter()
        .skip(1)
        .map(|layer| blob(layer["digest"].as_str().expect("a digest")).into())
        .collect();
    python(
        "import sys, tarfile\nprint(*sorted({int(m.mtime) for p in sys.argv[1:] for m in tarfile.open(p)}))",
        &paths,
    )
    .trim()
    .to_owned()
}

#[test]
fn in_a_work_tree_everything_has_the_time_of_the_commit() {
    let site = site!(run);
    requires!(program "git");
    context(&site.place);
    commit(&site.place, LATE);
    let built = site.build(FILE, &[]);
    assert_eq!(times(&site, &built), LATE.to_string());
    assert_eq!(built.config["created"], LATE_TEXT);
    let history = built.config["history"].as_array().expect("a history");
    assert!(
        history
            .iter()
            .skip(1)
            .all(|entry| entry["created"] == LATE_TEXT),
        "{history:?}"
    );
}

#[test]
fn what_was_fetched_is_as_old_as_its_server_says_in_a_work_tree_too() {
    let site = site!();
    requires!(program "git");
    context(&site.place);
    let web = Web::files(&[("/f", b"content")]);
    let file = format!("FROM busybox\nADD {} /x\n", web.url("/f"));
    let outside = site.build(&file, &[]);
    assert_eq!(times(&site, &outside), "1000000000");
    commit(&site.place, LATE);
    assert_eq!(times(&site, &site.build(&file, &[])), "1000000000");
    assert_eq!(times(&site, &site.build(&file, &["--timestamp", "7"])), "7");
}

#[test]
fn another_commit_runs_nothing_again_and_gives_what_a_fresh_build_gives() {
    let site = site!(run);
    requires!(program "git");
    context(&site.place);
    commit(&site.place, EARLY);
    assert!(site.build(FILE, &[]).said("ran"));
    commit(&site.place, LATE);
    let cached = site.build(FILE, &[]);
    assert!(!cached.said("ran"), "{}", cached.stderr);
    assert_eq!(times(&site, &cached), LATE.to_string());
    let fresh = site.build(FILE, &["--no-cache"]);
    assert!(fresh.said("ran"));
    assert_eq!(cached.id, fresh.id);
    // And back, with the files as new as a checkout makes them.
    git(&site.place.context(), LATE, &["checkout", "-q", "HEAD~1"]);
    date(&site.place.context().join("d/one"), LATE + 7);
    let back = site.build(FILE, &[]);
    assert!(!back.said("ran"), "{}", back.stderr);
    assert_eq!(times(&site, &back), EARLY.to_string());
}

#[test]
fn a_run_sees_no_time_of_a_commit_or_of_the_clock() {
    let site = site!(run);
    requires!(program "git");
    context(&site.place);
    let file = "FROM busybox\nCOPY d /d\nRUN touch /now\nRUN find /d /now -exec stat -c '%n %Y' {} + >/seen\nCOPY d/one /\n";
    commit(&site.place, EARLY);
    let early = site.build(file, &["--timestamp", "5"]);
    commit(&site.place, LATE);
    let late = site.build(file, &["--timestamp", "5", "--no-cache"]);
    assert_eq!(early.id, late.id);
}

#[test]
fn elsewhere_each_step_has_the_time_of_its_newest_input() {
    let site = site!(run);
    context(&site.place);
    let file = "FROM busybox\nCOPY d /d\nRUN echo ran >/x && touch -d '2000-01-01 00:00:00' /old\nLABEL a=b\n";
    let built = site.build(file, &[]);
    // busybox is older.
    assert_eq!(times(&site, &built), format!("946684800 {EARLY}"));
    assert_eq!(built.config["created"], EARLY_TEXT);
    assert_eq!(site.build(file, &["--no-cache"]).id, built.id);
    date(&site.place.context().join("d/one"), LATE);
    let touched = site.build(file, &[]);
    assert_eq!(touched.cached(), 0, "times are inputs");
    assert_eq!(touched.config["created"], LATE_TEXT);
    assert_eq!(times(&site, &touched), format!("946684800 {EARLY} {LATE}"));
}

#[test]
fn a_step_is_no_newer_for_what_comes_after_it() {
    let site = site!(run);
    context(&site.place);
    let layers = |built: &Built| {
        built.config["rootfs"]["diff_ids"]
            .as_array()
            .expect("layers")
            .clone()
    };
    let file = "FROM busybox\nRUN echo big >/packages\nCOPY d/one /one\n";
    let before = layers(&site.build(file, &[]));
    date(&site.place.context().join("d/one"), LATE);
    let after = layers(&site.build(file, &["--no-cache"]));
    assert_eq!(before[..2], after[..2], "the layer below is the same");
    assert_ne!(before[2], after[2]);
}

#[test]
fn timestamp_is_the_time_of_everything_new() {
    let site = site!(run);
    context(&site.place);
    let built = site.build(FILE, &["--timestamp", "1000000000"]);
    assert_eq!(times(&site, &built), "1000000000");
    assert_eq!(built.config["created"], "2001-09-09T01:46:40Z");
    assert_ne!(
        built.config["history"][0]["created"],
        "2001-09-09T01:46:40Z"
    );
}

#[test]
fn source_date_epoch_is_the_latest_time_and_older_ones_stay() {
    let site = site!(run);
    context(&site.place);
    date(&site.place.context().join("d/sub/two"), LATE + 1);
    let late = LATE.to_string();
    let built = site.build(FILE, &["--source-date-epoch", &late]);
    assert_eq!(times(&site, &built), format!("{EARLY} {LATE}"));
    // A file that is too new in both is the same for the steps, and so they are not run again.
    let later = (LATE - 1).to_string();
    let other = site.build(
        FILE,
        &["--build-arg", &format!("SOURCE_DATE_EPOCH={later}")],
    );
    assert!(!other.said("ran"), "{}", other.stderr);
    assert_eq!(times(&site, &other), format!("{EARLY} {later}"));
}

#[test]
fn rewrite_timestamp_false_leaves_files_alone() {
    let site = site!(run);
    context(&site.place);
    let file = "FROM busybox\nCOPY d /d\nRUN touch /x\n";
    let args = ["--timestamp", "1000000000", "--rewrite-timestamp=false"];
    let built = site.build(file, &args);
    assert_eq!(times(&site, &built), EARLY.to_string());
    assert_eq!(built.config["created"], "2001-09-09T01:46:40Z");
}

/// Copies a tree with its times, the last name first, and with other names and directories in between.
fn copied_backwards(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    let mut names: Vec<PathBuf> = fs::read_dir(from)
        .expect("names")
        .map(|e| e.expect("one").path())
        .collect();
    names.sort();
    for path in names.iter().rev() {
        let target = to.join(path.file_name().expect("a name"));
        fs::write(to.join("passing"), "x").expect("a file");
        if path.is_dir() {
            copied_backwards(path, &target);
        } else {
            fs::copy(path, &target).expect("a copy");
            let time = fs::metadata(path)
                .and_then(|meta| meta.modified())
                .expect("a time");
            fs::File::open(&target)
                .and_then(|file| file.set_modified(time))
                .expect("a time");
        }
        fs::remove_file(to.join("passing")).expect("it is gone");
    }
    let time = fs::metadata(from)
        .and_then(|meta| meta.modified())
        .expect("a time");
    fs::File::open(to)
        .and_then(|file| file.set_modified(time))
        .expect("a time");
}

/// Builds for a caller with other habits; returns the manifest's digest.
fn digest_for(site: &Site, place: &Place, habits: &str, jobs: &str, file: &str) -> String {
    let line = format!(
        "{habits}; exec {} build --network none --user-policy off --jobs {jobs} --build-context busybox=oci-layout:{} \
         --progress plain -o type=oci,dest=../layout .",
        crate::support::binary().display(),
        site.busybox().display()
    );
    place.write("Containerfile", file);
    let output = Command::new("sh")
        .args(["-c", &line])
        .current_dir(place.context())
        .env("RBUILD_ROOT", place.store())
        .env_remove("SOURCE_DATE_EPOCH")
        .output()
        .expect("sh starts");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let index = fs::read_to_string(place.path().join("layout/index.json")).expect("an index");
    let index: serde_json::Value = serde_json::from_str(&index).expect("JSON");
    index["manifests"][0]["digest"].to_string()
}

fn the_caller_changes_nothing(site: &Site, file: &str) {
    let (one, two) = (Place::new(), Place::new());
    for number in 0..200 {
        one.write(&format!("tree/{}/{number}", number % 7), number.to_string());
        one.write(
            &format!("tree/{}/sub/{number}", number % 7),
            number.to_string(),
        );
    }
    std::os::unix::fs::symlink("3/3", one.context().join("tree/link")).expect("a link");
    fs::remove_file(one.context().join("tree/link")).expect("it is gone");
    copied_backwards(&one.context(), &two.context());
    let first = "umask 000; export TZ=Pacific/Kiritimati LC_ALL=C LANG=C USER=one HOSTNAME=one";
    let first = digest_for(site, &one, first, "1", file);
    // Files of the second build are from another second.
    std::thread::sleep(Duration::from_millis(1100));
    let second = "umask 077; mkdir -p ../home; cd .; export HOME=$PWD/../home TZ=America/St_Johns LC_ALL=tr_TR.UTF-8 LANGUAGE=de \
         USER=two LD_DEBUG_X=1 PYTHONHASHSEED=7 GREP_OPTIONS=-i; ulimit -s 4096";
    let second = digest_for(site, &two, second, "8", file);
    assert_eq!(first, second, "{file}");
    // A partly cached build is the same as well.
    fs::remove_dir_all(two.store().join("cache")).expect("a cache");
    let third = digest_for(site, &two, "umask 022", "2", file);
    assert_eq!(first, third, "{file}");
}

#[test]
fn s48_copies_are_the_same_for_every_caller() {
    let site = site!();
    let file = "FROM scratch AS files\nCOPY tree /tree\nWORKDIR /a/b\nFROM busybox\nCOPY --from=files / /all/\nADD --chown=7 tree /deep/er/\n\
         COPY <<EOF /f\nx\nEOF\n";
    the_caller_changes_nothing(&site, file);
}

#[test]
fn s48_steps_are_the_same_for_every_caller() {
    let site = site!(run);
    let file = "FROM busybox AS a\nCOPY tree /src\nRUN cd /src && find . -type f | sort | xargs cat >/all && env | sort >/env && umask >>/env \
         && ulimit -n >>/env && hostname >>/env && cat /proc/self/cgroup /etc/hosts >>/env; date -r /src/1/1 >>/env; mkdir /m; touch /m/a\n\
         FROM busybox AS b\nRUN for i in $(seq 300); do echo $i >/b$i; done; mkdir /d; mv /b1 /d; rm -r /d; mkdir /d; echo >/d/x\n\
         FROM a\nCOPY --from=b /b2 /d /two/\nRUN rm -r /src/2 && ls -lR --full-time /m /two 2>/dev/null >/listing || ls -lR /m /two >/listing\nWORKDIR /w/v\n";
    the_caller_changes_nothing(&site, file);
}
