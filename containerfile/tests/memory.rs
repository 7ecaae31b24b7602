//! What large files take: a process of its own, since the peak is the process's.

use std::fmt::Write as _;
use std::fs;

use rbuild_containerfile as containerfile;

use containerfile::{Source, lint};

/// proc(5): what is resident (`VmRSS`), or was at most (`VmHWM`), in kibibytes.
fn memory(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("proc");
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let number = line.and_then(|line| line.trim_start_matches(':').split_whitespace().next());
    number.and_then(|text| text.parse().ok()).expect("a number")
}

/// What linting a text takes beside what the process has before.
fn most(text: String) -> u64 {
    // proc(5): 5 forgets the peak.
    fs::write("/proc/self/clear_refs", "5").expect("proc");
    let before = memory("VmRSS");
    let source = Source::new("Containerfile", text);
    let report = lint::lint(&source, &lint::Options::default());
    assert!(report.findings.len() <= 1001);
    memory("VmHWM") - before
}

/// Trees that held copies of their text took twice as much, and findings that were not bounded on their way three times as much.
#[test]
fn a_file_of_100_000_lines_is_linted_in_less_than_50_mb() {
    let mut text = String::with_capacity(4 << 20);
    text.push_str("FROM docker.io/library/debian:13\nENV LANG=C.UTF-8\n");
    for number in 0..33_333 {
        let _ = writeln!(
            text,
            "ENV A{number}=$LANG\nCOPY a{number} /srv/\nRUN make {number} && echo \"$HOME\""
        );
    }
    let large = most(text);
    assert!(large < 44_000, "{large} kB");
    let wrong = "ENV a b\nRUN apt-get install x | sudo curl http://a.example/b > c; cd d\n";
    let many = most(format!("FROM debian\n{}", wrong.repeat(5_000)));
    assert!(many < 8_000, "{many} kB");
}
