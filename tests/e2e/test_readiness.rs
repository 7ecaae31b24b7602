//! `rbuild test`: will it run rootless? Each check is seen to pass, and to fail when what it checks is broken.

use serde_json::Value;

use crate::support::{Degree, Place, degree};

fn built(containerfile: &str) -> Option<Place> {
    let base = crate::support::base("busybox")?;
    let place = Place::new();
    place.write("www/index.html", "hello\n");
    place.write("zone", "TZif2");
    let context = format!("busybox=oci-layout:{}", base.display());
    let more = [
        "--network",
        "none",
        "--no-lint",
        "--user-policy",
        "warn",
        "--closure",
        "off",
        "-t",
        "box",
    ];
    place.build(
        containerfile,
        &[&more[..], &["--build-context", &context]].concat(),
    );
    Some(place)
}

macro_rules! requires_image {
    ($containerfile:expr) => {{
        requires!(execution);
        match built($containerfile) {
            Some(place) => place,
            None => skip!("bases", "RBUILD_TEST_BASES has no busybox"),
        }
    }};
}

/// A report, and its exit code.
fn report(place: &Place, code: i32, flags: &[&str]) -> Vec<Value> {
    report_after("0.3", place, code, flags)
}

/// The same with another time for the program; one that ends does not need it.
fn report_after(wait: &str, place: &Place, code: i32, flags: &[&str]) -> Vec<Value> {
    let args = [
        &["test", "--format", "json", "--wait", wait],
        flags,
        &["box"],
    ]
    .concat();
    let (text, _) = place.expect(code, &args);
    let mut report: Value = serde_json::from_str(&text).unwrap();
    match report["checks"].take() {
        Value::Array(checks) => checks,
        other => panic!("{other}"),
    }
}

/// The verdict of the check whose area and name begin so, and all that it says.
fn check(report: &[Value], area: &str, name: &str) -> (String, String) {
    let mut found = report.iter().filter(|check| {
        check["area"] == area
            && check["name"]
                .as_str()
                .is_some_and(|own| own.starts_with(name))
    });
    let found = found
        .next()
        .unwrap_or_else(|| panic!("no {area} {name} in {report:#?}"));
    let verdict = found["verdict"].as_str().unwrap().to_owned();
    (verdict, format!("{} {}", found["said"], found["remedies"]))
}

#[track_caller]
fn expect(report: &[Value], (area, name): (&str, &str), verdict: &str, words: &[&str]) {
    let (own, said) = check(report, area, name);
    assert_eq!(own, verdict, "{area} {name}: {said}");
    for word in words {
        assert!(
            said.contains(word),
            "{area} {name}: {word} is not in {said}"
        );
    }
}

const SERVICE: &str = "FROM busybox\nCOPY www /www\nCOPY --chown=65532:65532 www /var/lib/app\nEXPOSE 8080\nUSER 65532:65532\n\
    HEALTHCHECK CMD [\"wget\", \"-q\", \"-O\", \"/dev/null\", \"http://127.0.0.1:8080/\"]\n";

#[test]
fn a_service_that_is_ready_passes_everything() {
    let place = requires_image!(&format!(
        "{SERVICE}CMD [\"sh\", \"-c\", \"trap 'exit 0' TERM; httpd -p 8080 -h /www; while :; do sleep 0.1; done\"]\n"
    ));
    let report = report_after("1", &place, 0, &[]);
    expect(
        &report,
        ("start", "starts"),
        "passed",
        &["listens at", ":8080"],
    );
    expect(
        &report,
        ("user", "user"),
        "passed",
        &["runs as 65532:65532", "as you"],
    );
    expect(
        &report,
        ("privileges", "capabilities"),
        "passed",
        &["needs none"],
    );
    expect(&report, ("ports", "ports"), "passed", &["8080"]);
    expect(
        &report,
        ("health", "HEALTHCHECK"),
        "passed",
        &["unhealthy when the service has stopped"],
    );
    expect(&report, ("read-only", "read-only"), "passed", &[]);
    expect(&report, ("stop", "STOPSIGNAL"), "passed", &["exit code 0"]);
    expect(&report, ("times", "time"), "passed", &["did not ask"]);
    let nomap = match degree() {
        Degree::NoSub => "skipped",
        Degree::SubIds | Degree::Root => "passed",
    };
    expect(&report, ("userns", "keep-id:uid=65532"), nomap, &[]);
    expect(&report, ("userns", "nomap"), nomap, &[]);
    expect(&report, ("userns", "a single id"), "passed", &[]);
}

#[test]
fn a_service_that_is_not_ready_is_told_what_mends_it() {
    requires!(degree Degree::SubIds);
    // As first process httpd has no handler for SIGTERM; what it writes is lost under a read-only root.
    let place = requires_image!(&format!(
        "{SERVICE}EXPOSE 9090\nCMD [\"sh\", \"-c\", \"touch /var/lib/app/db || exit 5; exec httpd -f -p 127.0.0.1:8080 -h /www\"]\n"
    ));
    let report = report(&place, 0, &[]);
    expect(
        &report,
        ("ports", "ports"),
        "warned",
        &[
            "127.0.0.1:8080 only",
            "exposes port 9090, and nothing listens",
        ],
    );
    expect(
        &report,
        ("stop", "STOPSIGNAL"),
        "warned",
        &["ignores SIGTERM", "RunInit=true"],
    );
    expect(
        &report,
        ("read-only", "read-only"),
        "warned",
        &["it writes /var/lib/app/db", "Volume=app:/var/lib/app"],
    );
    // Another user cannot write there either.
    expect(
        &report,
        ("userns", "any user"),
        "warned",
        &[
            "exit code 5",
            "/var/lib/app/db could not be written by user 12345",
        ],
    );
}

#[test]
fn a_health_check_that_cannot_turn_green_or_red_fails() {
    requires!(degree Degree::SubIds);
    let service = |health: &str| {
        format!(
            "FROM busybox\nCOPY www /www\nUSER 65532:65532\nHEALTHCHECK {health}\nCMD [\"httpd\", \"-f\", \"-p\", \"8080\", \"-h\", \"/www\"]\n"
        )
    };
    let ask = |port: u16| {
        format!("CMD [\"wget\", \"-q\", \"-O\", \"/dev/null\", \"http://127.0.0.1:{port}/\"]")
    };
    let Some(place) = built(&service(&ask(8080))) else {
        skip!("bases", "RBUILD_TEST_BASES has no busybox")
    };
    expect(
        &report(&place, 0, &["--health"]),
        ("health", ""),
        "passed",
        &[],
    );
    for (health, said) in [
        (ask(8081), "never healthy"),
        ("CMD [\"true\"]".to_owned(), "it cannot fail"),
        ("CMD [\"/no/such\"]".to_owned(), "could not be executed"),
    ] {
        let place = built(&service(&health)).unwrap();
        expect(
            &report(&place, 1, &["--health"]),
            ("health", ""),
            "failed",
            &[said],
        );
    }
    let bare = "FROM busybox AS box\nFROM scratch\nCOPY --from=box /bin/busybox /bin/busybox\nUSER 65532:65532\n\
        HEALTHCHECK CMD wget -q -O- http://127.0.0.1:8080/\nCMD [\"/bin/busybox\", \"httpd\", \"-f\", \"-p\", \"8080\"]\n";
    let place = built(bare).unwrap();
    expect(
        &report(&place, 1, &["--health"]),
        ("health", ""),
        "failed",
        &["needs the shell /bin/sh", "needs no shell"],
    );
    let none = built("FROM busybox\nUSER 65532:65532\nCMD [\"true\"]\n").unwrap();
    expect(
        &report(&none, 0, &["--health"]),
        ("health", ""),
        "skipped",
        &["has none"],
    );
}

#[test]
fn what_a_program_looked_for_becomes_the_line_that_mends_it() {
    requires!(degree Degree::SubIds);
    let image = |script: &str| {
        format!(
            "FROM busybox\nCOPY www /srv\nCOPY --chmod=0600 zone /secret\nCOPY --chown=65532:65532 zone /own\nUSER 65532:65532\n\
             CMD [\"sh\", \"-c\", \"{script}\"]\n"
        )
    };
    let all = "cat /etc/ssl/certs/ca-certificates.crt; cat /secret; git status; chown 5:5 /own; cat /conf/app.toml; \
               (echo x > /srv/data); exit 1";
    let place = requires_image!(&image(all));
    let found = report_after("20", &place, 1, &[]);
    for (said, remedy) in [
        (
            "ca-certificates.crt was looked for",
            "# rbuild:ca-certificates",
        ),
        (
            "/srv/data could not be written by user 65532 (/srv is 0:0, mode 0755)",
            "COPY --chown=65532:65532",
        ),
        ("/secret could not be read by user 65532", "--chmod=a+rX"),
        ("the program git was looked for", "COPY git"),
        ("may not change the owner of /own", "COPY --chown=UID:GID"),
    ] {
        expect(&found, ("start", "starts"), "failed", &[said, remedy]);
    }
    // A path of which nothing is known but that it is not there is named where nothing else is known.
    let said = check(&found, "start", "starts").1;
    assert!(!said.contains("app.toml was looked for"), "{said}");
    let place = built(&image("cat /conf/app.toml")).unwrap();
    let found = report_after("20", &place, 1, &[]);
    expect(
        &found,
        ("start", "starts"),
        "failed",
        &["/conf/app.toml was looked for, and is not there"],
    );
    let place = built("FROM busybox\nUSER 65532:65532\nCMD [\"/no/such\"]\n").unwrap();
    let found = report_after("20", &place, 1, &[]);
    expect(
        &found,
        ("start", "starts: /no/such"),
        "failed",
        &["could not be executed"],
    );
    expect(&found, ("missing", "what"), "failed", &["RB208"]);
    expect(&found, ("stop", "stop"), "skipped", &["not tried"]);
    // Where it does without, it is a warning.
    let place = built(
        "FROM busybox\nUSER 65532:65532\nCMD [\"sh\", \"-c\", \"cat /etc/ssl/cert.pem; true\"]\n",
    )
    .unwrap();
    expect(
        &report_after("20", &place, 0, &[]),
        ("observed", ""),
        "warned",
        &["# rbuild:ca-certificates"],
    );
}

#[test]
fn the_capabilities_that_are_needed_are_found_by_trying() {
    requires!(degree Degree::SubIds);
    let place = requires_image!(
        "FROM busybox\nEXPOSE 80\nUSER 65532:65532\nCMD [\"sh\", \"-c\", \"httpd -f -p 80\"]\n"
    );
    let report = report(&place, 1, &[]);
    expect(
        &report,
        ("start", "starts"),
        "failed",
        &["may not listen at", "PublishPort=80:8080"],
    );
    expect(
        &report,
        ("privileges", ""),
        "warned",
        &[
            "needs NET_BIND_SERVICE:",
            "AddCapability=CAP_NET_BIND_SERVICE",
        ],
    );
    expect(
        &report,
        ("ports", ""),
        "warned",
        &["port 80, below 1024", "PublishPort=80:8080"],
    );
    expect(&report, ("config", ""), "warned", &["RB401"]);
}

#[test]
fn a_time_zone_that_is_asked_for_must_be_there() {
    requires!(degree Degree::SubIds);
    let date = "USER 65532:65532\nCMD [\"date\"]\n";
    let place = requires_image!(&format!("FROM busybox\n{date}"));
    expect(
        &report_after("20", &place, 0, &[]),
        ("times", ""),
        "warned",
        &["times are UTC"],
    );
    let place = built(&format!(
        "FROM busybox\nCOPY zone /usr/share/zoneinfo/Asia/Shanghai\n{date}"
    ))
    .unwrap();
    expect(
        &report_after("20", &place, 0, &[]),
        ("times", ""),
        "passed",
        &["has time zones"],
    );
}

#[test]
fn root_inside_and_names_of_users_are_told() {
    requires!(degree Degree::SubIds);
    let place = requires_image!("FROM busybox\nCMD [\"sh\", \"-c\", \"echo x > /x\"]\n");
    // The linter's judgement of the same image is an error.
    let report = report_after("20", &place, 1, &[]);
    expect(
        &report,
        ("user", ""),
        "warned",
        &["it is root inside", "USER 65532:65532"],
    );
    expect(&report, ("accounts", ""), "failed", &["RB101"]);
    // No mount serves what is written to the root itself.
    expect(
        &report,
        ("read-only", ""),
        "failed",
        &["exit code 1", "have it write /x somewhere else"],
    );
}

#[test]
fn a_drill_is_part_of_the_report() {
    requires!(degree Degree::SubIds);
    let place = requires_image!("FROM busybox\nUSER 65532:65532\nCMD [\"true\"]\n");
    let held = report_after("20", &place, 0, &["--drill"]);
    expect(&held, ("drill", "attempts"), "passed", &["0 FAILED"]);
    let open = report_after("20", &place, 1, &["--drill", "--network", "host"]);
    expect(&open, ("drill", "attempts"), "failed", &[]);
    expect(
        &open,
        ("drill", "D26 host-abstract-socket"),
        "failed",
        &["must come to ECONNREFUSED"],
    );
}

/// Threads, signals that threads of a libc use, children, and calls by old and new names: all of it goes on as if nobody looked.
const BUSY: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
extern char **environ;
static volatile sig_atomic_t handled;
static void handle(int signal) { handled += signal == SIGRTMIN + 3; }
static void *look(void *number) {
    char path[64];
    for (long i = 0; i < 25; i++) {
        snprintf(path, sizeof path, "/none/%ld-%ld", (long) number, i);
        if (open(path, O_RDONLY) != -1 || errno != ENOENT) return (void *) 1;
    }
    return 0;
}
static void *sleeper(void *nothing) { for (;;) pause(); return nothing; }
int main(int argc, char **argv) {
    struct stat status;
    pthread_t threads[4], asleep;
    void *result;
    if (argc > 1) return access("/none/child", R_OK) == -1 ? 7 : 1;
    signal(SIGRTMIN + 3, handle);
    raise(SIGRTMIN + 3);
    if (!handled) return 2;
    for (long i = 0; i < 4; i++) pthread_create(&threads[i], 0, look, (void *) i);
    pthread_create(&asleep, 0, sleeper, 0);
    if (setuid(getuid())) return 3;
    pthread_cancel(asleep);
    pthread_join(asleep, &result);
    for (int i = 0; i < 4; i++) { pthread_join(threads[i], &result); if (result) return 4; }
    char *words[] = { argv[0], "child", 0 };
    pid_t child;
    int ended;
    if (posix_spawn(&child, argv[0], 0, 0, words, environ) || waitpid(child, &ended, 0) != child) return 5;
    if (WEXITSTATUS(ended) != 7) return 6;
    if (!(child = fork())) { raise(SIGSTOP); _exit(8); }
    if (waitpid(child, &ended, WUNTRACED) != child || !WIFSTOPPED(ended)) return 8;
    kill(child, SIGCONT);
    if (waitpid(child, &ended, 0) != child || WEXITSTATUS(ended) != 8) return 9;
    if (stat("/none/last", &status) != -1) return 10;
    return access("/fail", F_OK) ? 0 : 11;
}
"#;

#[test]
fn a_program_from_scratch_with_threads_and_children_runs_under_observation_as_alone() {
    requires!(degree Degree::SubIds);
    requires!(program "gcc");
    let place = Place::new();
    place.write("busy.c", BUSY);
    let compile = std::process::Command::new("gcc")
        .current_dir(place.context())
        .args(["-O1", "-static", "-pthread", "-o", "busy", "busy.c"])
        .output()
        .expect("gcc");
    if !compile.status.success() {
        skip!("static-libc", "gcc -static fails here");
    }
    for (more, code) in [("", 0), ("COPY busy.c /fail\n", 1)] {
        let text =
            format!("FROM scratch\nCOPY busy /busy\n{more}USER 65532:65532\nCMD [\"/busy\"]\n");
        place.build(&text, &["--network", "none", "--no-lint", "-t", "box"]);
        let report = report_after("20", &place, code, &[]);
        let verdict = if code == 0 { "passed" } else { "failed" };
        expect(&report, ("start", "starts"), verdict, &[]);
        if code == 1 {
            // Of the thread, of the child, and the last of all.
            expect(
                &report,
                ("start", "starts"),
                verdict,
                &["exit code 11", "/none/last was looked for"],
            );
        }
    }
}
