//! Bind mounts of a context without copies: what the kernel redirects, what has to be copied after all, and files that change
//! while a step reads them.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::build_oracle::Site;
use crate::support::Place;

/// The views of contexts that a store keeps: whether each is one of redirects.
fn views(place: &Place) -> Vec<bool> {
    let kept = fs::read_dir(place.store().join("trees/contexts"));
    kept.into_iter()
        .flatten()
        .flatten()
        .map(|view| view.file_name().to_string_lossy().contains("-redirects-"))
        .collect()
}

/// Whether this kernel redirects: Linux 6.16.
fn redirects() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("a release");
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|number| number.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(6), Some(16))
}

macro_rules! requires_redirects {
    () => {
        if !redirects() {
            skip!("linux-6.16", "before it files of contexts are copied");
        }
    };
}

#[test]
fn a_context_is_shown_without_a_copy() {
    requires_redirects!();
    let site = site!(run);
    site.place
        .write("src/a", "A\n")
        .write("src/large", vec![b'x'; 3_000_000])
        .write_program("src/run", "#!/bin/sh\necho I run\n");
    let context = site.place.context();
    fs::hard_link(context.join("src/a"), context.join("src/again")).expect("a link");
    let file = "FROM busybox\nRUN --mount=source=src,target=/s cat /s/a /s/again && /s/run && wc -c </s/large && ! touch /s/a && stat -c '%U %h' /s/a\n\
                RUN --mount=source=src,target=/s,rw echo B >>/s/a && cat /s/a && mv /s/large /s/l && wc -c </s/l\n";
    let built = site.build(file, &[]);
    for line in ["| A", "| B", "| I run", "| 3000000", "| root 2"] {
        assert!(built.said(line), "{line} is missing in {}", built.stderr);
    }
    assert_eq!(views(&site.place), [true]);
    let text = fs::read_to_string(context.join("src/a")).expect("a");
    assert_eq!(text, "A\n");
    let (_, said) = site.place.expect(0, &["prune", "--all"]);
    assert!(views(&site.place).is_empty(), "{said}");
}

#[test]
fn a_context_that_holds_its_store_is_copied() {
    let site = site!(run);
    site.place.write("src/a", "A\n");
    let place = site.place.path();
    fs::write(place.join(".dockerignore"), "store\n").expect("an ignore file");
    let file = "FROM busybox\nRUN --mount=source=context/src,target=/s cat /s/a && stat -c %u:%g /s/a && ! touch /s/a\n";
    site.place.write("Containerfile", file);
    let busybox = format!("busybox=oci-layout:{}", site.busybox().display());
    let mut command = site.place.rbuild();
    command.args([
        "build",
        "--progress",
        "plain",
        "--user-policy",
        "off",
        "--network",
        "none",
    ]);
    command.args(["--build-context", &busybox, "-f", "Containerfile", ".."]);
    let built = site.built(&mut command);
    for line in ["| A", "| 0:0"] {
        assert!(built.said(line), "{line} is missing in {}", built.stderr);
    }
    assert_eq!(views(&site.place), [false]);
}

/// Builds a step that tells when it runs and waits, with `change` done to the context meanwhile; what was said, and whether it
/// worked.
fn meanwhile(site: &Site, file: &str, change: impl FnOnce(&Path)) -> (bool, String) {
    let signal = site.place.path().join("signal");
    let _ = fs::remove_dir_all(&signal);
    fs::create_dir(&signal).expect("a directory");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    fs::set_permissions(&signal, open).expect("its mode");
    let volume = format!("{}:/signal", signal.display());
    let mut command = site.command(file, &["--volume", &volume]);
    std::thread::scope(|scope| {
        let build = scope.spawn(move || command.output().expect("it starts"));
        let limit = Instant::now() + Duration::from_secs(60);
        while !signal.join("runs").exists() && !build.is_finished() && Instant::now() < limit {
            std::thread::sleep(Duration::from_millis(10));
        }
        change(&site.place.context());
        fs::write(signal.join("go"), "").expect("a signal");
        let output = build.join().expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), said)
    })
}

const WAITS: &str = "FROM busybox\nRUN --mount=source=src,target=/s touch /signal/runs && until test -e /signal/go; do sleep 0.1; done && cat /s/a >/copy\n";

#[test]
fn a_file_that_changes_while_a_step_reads_it_fails_the_step_and_nothing_is_kept() {
    requires_redirects!();
    let site = site!(run);
    let changes: [&dyn Fn(&Path); 3] = [
        &|context| fs::write(context.join("src/a"), "two\n").expect("written"),
        &|context| fs::remove_file(context.join("src/b")).expect("removed"),
        // The same content, but who can tell what was read in between?
        &|context| {
            fs::write(context.join("src/a"), "xxx\n").expect("written");
            fs::write(context.join("src/a"), "one\n").expect("written");
        },
    ];
    for change in changes {
        site.place.write("src/a", "one\n").write("src/b", "b\n");
        let (worked, said) = meanwhile(&site, WAITS, change);
        assert!(!worked, "{said}");
        assert!(
            said.contains("changed while the step used it") && said.contains("Containerfile:2"),
            "{said}"
        );
    }
    site.place.write("src/a", "one\n").write("src/b", "b\n");
    let (worked, said) = meanwhile(&site, WAITS, |_| ());
    assert!(worked && !said.contains("cached"), "{said}");
}

#[test]
fn a_file_that_vanishes_explains_the_failure_of_the_step() {
    requires_redirects!();
    let site = site!(run);
    site.place.write("src/a", "one\n");
    let (worked, said) = meanwhile(&site, WAITS, |context| {
        fs::remove_file(context.join("src/a")).expect("removed");
    });
    assert!(!worked && said.contains("exit code"), "{said}");
    assert!(said.contains("'/src/a' changed while"), "{said}");
}

#[test]
fn what_is_new_in_a_context_meanwhile_is_not_seen_and_does_no_harm() {
    let site = site!(run);
    site.place.write("src/a", "one\n");
    let (worked, said) = meanwhile(&site, WAITS, |context| {
        fs::write(context.join("src/new"), "new\n").expect("written");
    });
    assert!(worked, "{said}");
    let other = WAITS.replace("cat /s/a", "ls /s");
    let (worked, said) = meanwhile(&site, &other, |_| ());
    assert!(worked && !said.contains("cached"), "{said}");
}
