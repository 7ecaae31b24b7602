//! F09, F45 and the bound on memory: limits of the process, and outputs that end early.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use crate::fault_oracle::{Running, Scene};
use crate::support::{Degree, degree};

/// The "Peak memory of any build under 100 MB, whatever the size of the context".
const PEAK: u64 = 100_000;

fn under_limit(scene: &Scene, limit: &str) -> bool {
    let mut args = scene.args();
    args.insert(1, "--no-cache".into());
    let command = scene.command_after(&["prlimit", limit], &args);
    let ended = Running::spawn(command, scene.word()).end(Duration::from_secs(30));
    assert!(
        !ended.stderr.contains("panicked"),
        "{limit}: {}",
        ended.stderr
    );
    if !ended.status.success() {
        let code = ended.status.code();
        assert!(
            matches!(code, Some(1 | 3 | 127)),
            "{limit}: {:?}: {}",
            ended.status,
            ended.stderr
        );
        let said = ended
            .stderr
            .lines()
            .filter(|line| line.starts_with("error") || line.contains("prlimit"))
            .count();
        assert_eq!(said, 1, "{limit}: {}", ended.stderr);
    }
    // What cannot be removed without descriptors goes with the next build.
    ended.status.success()
}

#[test]
fn f09_few_descriptors_in_a_build_that_copies() {
    requires!(program "prlimit");
    let scene = Scene::copy_only();
    let enough = (4..80).find(|count| under_limit(&scene, &format!("--nofile={count}")));
    assert!(enough.is_some_and(|count| count > 4), "{enough:?}");
    scene.recovers();
}

#[test]
fn f09_few_descriptors_in_a_build_that_runs() {
    requires!(program "prlimit");
    requires!(execution);
    let base = requires!(base "busybox");
    let scene = Scene::with_run(base);
    let enough = (4..100)
        .step_by(3)
        .find(|count| under_limit(&scene, &format!("--nofile={count}")));
    assert!(enough.is_some(), "100 descriptors are not enough");
    scene.recovers();
}

#[test]
fn f09_few_processes() {
    requires!(program "prlimit");
    requires!(execution);
    let base = requires!(base "busybox");
    if degree() == Degree::Root {
        skip!("degree", "the limit does not bind root");
    }
    let scene = Scene::with_run(base);
    assert!(!under_limit(&scene, "--nproc=1"));
    scene.recovers();
}

#[test]
fn f09_little_memory() {
    requires!(program "prlimit");
    let scene = Scene::copy_only();
    for megabytes in [8, 16, 32, 64] {
        let mut args = scene.args();
        args.insert(1, "--no-cache".into());
        let limit = format!("--as={}", megabytes << 20);
        let command = scene.command_after(&["prlimit", &limit], &args);
        // A failed allocation ends the program at once; what it left is the oracle's.
        Running::spawn(command, scene.word()).end(Duration::from_secs(30));
    }
    scene.recovers();
}

/// The largest resident set of any process of a build, in kilobytes.
fn peak_of(scene: &Scene, file: &str) -> u64 {
    let mut running = scene.start(&["-f", file]);
    let mut peak = 0;
    let mut tick = || {
        for process in running.processes() {
            let pid = process.split(' ').next().unwrap_or_default();
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let high = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let high = high.and_then(|text| text.trim().trim_end_matches(" kB").parse().ok());
            peak = peak.max(high.unwrap_or(0));
        }
        running.is_over()
    };
    while !tick() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let ended = running.end(Duration::from_secs(10));
    assert!(ended.status.success(), "{}", ended.stderr);
    peak
}

#[test]
fn the_peak_memory_does_not_depend_on_the_size_of_the_context() {
    let copies = Scene::copy_only();
    let large = |scene: &Scene| {
        let file = fs::File::create(scene.place.context().join("large")).expect("a file");
        file.set_len(1 << 30).expect("its size");
    };
    large(&copies);
    copies
        .place
        .write("Large", "FROM scratch\nCOPY large /\nUSER 1:1\n");
    let peak = peak_of(&copies, "Large");
    assert!(peak > 0 && peak < PEAK, "{peak} kB");
    for name in ["large", "Large"] {
        fs::remove_file(copies.place.context().join(name)).expect("it goes");
    }
    copies.place.expect(0, &["prune", "--all"]);
    copies.recovers();

    requires!(execution);
    let base = requires!(base "busybox");
    let scene = Scene::with_run(base);
    large(&scene);
    scene.place.write(
        "Large",
        "FROM busybox\nRUN true\nCOPY large /\nRUN cp /large /two\nUSER 1:1\n",
    );
    let peak = peak_of(&scene, "Large");
    assert!(peak > 0 && peak < PEAK, "{peak} kB");
    for name in ["large", "Large"] {
        fs::remove_file(scene.place.context().join(name)).expect("it goes");
    }
    scene.place.expect(0, &["prune", "--all"]);
    scene.recovers();
}

#[test]
fn the_peak_memory_does_not_depend_on_the_number_of_files() {
    /// What a list keeps in memory before it goes to the disk is reached at 24,000 files; a build that kept all took 16 MB more.
    const GROWTH: u64 = 9_000;
    // It takes its time, and is about the builder alone.
    requires!(degree Degree::SubIds);
    let scene = Scene::copy_only();
    scene.place.write(
        "Many",
        "FROM scratch AS a\nCOPY many /d\nFROM scratch\nCOPY --from=a /d /e\nUSER 1:1\n",
    );
    let many = scene.place.context().join("many");
    let mut peaks = Vec::new();
    for (from, until) in [(0, 25_000), (25_000, 65_000)] {
        for number in from..until {
            let directory = many.join((number / 1000).to_string());
            if number % 1000 == 0 {
                fs::create_dir_all(&directory).expect("a directory");
            }
            fs::write(directory.join(format!("file-{number}")), "x").expect("a file");
        }
        peaks.push(peak_of(&scene, "Many"));
    }
    assert!(peaks[0] > 0 && peaks[1] < peaks[0] + GROWTH, "{peaks:?} kB");
}

#[test]
fn f45_outputs_that_are_closed_or_full() {
    let scene = Scene::copy_only();
    let full = || {
        fs::File::options()
            .write(true)
            .open("/dev/full")
            .expect("/dev/full")
    };
    // Nobody sees the progress: the build goes on.
    let mut command = scene.command(&scene.args());
    command.stderr(full());
    let ended = Running::spawn(command, scene.word()).end(Duration::from_secs(30));
    assert!(
        ended.status.success() && ended.stdout.starts_with("sha256:"),
        "{ended:?}"
    );
    // Nobody gets the result: that is an error.
    let mut args = scene.args();
    args.splice(1..1, ["-o", "type=tar,dest=-"].map(str::to_owned));
    for args in [&scene.args(), &args] {
        let mut command = scene.command(args);
        command.stdout(full());
        let ended = Running::spawn(command, scene.word()).end(Duration::from_secs(30));
        ended.failed(1, &["No space left"]);
    }
    // A reader that goes away after a line.
    let mut command = scene.command(&args);
    command.stdout(Stdio::piped());
    let ended = Running::spawn(command, scene.word()).end_without_reader(Duration::from_secs(30));
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    assert!(ended.status.code().is_some(), "{:?}", ended.status);
    scene.recovers();
}
