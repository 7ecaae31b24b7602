//! `--check-reproducible`: what is the same twice passes, and what is not is named. The invariant: every cause that is tried is
//! found at its own instruction, not where it comes out.

use crate::build_oracle::Site;

/// Checks, expects exit code 0, and returns what was said.
fn passes(site: &Site, file: &str) -> String {
    site.build(file, &["--check-reproducible"]).stderr
}

/// Checks, expects exit code 1, and returns what was said.
fn fails(site: &Site, file: &str) -> String {
    site.fails(file, &["--check-reproducible"])
}

#[test]
fn copies_are_reproducible() {
    let site = site!();
    site.place.write("d/one", "1").write("d/two", "2");
    let file =
        "FROM scratch AS a\nCOPY d /d\nWORKDIR /w\nFROM scratch\nCOPY --from=a /d /d\nLABEL a=b\n";
    let said = passes(&site, file);
    assert!(
        said.contains("reproducible: both builds gave sha256:"),
        "{said}"
    );
}

#[test]
fn steps_that_only_read_their_inputs_are_reproducible() {
    let site = site!(run);
    site.place.write("d/one", "1");
    let file = "FROM busybox AS a\nCOPY d /d\nRUN mkdir /x && cp -r /d /x && touch /x/now && umask >/umask && ls /d /bin >/names\n\
         FROM busybox AS b\nRUN rm /bin/vi && echo l >/l\nFROM a\nCOPY --from=b /l /l\n";
    let said = passes(&site, file);
    assert!(
        said.contains("reproducible: both builds gave sha256:"),
        "{said}"
    );
    let (images, _) = site.place.expect(0, &["images", "--format", "json"]);
    let images: serde_json::Value = serde_json::from_str(&images).expect("JSON");
    assert_eq!(
        images.as_array().map(Vec::len),
        Some(2),
        "busybox and the first build's: {images}"
    );
    // What the first build left is as good as any.
    assert_eq!(site.build(file, &[]).cached(), 4);
}

#[test]
fn the_first_instruction_and_path_that_differ_are_named() {
    let site = site!(run);
    for (cause, how) in [
        (
            "head -c8 /dev/urandom >/d/x",
            "/d/x: content from byte 0 on (8 bytes, then 8)",
        ),
        ("date >/d/x", "/d/x: content from byte "),
        ("touch -d @$(($(date +%s) - 100)) /d/x", "/d/x: time "),
        (
            "mkdir /d/$(cat /proc/sys/kernel/random/uuid)",
            " build made it; one more path differs",
        ),
        (
            "chmod 0$((6 + $(date +%s) % 2))00 /d/same || true; ln -s $(date +%s) /d/x",
            "/d/",
        ),
    ] {
        let file = format!(
            "FROM busybox AS made\nRUN mkdir /d && echo same >/d/same\nRUN {cause}\nRUN cat /d/* 2>/dev/null >/all || true\n\
             FROM busybox\nRUN true\nCOPY --from=made /d /all /d/\n"
        );
        let said = fails(&site, &file);
        assert!(said.contains("Containerfile:3:1"), "{said}");
        assert!(said.contains("stage made: not reproducible: /d/"), "{said}");
        assert!(said.contains(how), "{said}");
        assert!(!said.contains("reproducible: both"), "{said}");
    }
}

#[test]
fn a_plan_is_not_built_twice() {
    let site = site!();
    let output = site
        .command("FROM scratch\n", &["--check-reproducible", "--dry-run"])
        .output()
        .expect("it starts");
    assert_eq!(output.status.code(), Some(2));
}

/// Each disturbance: what reads it is named, and what makes itself independent of it passes.
#[test]
fn what_a_step_must_not_read_is_found_where_it_is_read() {
    let site = site!(run);
    for name in ["one", "two", "three", "four"] {
        site.place.write(&format!("d/{name}"), name);
    }
    let bind = "--mount=type=bind,target=/c ";
    for (mount, read, independent) in [
        ("", "date +%z", "TZ=UTC date -d @0 +%z"),
        ("", "echo $LANG", "LANG=C; echo $LANG"),
        ("", "echo $LC_ALL", "LC_ALL=C; echo $LC_ALL"),
        ("", "hostname", "echo $HOSTNAME_OF_NONE"),
        ("", "cat /etc/hosts", "grep -c localhost /etc/hosts"),
        ("", "echo $HOME", "HOME=/root; echo $HOME"),
        ("", "find /d -type f", "find /d -type f | sort"),
        (bind, "find /c/d -type f", "ls /c/d"),
        ("", "stat -c %i /d/one", "stat -c %s /d/one"),
        ("", "date +%s", "date -d @0 +%Y"),
        ("", "cut -d. -f1 /proc/uptime", "wc -l </proc/uptime"),
    ] {
        let file = |command: &str| {
            format!(
                "FROM busybox\nCOPY d /d\nUSER 4321:4321\nWORKDIR /w\nRUN {mount}{command} >/w/x\n"
            )
        };
        let file = |command: &str| match crate::support::degree() {
            // With one id RUN is root's, whose home the image's accounts have.
            crate::support::Degree::NoSub => {
                file(command).replace("USER 4321:4321\n", "RUN rm -f /etc/passwd\n")
            }
            _ => file(command),
        };
        let said = fails(&site, &file(read));
        assert!(
            said.contains("not reproducible: /w/x: content from byte"),
            "{read}: {said}"
        );
        let line = file(read).lines().count();
        assert!(
            said.contains(&format!("Containerfile:{line}:1")),
            "{read}: {said}"
        );
        passes(&site, &file(independent));
    }
}

#[test]
fn what_the_containerfile_says_itself_is_left_alone() {
    let site = site!(run);
    let file = "FROM busybox\nENV TZ=UTC LANG=C\nARG LC_ALL=C\nENV HOME=/h\n\
                RUN date -d @0 >/x; echo $LANG $LC_ALL $HOME $(hostname) >>/x\n";
    let named = [
        "--check-reproducible",
        "--build-arg",
        "BUILDKIT_SANDBOX_HOSTNAME=mine",
    ];
    site.build(file, &named);
}

#[test]
fn the_second_builds_order_of_files_changes_no_layer() {
    let site = site!(run);
    for name in ["one", "two", "three", "four"] {
        site.place.write(&format!("d/{name}"), name);
    }
    let file = "FROM busybox\nCOPY d /d\nRUN rm /d/one && mv /d/two /d/moved && mkdir -p /d/new /home/x; ln /d/three /d/link; \
                echo x >>/d/four; mkdir /e && mv /d/moved /e && rm /bin/[w-z]*\nRUN rm -rf /d && mkdir /d && touch /d/again\n";
    passes(&site, file);
}
