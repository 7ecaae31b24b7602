//! COPY: sources, destinations, owners, modes and links, into layers (no RUN) and, where it matters, into trees.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use crate::build_oracle::Site;

/// The lines of a build from nothing.
fn scratch(site: &Site, steps: &str) -> Vec<String> {
    site.build(&format!("FROM scratch\n{steps}\n"), &[])
        .scratch()
}

#[track_caller]
fn has(lines: &[String], wanted: &[&str]) {
    for line in wanted {
        assert!(lines.iter().any(|l| l == line), "{line} in {lines:#?}");
    }
}

/// A context with a bit of everything.
fn tree(site: &Site) {
    site.place
        .write("d/a.txt", "a")
        .write("d/sub/b.txt", "b")
        .write("d/sub/c.md", "c")
        .write("one", "1")
        .write("two", "2")
        .write_program("tool", "t");
    let context = site.place.context();
    symlink("a.txt", context.join("d/link")).expect("a link");
    symlink("d", context.join("to-d")).expect("a link");
    symlink("/one", context.join("to-one")).expect("a link");
    for (path, mode) in [
        ("d", 0o755),
        ("d/sub", 0o711),
        ("one", 0o644),
        ("two", 0o600),
    ] {
        fs::set_permissions(context.join(path), fs::Permissions::from_mode(mode)).expect("a mode");
    }
}

#[test]
fn a_directory_copies_its_contents_with_modes_and_links_as_links() {
    let site = site!();
    tree(&site);
    let lines = scratch(&site, "COPY d /x");
    assert_eq!(
        lines,
        [
            "d 0755 0:0 x",
            r#"f 0644 0:0 x/a.txt = "a""#,
            "l 0777 0:0 x/link -> a.txt",
            "d 0711 0:0 x/sub",
            r#"f 0644 0:0 x/sub/b.txt = "b""#,
            r#"f 0644 0:0 x/sub/c.md = "c""#,
        ]
    );
    // A link that is the source itself is followed inside the context.
    has(
        &scratch(&site, "COPY to-d /x/"),
        &[r#"f 0644 0:0 x/a.txt = "a""#],
    );
    has(
        &scratch(&site, "COPY to-one /x"),
        &[r#"f 0644 0:0 x = "1""#],
    );
}

#[test]
fn a_trailing_slash_makes_the_destination_a_directory() {
    let site = site!();
    tree(&site);
    has(&scratch(&site, "COPY one /x"), &[r#"f 0644 0:0 x = "1""#]);
    has(
        &scratch(&site, "COPY one /x/"),
        &["d 0755 0:0 x", r#"f 0644 0:0 x/one = "1""#],
    );
    has(
        &scratch(&site, "COPY d/ /x"),
        &[r#"f 0644 0:0 x/a.txt = "a""#],
    );
    has(
        &scratch(&site, "WORKDIR /w/v\nCOPY one two ./deep/"),
        &["d 0755 0:0 w/v/deep", r#"f 0600 0:0 w/v/deep/two = "2""#],
    );
    has(
        &scratch(&site, "WORKDIR /w\nCOPY one ."),
        &[r#"f 0644 0:0 w/one = "1""#],
    );
    has(
        &scratch(&site, "COPY [\"one\", \"/with space/\"]"),
        &[r#"f 0644 0:0 with space/one = "1""#],
    );
    let stderr = site.fails("FROM scratch\nCOPY one two /x\n", &[]);
    assert!(stderr.contains("Containerfile:2:"), "{stderr}");
}

#[test]
fn wildcards_select_and_missing_sources_are_errors() {
    let site = site!();
    tree(&site);
    site.place.write("[odd]", "o").write("d/sub/x?y", "q");
    has(
        &scratch(&site, "COPY d/*.txt d/sub/?.md d/su[a-c] /x/"),
        &[
            r#"f 0644 0:0 x/a.txt = "a""#,
            r#"f 0644 0:0 x/c.md = "c""#,
            r#"f 0644 0:0 x/b.txt = "b""#,
        ],
    );
    has(
        &scratch(&site, "COPY [[]odd] /x/"),
        &[r#"f 0644 0:0 x/[odd] = "o""#],
    );
    has(
        &scratch(&site, "COPY [^d]ne /x/"),
        &[r#"f 0644 0:0 x/one = "1""#],
    );
    // A pattern without a match is fine beside one that has some.
    has(
        &scratch(&site, "COPY one no-such-* /x/"),
        &[r#"f 0644 0:0 x/one = "1""#],
    );
    let stderr = site.fails("FROM scratch\nCOPY one missing /x/\n", &[]);
    assert!(
        stderr.contains("missing") && stderr.contains("Containerfile:2:"),
        "{stderr}"
    );
    let stderr = site.fails("FROM scratch\nCOPY d/missing /x/\n", &[]);
    assert!(stderr.contains("d/missing"), "{stderr}");
}

#[test]
fn s35_sources_are_clamped_to_the_context() {
    let site = site!();
    tree(&site);
    fs::write(site.place.path().join("outside"), "HOST").expect("a file");
    let context = site.place.context();
    symlink("../outside", context.join("escape")).expect("a link");
    symlink("/etc", context.join("etc")).expect("a link");
    has(
        &scratch(&site, "COPY ../../one /x"),
        &[r#"f 0644 0:0 x = "1""#],
    );
    has(
        &scratch(&site, "COPY /d/../one /x"),
        &[r#"f 0644 0:0 x = "1""#],
    );
    for source in ["../outside", "escape", "etc/passwd", "d/../../outside"] {
        let stderr = site.fails(&format!("FROM scratch\nCOPY {source} /x\n"), &[]);
        let host = site.place.path().display().to_string();
        assert!(
            !stderr.contains("HOST") && !stderr.contains(&format!("{host}/outside")),
            "{stderr}"
        );
    }
}

#[test]
fn files_of_the_context_belong_to_root_and_chown_changes_all() {
    let site = site!();
    tree(&site);
    site.place
        .write("accounts/passwd", "app:x:1000:2000::/:/bin/sh\n");
    site.place.write("accounts/group", "grp:x:3000:\n");
    for (chown, owner) in [
        ("7:8", "7:8"),
        ("7", "7:7"),
        ("app", "1000:2000"),
        ("app:grp", "1000:3000"),
        ("9:grp", "9:3000"),
    ] {
        let lines = scratch(
            &site,
            &format!("COPY accounts /etc\nCOPY --chown={chown} d /new/x"),
        );
        has(
            &lines,
            &[
                &format!("d 0755 {owner} new"),
                &format!("d 0755 {owner} new/x"),
                &format!(r#"f 0644 {owner} new/x/a.txt = "a""#),
                &format!("l 0777 {owner} new/x/link -> a.txt"),
            ],
        );
    }
    let stderr = site.fails("FROM scratch\nCOPY --chown=nobody one /x\n", &[]);
    assert!(
        stderr.contains("nobody") && stderr.contains("Containerfile:2:"),
        "{stderr}"
    );
}

#[test]
fn chmod_takes_numbers_and_symbols() {
    let site = site!();
    tree(&site);
    has(
        &scratch(&site, "ARG M=0705\nCOPY --chmod=$M d /x"),
        &[
            // The destination itself is not copied.
            "d 0755 0:0 x",
            "d 0705 0:0 x/sub",
            r#"f 0705 0:0 x/a.txt = "a""#,
        ],
    );
    has(
        &scratch(&site, "COPY --chmod=u=rwX,go=rX d tool /x/"),
        &[
            "d 0755 0:0 x/sub",
            r#"f 0644 0:0 x/a.txt = "a""#,
            r#"f 0755 0:0 x/tool = "t""#,
        ],
    );
    has(
        &scratch(&site, "COPY --chmod=4755 tool /x"),
        &[r#"f 4755 0:0 x = "t""#],
    );
    for bad in ["9", "rwx", "10000", "u=q"] {
        let stderr = site.fails(&format!("FROM scratch\nCOPY --chmod={bad} one /x\n"), &[]);
        assert!(stderr.contains("Containerfile:2:"), "{bad}: {stderr}");
    }
}

#[test]
fn parents_keeps_the_directories_above_and_their_metadata() {
    let site = site!();
    tree(&site);
    let lines = scratch(&site, "COPY --parents d/sub/b.txt one /x/");
    assert_eq!(
        lines,
        [
            "d 0755 0:0 x",
            "d 0755 0:0 x/d",
            "d 0711 0:0 x/d/sub",
            r#"f 0644 0:0 x/d/sub/b.txt = "b""#,
            r#"f 0644 0:0 x/one = "1""#,
        ]
    );
    has(
        &scratch(&site, "COPY --parents d/./sub/b.txt /x/"),
        &[r#"f 0644 0:0 x/sub/b.txt = "b""#],
    );
    has(
        &scratch(&site, "COPY --parents **/*.txt /x/"),
        &[
            r#"f 0644 0:0 x/d/a.txt = "a""#,
            r#"f 0644 0:0 x/d/sub/b.txt = "b""#,
        ],
    );
}

#[test]
fn exclude_leaves_out_and_takes_back() {
    let site = site!();
    tree(&site);
    let lines = scratch(&site, "COPY --exclude=*.txt --exclude=sub/*.md d /x");
    assert_eq!(
        lines,
        [
            "d 0755 0:0 x",
            "l 0777 0:0 x/link -> a.txt",
            "d 0711 0:0 x/sub",
            r#"f 0644 0:0 x/sub/b.txt = "b""#
        ]
    );
    let lines = scratch(&site, "COPY --exclude=sub --exclude=!sub/c.md d /x");
    has(&lines, &[r#"f 0644 0:0 x/sub/c.md = "c""#]);
    assert!(
        !lines.iter().any(|line| line.contains("b.txt")),
        "{lines:#?}"
    );
}

#[test]
fn the_ignore_file_hides_and_its_exceptions_show() {
    let site = site!();
    tree(&site);
    site.place
        .write(".dockerignore", "\u{feff}# comment\n*\n!d/**/*.md\n!one\n");
    let lines = scratch(&site, "COPY . /x");
    assert_eq!(
        lines,
        [
            "d 0755 0:0 x",
            "d 0755 0:0 x/d",
            "d 0711 0:0 x/d/sub",
            r#"f 0644 0:0 x/d/sub/c.md = "c""#,
            r#"f 0644 0:0 x/one = "1""#
        ]
    );
    let stderr = site.fails("FROM scratch\nCOPY two /x\n", &[]);
    assert!(stderr.contains("ignore"), "it says why: {stderr}");
    // The file beside the Containerfile wins; the context's .containerignore wins over .dockerignore.
    site.place.write(".containerignore", "one\n");
    assert!(
        !scratch(&site, "COPY . /x")
            .iter()
            .any(|line| line.contains("x/one"))
    );
    site.place.write("Containerfile.dockerignore", "two\n");
    let lines = scratch(&site, "COPY . /x");
    has(&lines, &[r#"f 0644 0:0 x/one = "1""#]);
    assert!(
        !lines.iter().any(|line| line.contains("x/two")),
        "{lines:#?}"
    );
}

#[test]
fn owners_of_a_stage_and_of_an_image_are_kept() {
    let site = site!();
    tree(&site);
    let first = "FROM scratch AS a\nCOPY --chown=11:12 d /from/d\nCOPY --chown=13:14 --chmod=2770 d /shared\n";
    let lines = site.build(&format!("{first}FROM scratch\nCOPY --from=a /from/ /to/\nCOPY --from=busybox /etc/passwd /to/\n"), &[]).scratch();
    has(
        &lines,
        &[
            "d 0755 0:0 to",
            "d 0755 11:12 to/d",
            r#"f 0644 11:12 to/d/a.txt = "a""#,
            "l 0777 11:12 to/d/link -> a.txt",
        ],
    );
    // The destination is made by us: root's. One that is there stays as it is.
    let lines = site
        .build(
            &format!("{first}FROM a\nCOPY --from=a /from/d/a.txt /shared/\n"),
            &[],
        )
        .scratch();
    has(&lines, &[r#"f 0644 11:12 shared/a.txt = "a""#]);
    assert!(
        !lines
            .iter()
            .any(|line| line.starts_with("d 0755 0:0 shared")),
        "{lines:#?}"
    );
    let lines = site
        .build(
            &format!("{first}FROM scratch\nCOPY --from=a --chown=0:0 /from/d /to\n"),
            &[],
        )
        .scratch();
    has(&lines, &["d 0755 0:0 to", r#"f 0644 0:0 to/a.txt = "a""#]);
}

#[test]
fn hostile_destination_links_stay_inside_the_image() {
    let site = site!();
    tree(&site);
    let canary = site.place.path().join("canary");
    fs::create_dir(&canary).expect("the canary");
    let odd = site.place.context().join("odd");
    fs::create_dir(&odd).expect("a directory");
    symlink(&canary, odd.join("absolute")).expect("a link");
    symlink(
        "../../../../../../../../../../../../etc",
        odd.join("relative"),
    )
    .expect("a link");
    symlink("absolute", odd.join("chained")).expect("a link");
    symlink("loop", odd.join("loop")).expect("a link");
    for (base, layers, trees) in [
        ("FROM scratch\n", 0, false),
        ("FROM busybox\nRUN true\n", 1, true),
    ] {
        if trees && !crate::support::can_execute() {
            continue;
        }
        let built = site.build(
            &format!(
                "{base}COPY odd /\nCOPY one /absolute/\nCOPY two /chained/\nCOPY d /relative/d\n"
            ),
            &[],
        );
        assert_eq!(fs::read_dir(&canary).expect("the canary").count(), 0);
        let path = canary.display().to_string();
        let inside = path.trim_start_matches('/');
        has(
            &built.layers_above(layers).concat(),
            &[
                &format!(r#"f 0644 0:0 {inside}/one = "1""#),
                &format!(r#"f 0600 0:0 {inside}/two = "2""#),
                r#"f 0644 0:0 etc/d/a.txt = "a""#,
            ],
        );
        let stderr = site.fails(&format!("{base}COPY odd /\nCOPY one /loop/x\n"), &[]);
        assert!(stderr.contains("loop"), "{stderr}");
    }
}

#[test]
fn link_ignores_the_links_of_the_base_and_its_layer_does_not_depend_on_it() {
    let site = site!();
    tree(&site);
    fs::create_dir(site.place.context().join("odd")).expect("a directory");
    symlink("/elsewhere", site.place.context().join("odd/l")).expect("a link");
    let build = |file: &str| {
        site.built(
            site.command(file, &[])
                .env("SOURCE_DATE_EPOCH", "1700000000"),
        )
    };
    let linked = build("FROM scratch\nCOPY odd /\nCOPY --link --chown=5 one /l/one\n");
    let layers = linked.layers_above(0);
    assert_eq!(layers[1], ["d 0755 5:5 l", r#"f 0644 5:5 l/one = "1""#]);
    let other = build("FROM busybox\nCOPY --link --chown=5 one /l/one\n");
    assert_eq!(
        linked.config["rootfs"]["diff_ids"][1],
        other.config["rootfs"]["diff_ids"][1]
    );
}

#[test]
fn metadata_of_files_is_kept_and_sockets_are_skipped() {
    let site = site!();
    site.place.write("m/file", "x").write_program("m/suid", "s");
    let m = site.place.context().join("m");
    fs::set_permissions(m.join("suid"), fs::Permissions::from_mode(0o4711)).expect("a mode");
    fs::hard_link(m.join("file"), m.join("zlink")).expect("a link");
    let _socket = std::os::unix::net::UnixListener::bind(m.join("socket")).expect("a socket");
    fs::File::open(m.join("file"))
        .and_then(|file| {
            file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000))
        })
        .expect("a time");
    let built = site.build(
        "FROM scratch\nCOPY m /m\n",
        &["-o", "type=tar,dest=out.tar", "-o", "type=store"],
    );
    let lines = built.scratch();
    has(
        &lines,
        &[r#"f 4711 0:0 m/suid = "s""#, "h 0644 0:0 m/zlink => m/file"],
    );
    assert!(
        !lines.iter().any(|line| line.contains("socket")),
        "{lines:#?}"
    );
    assert!(
        built.stderr.contains("socket"),
        "it is told: {}",
        built.stderr
    );
    let times = crate::build_oracle::python(
        "import sys, tarfile\nprint(int(tarfile.open(sys.argv[1]).getmember('m/file').mtime))",
        &[site.place.context().join("out.tar").into()],
    );
    assert_eq!(times.trim(), "1000000000");
}

#[test]
fn an_unreadable_source_is_named() {
    let site = site!();
    if crate::support::degree() == crate::support::Degree::Root {
        skip!("degree", "root reads everything");
    }
    site.place.write("d/shut", "x");
    let shut = site.place.context().join("d/shut");
    fs::set_permissions(&shut, fs::Permissions::from_mode(0o000)).expect("a mode");
    let stderr = site.fails("FROM scratch\nCOPY d /d\n", &[]);
    assert!(
        stderr.contains("d/shut") && stderr.to_lowercase().contains("permission"),
        "{stderr}"
    );
}

#[test]
fn f33_a_fifo_of_the_context_is_copied_and_never_opened() {
    let site = site!();
    site.place.write("d/file", "x");
    let status = std::process::Command::new("mkfifo")
        .args(["-m", "0640", "d/pipe"])
        .current_dir(site.place.context())
        .status();
    assert!(status.expect("mkfifo starts").success());
    has(&scratch(&site, "COPY d /d"), &["p 0640 0:0 d/pipe"]);
    has(&scratch(&site, "COPY d/pipe /p"), &["p 0640 0:0 p"]);
}

#[test]
fn s35_an_ignore_file_that_leads_out_of_the_context_is_not_followed() {
    let site = site!();
    tree(&site);
    let canary = site.place.path().join("canary");
    fs::write(&canary, "one\n").expect("the canary");
    symlink("../canary", site.place.context().join(".dockerignore")).expect("a link");
    let output = site
        .command("FROM scratch\nCOPY . /x\n", &[])
        .output()
        .expect("it starts");
    if output.status.success() {
        has(&scratch(&site, "COPY . /x"), &[r#"f 0644 0:0 x/one = "1""#]);
    } else {
        assert_eq!(output.status.code(), Some(1));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains(".dockerignore"), "{stderr}");
    }
}
