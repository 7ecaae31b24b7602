//! Flags of `build` about RUN, and the flags of RUN that are refused.

#[test]
fn hosts_resolvers_and_the_host_name_are_those_of_the_command_line() {
    let site = site!(run);
    let file = "FROM busybox\nRUN cat /etc/hosts /etc/resolv.conf /etc/hostname; hostname\n";
    let built = site.build(
        file,
        &[
            "--add-host",
            "db:10.1.2.3",
            "--add-host",
            "six:fd00::6",
            "--dns",
            "10.9.8.7",
            "--dns-search",
            "corp.example",
            "--dns-option",
            "ndots:2",
            "--build-arg",
            "BUILDKIT_SANDBOX_HOSTNAME=workshop",
        ],
    );
    for line in [
        "| 10.1.2.3\tdb",
        "| fd00::6\tsix",
        "| nameserver 10.9.8.7",
        "| search corp.example",
        "| options ndots:2",
        "| workshop",
    ] {
        assert!(built.said(line), "{line:?} is missing in {}", built.stderr);
    }
    assert!(!built.stderr.contains("does nothing"), "{}", built.stderr);
    assert_eq!(built.layers(), Vec::<Vec<String>>::new());
    let plain = site.build(file, &[]);
    assert_eq!(
        plain.cached(),
        0,
        "hosts and the host name are part of the key"
    );
    let resolver = site.build(file, &["--dns", "10.9.8.6"]);
    assert_eq!(resolver.cached(), 1, "a resolver is only access");
}

#[test]
fn dns_none_leaves_the_images_resolver_alone() {
    let site = site!(run);
    let file =
        "FROM busybox\nCOPY Containerfile /etc/resolv.conf\nRUN grep -c ^FROM /etc/resolv.conf\n";
    assert!(site.build(file, &["--dns", "none"]).said("| 1"));
    // A cached result would not be looked at: the resolver is no part of the key.
    let said = site.fails(file, &["--no-cache"]);
    assert!(said.contains("exit code 1"), "{said}");
}

#[test]
fn limits_hold_in_run() {
    let site = site!(run);
    let file = "FROM busybox\nRUN echo $(ulimit -n) $(ulimit -Hn) $(ulimit -c) && df -k /dev/shm | tail -1\n";
    let built = site.build(
        file,
        &[
            "--ulimit",
            "nofile=100:200",
            "--ulimit",
            "core=0",
            "--shm-size",
            "1m",
        ],
    );
    assert!(built.said("| 100 200 0"), "{}", built.stderr);
    assert!(built.stderr.contains(" 1024 "), "{}", built.stderr);
    assert_eq!(
        site.build(file, &[]).cached(),
        0,
        "limits are part of the key"
    );
    assert!(
        site.build("FROM busybox\nRUN df -k /dev/shm\n", &[])
            .stderr
            .contains(" 65536 ")
    );
}

#[test]
fn a_limit_that_cannot_be_raised_fails_by_name() {
    let site = site!(run);
    let said = site.fails(
        "FROM busybox\nRUN true\n",
        &["--ulimit", "nofile=2000000000"],
    );
    assert!(said.contains("nofile=2000000000"), "{said}");
}

#[test]
fn capabilities_are_added_and_dropped() {
    let site = site!(run);
    let file = "FROM busybox\nRUN grep Cap /proc/self/status | tr '\\t' ' '\n";
    let default = site.build(file, &[]);
    let added = site.build(file, &["--cap-add", "NET_RAW"]);
    let dropped = site.build(file, &["--cap-drop", "all"]);
    assert!(
        default.said("| CapBnd: 00000000800405fb"),
        "{}",
        default.stderr
    );
    assert!(added.said("| CapEff: 00000000800425fb"), "{}", added.stderr);
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        let line = format!("| {set}: 0000000000000000");
        assert!(dropped.said(&line), "{line}: {}", dropped.stderr);
    }
    for built in [&default, &added, &dropped] {
        assert!(
            built.said("| CapInh: 0000000000000000"),
            "S45: {}",
            built.stderr
        );
        assert_eq!(built.cached(), 0);
    }
}

#[test]
fn variables_are_set_for_every_stage_and_left_out_of_the_image() {
    let site = site!(run);
    let file = r#"FROM busybox AS one
RUN echo "one=$A"
FROM busybox
ENV B=kept C=dropped
LABEL l=gone m=kept
RUN echo "two=$A $C"
COPY --from=one /bin/busybox /b
"#;
    let built = site.build(
        file,
        &[
            "--env",
            "A=1",
            "--unsetenv",
            "C",
            "--unsetlabel",
            "l",
            "--label",
            "n=new",
        ],
    );
    assert!(built.said("| one=1"), "{}", built.stderr);
    assert!(built.said("| two=1 dropped"), "{}", built.stderr);
    let env = built.field("Env");
    assert!(
        env.contains("A=1") && env.contains("B=kept") && !env.contains("C="),
        "{env}"
    );
    assert_eq!(built.field("Labels"), r#"{"m":"kept","n":"new"}"#);
}

#[test]
fn s29_what_a_rootless_build_cannot_give_is_refused_by_name() {
    let site = site!();
    for (flag, reason) in [
        ("--security=insecure", "no privileges to give"),
        ("--device=vendor.com/gpu=0", "no device of the host"),
        ("--network=host", "--allow network.host"),
    ] {
        let said = site.fails(&format!("FROM busybox\nRUN {flag} true\n"), &[]);
        assert!(said.contains(flag) && said.contains(reason), "{said}");
    }
}

#[test]
fn security_sandbox_is_what_a_step_has_anyway() {
    let site = site!(run);
    let built = site.build(
        "FROM busybox\nRUN --security=sandbox --network=none ls /sys/class/net\n",
        &[],
    );
    assert!(built.said("| lo"), "{}", built.stderr);
}
