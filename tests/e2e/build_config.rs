//! The configuration that comes out, and the policy on its user.

const FULL: &str = r#"FROM busybox
LABEL one=1 two="2 words"
LABEL one=again
ENV A=1 B="two words"
ENV A=3 C=$B
EXPOSE 80 443/TCP 1000-1002/udp
VOLUME /data
VOLUME ["/json", "/more"]
STOPSIGNAL SIGINT
HEALTHCHECK --interval=5s --retries=3 CMD check me
ONBUILD RUN true
WORKDIR /work
ENTRYPOINT ["/bin/app", "-x"]
CMD ["arg"]
USER 65532:65532
"#;

#[test]
fn every_field_is_written() {
    let site = site!();
    let built = site.build(
        FULL,
        &[
            "--label",
            "one=cli",
            "--label",
            "three=3",
            "--annotation",
            "note=here",
        ],
    );
    for (name, value) in [
        ("User", r#""65532:65532""#),
        ("Entrypoint", r#"["/bin/app","-x"]"#),
        ("Cmd", r#"["arg"]"#),
        ("WorkingDir", r#""/work""#),
        ("StopSignal", r#""SIGINT""#),
        ("OnBuild", r#"["RUN true"]"#),
        ("Labels", r#"{"one":"cli","three":"3","two":"2 words"}"#),
        (
            "ExposedPorts",
            r#"{"1000/udp":{},"1001/udp":{},"1002/udp":{},"443/tcp":{},"80/tcp":{}}"#,
        ),
    ] {
        assert_eq!(built.field(name), value, "{name}");
    }
    let env = built.field("Env");
    assert!(
        env.contains(r#""A=3","B=two words","C=two words""#),
        "{env}"
    );
    let health = built.field("Healthcheck");
    assert!(
        health.contains(r#"["CMD-SHELL","check me"]"#) && health.contains("5000000000"),
        "{health}"
    );
    assert!(
        built.field("Volumes").contains(r#""/json":{}"#),
        "{}",
        built.field("Volumes")
    );
    assert_eq!(built.manifest["annotations"]["note"], "here");
    assert_eq!(built.config["os"], "linux");
}

#[test]
fn history_accounts_for_every_layer() {
    let site = site!();
    site.place.write("one", "1");
    let built = site.build("FROM busybox\nLABEL a=b\nCOPY one /\nWORKDIR /\nWORKDIR /new\nWORKDIR /new\nUSER 1:1\nCOPY one /\n", &[]);
    let history = built.config["history"].as_array().expect("a history");
    let layers = history
        .iter()
        .filter(|entry| entry["empty_layer"] != true)
        .count();
    assert_eq!(
        Some(layers),
        built.config["rootfs"]["diff_ids"].as_array().map(Vec::len)
    );
    assert_eq!(
        Some(layers),
        built.manifest["layers"].as_array().map(Vec::len)
    );
    // The base's own, then one entry for each instruction but FROM.
    assert_eq!(history.len(), 1 + 7, "{history:#?}");
}

#[test]
fn entrypoint_clears_the_bases_cmd_and_not_its_own() {
    let site = site!();
    // busybox has CMD /bin/sh.
    let cmd = |file: &str| site.build(file, &[]).field("Cmd");
    assert_eq!(cmd("FROM busybox\n"), r#"["/bin/sh"]"#);
    assert_eq!(cmd("FROM busybox\nENTRYPOINT [\"/x\"]\n"), "null");
    assert_eq!(
        cmd("FROM busybox\nCMD [\"y\"]\nENTRYPOINT [\"/x\"]\n"),
        r#"["y"]"#
    );
    assert_eq!(
        cmd("FROM busybox\nENTRYPOINT [\"/x\"]\nCMD y z\n"),
        r#"["/bin/sh","-c","y z"]"#
    );
    assert_eq!(
        cmd("FROM busybox AS a\nCMD [\"y\"]\nFROM a\nENTRYPOINT [\"/x\"]\n"),
        "null"
    );
    assert_eq!(cmd("FROM busybox\nCMD []\n"), "null");
}

#[test]
fn an_image_from_nothing_is_legal_and_has_a_path() {
    let site = site!();
    let built = site.build("FROM scratch\nENTRYPOINT [\"/x\"]\nUSER 1:1\n", &[]);
    assert_eq!(
        built.config["rootfs"]["diff_ids"].as_array().map(Vec::len),
        Some(0)
    );
    assert!(built.field("Env").contains("PATH="), "{}", built.config);
    assert_eq!(
        built.config["architecture"].as_str().map(str::is_empty),
        Some(false)
    );
}

#[test]
fn enforce_refuses_names_and_root_with_the_line_to_write() {
    let site = site!();
    let enforce = ["--user-policy", "enforce"];
    let stderr = site.fails("FROM busybox\nUSER nobody\n", &enforce);
    assert!(
        stderr.contains(
            "error: USER \"nobody\" is a name: what starts the image cannot check that it is not root\n --> Containerfile:2:1\n"
        ),
        "{stderr}"
    );
    assert!(
        stderr.contains("= help: write: USER 65534:65534\n"),
        "{stderr}"
    );
    for user in [
        "",
        "USER 0\n",
        "USER root\n",
        "USER 0:5\n",
        "USER root:nogroup\n",
    ] {
        let stderr = site.fails(&format!("FROM busybox\n{user}"), &enforce);
        assert!(stderr.contains("USER 65532:65532"), "{user}: {stderr}");
    }
    // Another user before the last one is nobody's business; the inherited one is.
    site.build("FROM busybox\nUSER nobody\nUSER 5:5\n", &enforce);
    let stderr = site.fails(
        "FROM busybox AS a\nUSER nobody\nFROM a\nCMD [\"x\"]\n",
        &enforce,
    );
    assert!(stderr.contains("Containerfile:2:1"), "{stderr}");
    let warned = site.build("FROM busybox\nUSER 65532\n", &enforce);
    assert!(
        warned.stderr.contains("= help: write: USER 65532:65532\n"),
        "{}",
        warned.stderr
    );
}

#[test]
fn rewrite_warn_and_off_do_what_they_say() {
    let site = site!();
    let file = "FROM busybox\nUSER nobody\n";
    let built = site.build(file, &["--user-policy", "rewrite"]);
    assert_eq!(built.field("User"), r#""65534:65534""#);
    let unknown = site.fails(
        "FROM busybox\nUSER missing\n",
        &["--user-policy", "rewrite"],
    );
    assert!(
        unknown.contains("missing") && unknown.contains("Containerfile:2:1"),
        "{unknown}"
    );
    let root = site.fails("FROM busybox\nUSER root\n", &["--user-policy", "rewrite"]);
    assert!(root.contains("USER 65532:65532"), "{root}");
    let built = site.build(file, &["--user-policy", "warn"]);
    assert_eq!(built.field("User"), r#""nobody""#);
    assert!(
        built.stderr.contains("warning: USER \"nobody\" is a name"),
        "{}",
        built.stderr
    );
    let built = site.build(file, &["--user-policy", "off"]);
    assert_eq!(built.field("User"), r#""nobody""#);
    assert!(!built.stderr.contains("warning:"), "{}", built.stderr);
}

#[test]
fn a_name_is_looked_up_in_the_image_that_was_built() {
    let site = site!(run);
    let file = "FROM busybox\nRUN echo 'app:x:1234:1235::/:/bin/sh' >>/etc/passwd\nUSER app\n";
    let stderr = site.fails(file, &["--user-policy=enforce"]);
    assert!(
        stderr.contains("= help: write: USER 1234:1235\n"),
        "{stderr}"
    );
    let built = site.build(file, &["--user-policy=rewrite"]);
    assert_eq!(built.field("User"), r#""1234:1235""#);
}
