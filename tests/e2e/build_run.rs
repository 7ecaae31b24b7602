//! RUN: its forms, its environment, its user and how it ends.

use std::fs;

#[test]
fn shell_exec_heredoc_and_script_forms_run() {
    let site = site!(run);
    let file = r##"FROM busybox
RUN echo shell=$0
RUN ["/bin/echo", "exec=$HOME"]
RUN ["echo", "found in PATH"]
RUN <<EOF
X=heredoc
echo "$X=$0"
EOF
RUN <<EOF
#!/bin/awk -f
BEGIN { print "script=" 6 * 7 }
EOF
RUN cat <<A && cat <<'B'
first=$HOME
A
second=$HOME
B
RUN cat <<-TABS
		no tabs
	TABS
"##;
    let built = site.build(file, &[]);
    for line in [
        "| shell=/bin/sh",
        "| exec=$HOME",
        "| found in PATH",
        "| heredoc=/bin/sh",
        "| script=42",
        "| first=/root",
        "| second=$HOME",
        "| no tabs",
    ] {
        assert!(built.said(line), "{line} is missing in {}", built.stderr);
    }
    assert_eq!(built.layers(), Vec::<Vec<String>>::new(), "nothing changed");
}

#[test]
fn shell_changes_what_runs_the_commands_after_it() {
    let site = site!(run);
    let file = r#"FROM busybox
SHELL ["/bin/sh", "-exc"]
RUN false || echo traced
SHELL ["/bin/busybox", "echo", "not run:"]
RUN rm -rf /
"#;
    let built = site.build(file, &[]);
    assert!(built.said("| + echo traced"), "{}", built.stderr);
    assert!(built.said("| not run: rm -rf /"), "{}", built.stderr);
    assert_eq!(
        built.field("Shell"),
        r#"["/bin/busybox","echo","not run:"]"#
    );
}

#[test]
fn env_beats_arg_and_nothing_of_the_caller_is_seen() {
    let site = site!(run);
    let file = r#"FROM busybox
ARG A=default B=kept C
ENV A=env D="two words" PATH=/bin
RUN echo "A=$A B=$B C=$C D=$D P=$PATH undeclared=$UNDECLARED"
RUN env | sort
"#;
    let args = [
        "--build-arg",
        "A=cli",
        "--build-arg",
        "C=c",
        "--build-arg",
        "UNDECLARED=x",
    ];
    let built = site.built(site.command(file, &args).env("CALLER", "secret"));
    assert!(
        built.said("| A=env B=kept C=c D=two words P=/bin undeclared="),
        "{}",
        built.stderr
    );
    let names: Vec<&str> = built
        .stderr
        .lines()
        .filter_map(|line| line.strip_prefix("[stage-0 2/2] | ")?.split_once('='))
        .map(|(name, _)| name)
        .collect();
    // PWD and SHLVL are the shell's own.
    assert_eq!(
        names,
        ["A", "B", "C", "D", "HOME", "PATH", "PWD", "SHLVL"],
        "{}",
        built.stderr
    );
    assert!(
        built.stderr.contains("UNDECLARED"),
        "a build argument that nobody declares is told: {}",
        built.stderr
    );
}

#[test]
fn proxy_settings_are_visible_in_run_and_nowhere_in_the_image() {
    let site = site!(run);
    let file = "FROM busybox\nRUN echo \"got $HTTP_PROXY $no_proxy\"\n";
    let built = site.built(
        site.command(file, &["--build-arg", "no_proxy=local"])
            .env("HTTP_PROXY", "http://proxy:1"),
    );
    assert!(built.said("| got http://proxy:1 local"), "{}", built.stderr);
    let text = format!("{}{}", built.config, built.manifest);
    assert!(
        !text.contains("proxy:1") && !text.contains("local\""),
        "{text}"
    );
    let again = site.built(site.command(file, &[]).env("HTTP_PROXY", "http://other:2"));
    assert_eq!(again.cached(), 1, "not part of the key: {}", again.stderr);
}

#[test]
fn user_by_number_and_by_name_has_its_ids_groups_and_home() {
    let site = site!(ids);
    let file = r"FROM busybox
RUN echo 'app:x:1000:1001::/home/app:/bin/sh' >>/etc/passwd && \
    printf '%s\n' 'app:x:1001:' 'extra:x:2000:root,app' 'other:x:3000:root' >>/etc/group
USER app
RUN echo name=$(id -u):$(id -g):$(id -G):$HOME
USER 1000
RUN echo number=$(id -u):$(id -g):$(id -G):$HOME
USER 4242
RUN echo unknown=$(id -u):$(id -g):$(id -G):$HOME
USER app:extra
RUN echo group=$(id -u):$(id -g):$(id -G)
USER 65535:65535
RUN echo last=$(id -u):$(id -g):$(id -G) >/tmp/last; cat /tmp/last
";
    let built = site.build(file, &[]);
    for line in [
        "| name=1000:1001:1001 2000:/home/app",
        "| number=1000:1001:1001 2000:/home/app",
        "| unknown=4242:0:0:/",
        "| group=1000:2000:2000",
        "| last=65535:65535:65535",
    ] {
        assert!(built.said(line), "{line} is missing in {}", built.stderr);
    }
    let layers = built.layers();
    assert!(
        layers[1]
            .contains(&r#"f 0644 65535:65535 tmp/last = "last=65535:65535:65535\n""#.to_owned()),
        "{layers:#?}"
    );
}

#[test]
fn s44_a_group_without_rights_shuts_its_members_out() {
    let site = site!(ids);
    let file = r"FROM busybox
RUN echo 'app:x:1000:1000::/:/bin/sh' >>/etc/passwd && echo 'shut:x:2000:app' >>/etc/group && \
    echo secret >/f && chown 0:2000 /f && chmod 0604 /f
USER app
RUN ! cat /f
USER 1000:1000
RUN cat /f
";
    let built = site.build(file, &[]);
    assert!(built.said("| secret"), "{}", built.stderr);
}

#[test]
fn s43_odd_users_never_become_root() {
    let site = site!(run);
    for user in [
        "4294967296",
        "-1",
        "0x0",
        "+0",
        "1000:",
        "nosuch",
        "2147483648:0",
    ] {
        let stderr = site.fails(&format!("FROM busybox\nUSER {user}\nRUN id\n"), &[]);
        assert!(!stderr.contains("uid=0"), "{user}: {stderr}");
        assert!(stderr.contains("Containerfile:"), "{user}: {stderr}");
    }
}

#[test]
fn standard_output_and_error_can_be_opened_again_by_any_user() {
    let site = site!(ids);
    let file = "FROM busybox\nUSER 65532:65532\n\
                RUN echo out >/dev/stdout && echo err >/dev/stderr && test ! -t 0 && cat\n";
    let built = site.build(file, &[]);
    assert!(
        built.said("| out") && built.said("| err"),
        "{}",
        built.stderr
    );
}

#[test]
fn the_last_lines_of_a_failing_run_and_its_place_are_shown() {
    let site = site!(run);
    let file = "FROM busybox\nENV A=1\nRUN for i in $(seq 1 50); do echo line-$i; done; \\\n    echo last >&2; \\\n    exit 42\nUSER 1:1\n";
    let stderr = site.fails(file, &[]);
    for part in [
        "Containerfile:3:1",
        "exit code 42",
        "line-50",
        "last",
        "    exit 42",
    ] {
        assert!(stderr.contains(part), "{part} is missing in {stderr}");
    }
    let signal = site.fails("FROM busybox\nRUN sh -c 'kill -9 $$'; exit $?\n", &[]);
    assert!(signal.contains("exit code 137"), "{signal}");
    let missing = site.fails("FROM busybox\nRUN [\"/no/such\"]\n", &[]);
    assert!(
        missing.contains("execute /no/such: No such file") && missing.contains("help: "),
        "{missing}"
    );
    let directory = site.fails("FROM busybox\nRUN [\"/etc\"]\n", &[]);
    assert!(directory.contains("/etc"), "{directory}");
}

#[test]
fn a_failed_step_leaves_a_store_that_the_next_build_can_use() {
    let site = site!(run);
    let failing = "FROM busybox\nRUN echo one >/one\nRUN mkdir -m 0 /shut && false\n";
    site.fails(failing, &[]);
    let built = site.build("FROM busybox\nRUN echo one >/one\nRUN true\n", &[]);
    assert_eq!(
        built.cached(),
        1,
        "what succeeded is kept: {}",
        built.stderr
    );
    let work = fs::read_dir(site.place.store().join("trees/work")).expect("the work area");
    assert_eq!(work.count(), 0, "no temporary tree is left");
}

#[test]
fn d43_background_processes_end_with_their_step() {
    let site = site!(run);
    let file = r"FROM busybox
RUN (setsid sh -c 'while :; do date >>/tick; sleep 0.01; done' </dev/null >/dev/null 2>&1 &); while ! test -s /tick; do :; done
RUN wc -l </tick >/tmp/one; sleep 0.1; wc -l </tick >/tmp/two; cmp /tmp/one /tmp/two && ! pidof setsid
";
    site.build(file, &[]);
}

#[test]
fn a_daemon_that_holds_the_output_open_does_not_keep_the_step() {
    let site = site!(run);
    let started = std::time::Instant::now();
    site.build("FROM busybox\nRUN sleep 60 & echo started\n", &[]);
    assert!(started.elapsed().as_secs() < 20);
}

#[test]
fn an_exec_form_runs_in_a_scratch_stage() {
    let site = site!(run);
    let file = r#"FROM scratch
COPY --from=busybox /bin/busybox /bin/busybox
RUN ["/bin/busybox", "touch", "/made"]
"#;
    let built = site.build(file, &[]);
    let layers = built.layers_above(0);
    assert_eq!(layers.len(), 2, "{layers:#?}");
    assert_eq!(layers[1], [r#"f 0644 0:0 made = """#]);
}
