//! F02: signals end a build in order, and leave nothing running.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Place, binary};

fn signal(child: &Child, name: &str) {
    let status = Command::new("kill")
        .args([&format!("-{name}"), &child.id().to_string()])
        .status()
        .expect("kill starts");
    assert!(status.success());
}

/// A build whose RUN sleeps; returned when the step runs.
fn sleeping_build(place: &Place, base: &std::path::Path, word: &str) -> Child {
    place.write(
        "Containerfile",
        format!("FROM busybox\nRUN sleep {word}\nUSER 1:1\n"),
    );
    let child = Command::new(binary())
        .args([
            "build",
            "--progress",
            "plain",
            "--network",
            "none",
            "--build-context",
        ])
        .arg(format!("busybox=oci-layout:{}", base.display()))
        .arg(".")
        .current_dir(place.context())
        .env("RBUILD_ROOT", place.store())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let deadline = Instant::now() + Duration::from_secs(60);
    while !runs(word) {
        assert!(Instant::now() < deadline, "the step does not start");
        std::thread::sleep(Duration::from_millis(20));
    }
    child
}

/// Whether a process `sleep WORD` is there.
fn runs(word: &str) -> bool {
    let processes = std::fs::read_dir("/proc").expect("/proc").flatten();
    let wanted = format!("sleep\0{word}\0");
    processes.into_iter().any(|process| {
        std::fs::read(process.path().join("cmdline")).is_ok_and(|line| line == wanted.as_bytes())
    })
}

fn ends_with(mut child: Child, word: &str, code: i32) {
    let started = Instant::now();
    let status = loop {
        match child.try_wait().expect("it can be waited for") {
            Some(status) => break status,
            None => assert!(started.elapsed() < Duration::from_secs(10), "it goes on"),
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let mut stderr = String::new();
    std::io::Read::read_to_string(child.stderr.as_mut().expect("a pipe"), &mut stderr)
        .expect("its text");
    assert_eq!(status.code(), Some(code), "{stderr}");
    assert!(stderr.contains("interrupted by"), "{stderr}");
    assert!(!runs(word), "the step's program goes on");
}

#[test]
fn f02_the_first_signal_ends_the_build_in_order() {
    requires!(execution);
    let base = requires!(base "busybox");
    for (name, code, word) in [
        ("INT", 130, "301.25"),
        ("TERM", 143, "302.25"),
        ("HUP", 129, "303.25"),
    ] {
        let place = Place::new();
        let child = sleeping_build(&place, &base, word);
        signal(&child, name);
        ends_with(child, word, code);
        place.expect(0, &["images"]);
    }
}

#[test]
fn f01_a_killed_build_leaves_no_process() {
    requires!(execution);
    let base = requires!(base "busybox");
    let place = Place::new();
    let mut child = sleeping_build(&place, &base, "304.25");
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
    let deadline = Instant::now() + Duration::from_secs(5);
    while runs("304.25") {
        assert!(Instant::now() < deadline, "the step's program goes on");
        std::thread::sleep(Duration::from_millis(20));
    }
    place.expect(0, &["images"]);
}

#[test]
fn ctrl_c_in_unshare_is_the_commands_affair() {
    requires!(execution);
    requires!(program "script");
    let place = Place::new();
    let inside = "trap 'echo caught; exit 5' INT; echo ready; while :; do sleep 0.05; done";
    // The shell that script(1) starts would die of the Ctrl-C that it gets too.
    let line = format!("exec {} unshare sh -c \"{inside}\"", binary().display());
    let mut child = Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .env("RBUILD_ROOT", place.store())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script starts");
    let mut terminal = child.stdout.take().expect("a pipe");
    let mut shown = Vec::new();
    let mut buffer = [0; 1024];
    while !shown.windows(5).any(|part| part == b"ready") {
        let read = std::io::Read::read(&mut terminal, &mut buffer).expect("its output");
        assert!(read > 0, "it ended: {}", String::from_utf8_lossy(&shown));
        shown.extend(&buffer[..read]);
    }
    std::io::Write::write_all(child.stdin.as_mut().expect("a pipe"), b"\x03").expect("Ctrl-C");
    let status = child.wait().expect("it ends");
    std::io::Read::read_to_end(&mut terminal, &mut shown).expect("its output");
    assert_eq!(
        status.code(),
        Some(5),
        "{}",
        String::from_utf8_lossy(&shown)
    );
}
