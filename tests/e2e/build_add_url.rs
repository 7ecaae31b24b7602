//! ADD of URLs: what comes into the image, what is asked of the server, and what is refused.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::build_oracle::python;
use crate::web::{Answer, Web};

#[track_caller]
fn has(lines: &[String], wanted: &[&str]) {
    for line in wanted {
        assert!(lines.iter().any(|l| l == line), "{line} in {lines:#?}");
    }
}

/// SHA-256 by Python.
fn sha256(content: &str) -> String {
    let script = "import hashlib, sys; print('sha256:' + hashlib.sha256(sys.argv[1].encode()).hexdigest(), end='')";
    python(script, &[content.into()])
}

#[test]
fn a_file_is_root_s_0600_and_as_old_as_the_server_says() {
    let site = site!();
    let web = Web::files(&[("/dir/file.txt", b"content"), ("/", b"index")]);
    let url = web.url("/dir/file.txt?token=1#part");
    let file = format!(
        "FROM scratch\nADD {url} /x/\nADD {url} /y\nADD {} /z/\n",
        web.url("/")
    );
    let built = site.build(&file, &[]);
    has(
        &built.scratch(),
        &[
            r#"f 0600 0:0 x/file.txt = "content""#,
            r#"f 0600 0:0 y = "content""#,
            r#"f 0600 0:0 z/__unnamed__ = "index""#,
        ],
    );
    let (files, _) = site.place.expect(0, &["inspect", "--files", &built.id]);
    assert!(files.contains("y"), "{files}");
    // Once for each URL, and no more.
    assert_eq!(web.requests().len(), 2);
}

#[test]
fn flags_apply_and_archives_are_unpacked_only_when_asked() {
    let site = site!();
    let tar = site.place.context().join("t.tgz");
    python(
        "import io, sys, tarfile\nwith tarfile.open(sys.argv[1], 'w:gz') as t:\n    i = tarfile.TarInfo('in/side')\n    i.size = 1\n    i.uid = 9\n    t.addfile(i, io.BytesIO(b'x'))\n",
        &[tar.clone().into()],
    );
    let archive = std::fs::read(tar).expect("the archive");
    let web = Web::files(&[("/t.tgz", &archive), ("/a[1]*", b"odd")]);
    let url = web.url("/t.tgz");
    site.place.write("local", "l");
    let file = format!(
        "FROM scratch\nADD --chown=7:8 --chmod=u=rwX,go=rX {url} local /a/\nADD --unpack=true {url} /b/\nADD --link {url} /c/\nADD {} /d/\n",
        web.url("/a[1]*")
    );
    let lines = site.build(&file, &[]).scratch();
    assert!(
        lines.iter().any(|l| l.starts_with("f 0644 7:8 a/t.tgz")),
        "{lines:#?}"
    );
    assert!(
        lines.iter().any(|l| l.starts_with("f 0600 0:0 c/t.tgz")),
        "{lines:#?}"
    );
    has(
        &lines,
        &[
            r#"f 0644 7:8 a/local = "l""#,
            r#"f 0644 9:0 b/in/side = "x""#,
            r#"f 0600 0:0 d/a[1]* = "odd""#,
        ],
    );
}

#[test]
fn a_checksum_is_verified_before_anything_is_used() {
    let site = site!();
    let web = Web::files(&[("/a", b"content")]);
    let right = sha256("content");
    let file = format!(
        "FROM scratch\nADD --checksum={right} {} /a\n",
        web.url("/a")
    );
    site.build(&file, &[]);
    let again = site.build(&file, &[]);
    assert_eq!(again.cached(), 1);
    assert_eq!(web.requests().len(), 1, "known by its checksum");
    let wrong = sha256("other");
    let stderr = site.fails(
        &format!(
            "FROM scratch\nADD --checksum={wrong} {} /a\n",
            web.url("/a")
        ),
        &[],
    );
    for part in [right.as_str(), wrong.as_str(), "Containerfile:2:"] {
        assert!(stderr.contains(part), "{part} in {stderr}");
    }
}

#[test]
fn an_unchanged_file_is_asked_for_and_not_sent_again() {
    let site = site!();
    let web = Web::files(&[("/a", b"content")]);
    let file = format!("FROM scratch\nADD {} /a\n", web.url("/a"));
    site.build(&file, &[]);
    assert_eq!(site.build(&file, &[]).cached(), 1);
    let requests = web.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[1].headers["if-none-match"], "\"7\"");
}

#[test]
fn another_url_with_the_same_content_name_and_time_is_the_same_step() {
    let site = site!();
    let web = Web::files(&[
        ("/one/a", b"content"),
        ("/two/a", b"content"),
        ("/two/b", b"content"),
    ]);
    let file = |path: &str| format!("FROM scratch\nADD {} /\n", web.url(path));
    site.build(&file("/one/a"), &[]);
    assert_eq!(site.build(&file("/two/a"), &[]).cached(), 1);
    assert_eq!(site.build(&file("/two/b"), &[]).cached(), 0);
}

#[test]
fn f17_a_server_that_is_busy_is_asked_again() {
    let site = site!();
    let times = AtomicUsize::new(0);
    let web = Web::start(move |_| match times.fetch_add(1, Ordering::SeqCst) {
        0 => Answer::status(503).header("retry-after", "0"),
        _ => Answer::ok("content"),
    });
    let built = site.build(&format!("FROM scratch\nADD {} /a\n", web.url("/a")), &[]);
    assert!(built.stderr.contains("trying again"), "{}", built.stderr);
    let web = Web::start(|_| Answer::status(404));
    let stderr = site.fails(&format!("FROM scratch\nADD {} /a\n", web.url("/gone")), &[]);
    assert!(
        stderr.contains("/gone: the server answered 404") && stderr.contains("Containerfile:2:"),
        "{stderr}"
    );
    assert_eq!(web.requests().len(), 1);
}

#[test]
fn s56_a_password_goes_to_its_server_only_and_into_no_image() {
    let site = site!();
    let other = Web::files(&[("/b", b"content")]);
    let target = other.url("/b");
    let web = Web::start(move |_| Answer::status(302).header("location", &target));
    let file = format!("FROM scratch\nADD http://me:s3cret@{}/a /\n", web.host());
    let built = site.build(&file, &[]);
    has(&built.scratch(), &[r#"f 0600 0:0 a = "content""#]);
    let asked = &web.requests()[0];
    assert!(asked.method == "GET" && asked.body.is_empty());
    assert!(asked.headers.contains_key("authorization"));
    assert!(!other.requests()[0].headers.contains_key("authorization"));
    assert!(
        !built.config.to_string().contains("s3cret"),
        "{}",
        built.config
    );
}

#[test]
fn a_fetched_file_is_added_in_a_stage_that_runs_too() {
    let site = site!(ids);
    let web = Web::files(&[("/a", b"content")]);
    let file = format!(
        "FROM busybox\nRUN mkdir /d\nADD --chown=3:4 {} /d/\nRUN test \"$(cat /d/a)\" = content && test \"$(stat -c %u:%g:%a:%Y /d/a)\" = 3:4:600:1000000000\n",
        web.url("/a")
    );
    site.build(&file, &[]);
}

/// A file with a secret, as `--secret` takes it.
fn secret(site: &crate::build_oracle::Site, id: &str, value: &str) -> String {
    let path = site.place.path().join(id);
    std::fs::write(&path, value).expect("a secret");
    format!("id={id},src={}", path.display())
}

#[test]
fn s56_a_token_for_a_host_goes_there_only() {
    let site = site!();
    let other = Web::files(&[("/b", b"content")]);
    let target = other.url("/b");
    let web =
        Web::start(
            move |request| match request.headers.get("authorization").map(String::as_str) {
                Some("Bearer swordfish") => Answer::status(302).header("location", &target),
                _ => Answer::status(401),
            },
        );
    let token = secret(&site, "HTTP_AUTH_TOKEN_127.0.0.1", "swordfish\n");
    let elsewhere = secret(&site, "HTTP_AUTH_TOKEN_example.org", "swordfish");
    let file = format!("FROM scratch\nADD {} /\n", web.url("/a"));
    let without = site.fails(&file, &[]);
    assert!(without.contains("answered 401"), "{without}");
    site.fails(&file, &["--secret", &elsewhere]);
    assert!(
        web.requests()
            .iter()
            .all(|one| !one.headers.contains_key("authorization"))
    );
    let built = site.build(&file, &["--secret", &token, "--secret", &elsewhere]);
    has(&built.scratch(), &[r#"f 0600 0:0 a = "content""#]);
    assert_eq!(other.requests().len(), 1);
    assert!(!other.requests()[0].headers.contains_key("authorization"));
    assert!(!format!("{}{}", built.stderr, built.config).contains("swordfish"));
    // Who has no token is asked for one, whatever others were shown.
    site.fails(&file, &[]);
    // The token is part of no key.
    assert_eq!(site.build(&file, &["--secret", &token]).cached(), 1);
}

#[test]
fn a_header_for_a_host_is_sent_as_it_is_to_contexts_too() {
    let site = site!();
    let web =
        Web::start(
            |request| match request.headers.get("authorization").map(String::as_str) {
                Some("Digest swordfish") => {
                    Answer::ok("FROM scratch\nLABEL a=b\nADD x /\n".replace("ADD x /\n", ""))
                }
                _ => Answer::status(403),
            },
        );
    let header = secret(&site, "HTTP_AUTH_HEADER_127.0.0.1", "Digest swordfish");
    let file = format!("FROM scratch\nADD {} /a\n", web.url("/a"));
    site.build(&file, &["--secret", &header]);
    let build = ["build", "--user-policy", "off", "--network", "none"];
    let url = web.url("/Containerfile");
    site.place
        .expect(0, &[&build[..], &["--secret", &header, &url]].concat());
    site.place.expect(1, &[&build[..], &[&url]].concat());
    let broken = secret(&site, "HTTP_AUTH_HEADER_127.0.0.1", "two\nswordfish");
    let stderr = site.fails(&file, &["--secret", &broken]);
    assert!(
        stderr.contains("HTTP_AUTH_HEADER_127.0.0.1: it is not one line")
            && !stderr.contains("swordfish"),
        "{stderr}"
    );
}
