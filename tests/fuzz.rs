//! The fuzz targets of fuzz/, bounded: mutations of the corpus, drawn from a seed, for a few seconds each.
//!
//! Invariant: the seed alone decides which inputs are tried, and a failure names seed, round and input, so that it can be tried
//! again. `RBUILD_FUZZ_SEED` sets the seed, `RBUILD_FUZZ_SECONDS` the time for each target.
#![expect(
    clippy::print_stderr,
    reason = "the seed and the number of rounds must be seen"
)]
#![forbid(unsafe_code)]

#[expect(
    unreachable_pub,
    reason = "it is also a module of the library that the fuzz targets use"
)]
#[path = "../fuzz/src/archive.rs"]
mod archive;
#[expect(
    unreachable_pub,
    reason = "it is also a module of the library that the fuzz targets use"
)]
#[path = "../fuzz/src/closure.rs"]
mod closure;
#[expect(
    unreachable_pub,
    reason = "it is also a module of the library that the fuzz targets use"
)]
#[path = "../fuzz/src/language.rs"]
mod language;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// A single input that takes longer is a hang: all are small, and the slowest takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// No input is larger, so that no target needs much memory either.
const LARGEST: usize = 16 << 10;

/// The peak memory of this process, in KiB: what is allocated for an input is in proportion to it.
const MOST_MEMORY: u64 = 400 << 10;

fn setting(name: &str, default: u64) -> u64 {
    let given = std::env::var(name).ok();
    given.map_or(default, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is a number"))
    })
}

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// xorshift64*: the same numbers on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let value = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(value).expect("31 bits") % limit.max(1)
    }
}

/// The corpus of a target, in the order of its names.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(directory().join("corpus").join(target)).expect("a corpus");
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    let inputs: Vec<Vec<u8>> = paths
        .into_iter()
        .map(|path| fs::read(path).expect("a file"))
        .collect();
    assert!(!inputs.is_empty());
    inputs
}

/// A dictionary in libFuzzer's form: `"text with \x00"` on a line.
fn words(target: &str) -> Vec<Vec<u8>> {
    let text = fs::read_to_string(directory().join("words").join(target)).expect("a dictionary");
    let lines = text.lines().filter(|line| line.starts_with('"'));
    lines
        .map(|line| unescaped(line.trim_matches('"')))
        .collect()
}

fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match (byte, byte == b'\\') {
            (_, true) => match rest.next() {
                Some(b'x') => {
                    let digits = [rest.next(), rest.next()].map(|digit| digit.expect("two digits"));
                    let digits = std::str::from_utf8(&digits).expect("hexadecimal digits");
                    bytes.push(u8::from_str_radix(digits, 16).expect("hexadecimal digits"));
                }
                other => bytes.extend(other),
            },
            (byte, false) => bytes.push(byte),
        }
    }
    bytes
}

/// Changes an input in one to five places.
fn mutate(input: &mut Vec<u8>, inputs: &[Vec<u8>], words: &[Vec<u8>], random: &mut Random) {
    for _ in 0..=random.below(5) {
        let at = random.below(input.len() + 1);
        let end = (at + 1 + random.below(24)).min(input.len());
        match random.below(8) {
            0 => drop(input.drain(at..end)),
            1 => {
                let copied = input[at..end].to_vec();
                let to = random.below(input.len() + 1);
                drop(input.splice(to..to, copied));
            }
            2 if at < input.len() => input[at] ^= 1 << random.below(8),
            3 if at < input.len() => input[at] = [0, b' ', b'\n', 0x7f, 0xff][random.below(5)],
            4 => {
                let other = &inputs[random.below(inputs.len())];
                let from = random.below(other.len() + 1);
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            5 if at < input.len() => {
                // Over what is there: lengths and offsets behind it stay as they are.
                for (place, byte) in input[at..]
                    .iter_mut()
                    .zip(&words[random.below(words.len())])
                {
                    *place = *byte;
                }
            }
            _ => drop(input.splice(at..at, words[random.below(words.len())].iter().copied())),
        }
    }
    input.truncate(LARGEST);
}

/// Tries inputs until the time is over, and reports each before and after.
fn rounds(
    target: &str,
    seed: u64,
    time: Duration,
    run: fn(&[u8]),
    report: &mpsc::Sender<Vec<u8>>,
) -> u64 {
    let (inputs, words) = (corpus(target), words(target));
    let mut random = Random(seed);
    let start = Instant::now();
    let mut round = 0;
    while start.elapsed() < time {
        let index = usize::try_from(round).unwrap_or(usize::MAX);
        let mut input = inputs
            .get(index)
            .cloned()
            .unwrap_or_else(|| inputs[random.below(inputs.len())].clone());
        if index >= inputs.len() {
            mutate(&mut input, &inputs, &words, &mut random);
        }
        let _ = report.send(input.clone());
        if catch_unwind(AssertUnwindSafe(|| run(&input))).is_err() {
            panic!(
                "{target}: seed {seed}, round {round}: b\"{}\"",
                input.escape_ascii()
            );
        }
        round += 1;
    }
    round
}

fn fuzz(target: &'static str, run: fn(&[u8])) {
    let seed = setting("RBUILD_FUZZ_SEED", 0x5EED_CAFE).max(1);
    let time = Duration::from_secs(setting("RBUILD_FUZZ_SECONDS", 2));
    let (report, reports) = mpsc::channel();
    let worker = thread::spawn(move || rounds(target, seed, time, run, &report));
    let mut latest = Vec::new();
    loop {
        match reports.recv_timeout(PATIENCE) {
            Ok(input) => latest = input,
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                panic!(
                    "{target}: seed {seed} hangs on b\"{}\"",
                    latest.escape_ascii()
                )
            }
        }
    }
    match worker.join() {
        Ok(rounds) => eprintln!("{target}: {rounds} inputs from seed {seed}"),
        Err(panic) => std::panic::resume_unwind(panic),
    }
    let peak = peak_memory();
    assert!(
        peak < MOST_MEMORY,
        "{target}: {peak} KiB of memory, seed {seed}"
    );
}

fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("proc");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .expect("a peak");
    let number = line.split_whitespace().next().expect("a number");
    number.parse().expect("a number")
}

#[test]
fn s30_containerfiles_from_anywhere_end_in_findings() {
    fuzz("containerfile", language::containerfile);
}

#[test]
fn whatever_the_linter_reads() {
    fuzz("lint", language::linter);
}

#[test]
fn whatever_a_unit_of_quadlet_says() {
    fuzz("unit", language::unit);
}

/// libFuzzer's programs are not built here; what they call is.
#[test]
fn every_target_is_built_documented_fed_and_run_here() {
    let fuzz = directory();
    let read = |name: &str| fs::read_to_string(fuzz.join(name)).expect("a file");
    let (manifest, readme, here) = (
        read("Cargo.toml"),
        read("README.md"),
        include_str!("fuzz.rs"),
    );
    let mut targets = 0;
    for entry in fs::read_dir(fuzz.join("targets")).expect("targets") {
        let path = entry.expect("a target").path();
        let name = path.file_stem().expect("a name").to_string_lossy();
        let called = read(&format!("targets/{name}.rs"));
        let called = called.split("rbuild_fuzz::").nth(2).expect("a call");
        let called = called.split('(').next().expect("a function");
        assert!(manifest.contains(&format!("name = \"{name}\"\npath = \"targets/{name}.rs\"")));
        assert!(readme.contains(&format!("| `{name}` |")), "{name}");
        assert!(
            here.contains(&format!("fuzz(\"{name}\", {called});")),
            "{name}: {called}"
        );
        for kind in ["corpus", "words"] {
            let fed = fs::metadata(fuzz.join(kind).join(&*name));
            assert!(fed.is_ok(), "{name} has no {kind}");
        }
        targets += 1;
    }
    assert!(targets >= 7);
}

#[test]
fn s30_words_from_anywhere_have_a_value_or_an_error() {
    fuzz("expand", language::expand);
}

#[test]
fn s30_ignore_files_from_anywhere_answer_the_same_both_ways() {
    fuzz("ignore", language::ignore);
}

#[test]
fn s04_archives_from_anywhere_are_read_or_refused() {
    fuzz("archive", archive::archive);
}

#[test]
fn s04_programs_and_caches_from_anywhere_are_read_or_refused() {
    fuzz("closure", closure::closure);
}
