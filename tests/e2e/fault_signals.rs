//! F01, F02: death and signals at every phase of a build.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::fault_oracle::{Running, Scene, children, signal};
use crate::hostile_layout::{Layout, tar};

/// What the slow phases work on: mostly a hole, so that it costs no disk.
const LARGE: u64 = 3 << 30;

fn large_file(path: &Path) {
    let file = fs::File::create(path).expect("a file");
    file.set_len(LARGE).expect("its size");
}

/// Whether something of that size is being written in the store's temporary directory.
fn writes_more_than(store: &Path, size: u64) -> bool {
    let leases = fs::read_dir(store.join("tmp"))
        .into_iter()
        .flatten()
        .flatten();
    leases
        .flat_map(|lease| fs::read_dir(lease.path()).into_iter().flatten().flatten())
        .any(|file| file.metadata().is_ok_and(|meta| meta.len() > size))
}

/// Ends within seconds, with 128 + n and one error, and nothing is left, before anything else is done.
fn ends_in_order(scene: &Scene, running: Running, code: i32) {
    let ended = running.end(Duration::from_secs(20));
    ended.failed(code, &["interrupted by SIG"]);
    assert!(
        ended.took < Duration::from_secs(5),
        "it took {:?}",
        ended.took
    );
    scene.is_clean();
}

#[test]
fn f02_a_signal_during_run_ends_everything() {
    requires!(execution);
    let base = requires!(base "busybox");
    for (name, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        let scene = Scene::with_run(base.clone());
        let good = fs::read_to_string(scene.place.context().join("Containerfile")).expect("it");
        // A program that ignores signals, in the middle of the build.
        let sleeping = format!(
            "{good}USER 0\nRUN trap '' INT TERM HUP; sleep {} ; sleep 1\nUSER 1:1\n",
            scene.word()
        );
        scene.place.write("Containerfile", sleeping);
        let mut running = scene.start(&[]);
        running.until("the step", |running| running.step_runs("sleep"));
        running.signal(name);
        ends_in_order(&scene, running, code);
        scene.place.write("Containerfile", good);
        scene.recovers();
    }
}

#[test]
fn f02_a_second_signal_ends_the_build_at_once() {
    requires!(execution);
    let base = requires!(base "busybox");
    let scene = Scene::with_run(base);
    let good = fs::read_to_string(scene.place.context().join("Containerfile")).expect("it");
    scene.place.write(
        "Containerfile",
        format!("{good}USER 0\nRUN sleep {}\nUSER 1:1\n", scene.word()),
    );
    let mut running = scene.start(&[]);
    running.until("the step", |running| running.step_runs("sleep"));
    running.signal("INT");
    running.signal("INT");
    let ended = running.end(Duration::from_secs(10));
    assert!(!ended.status.success());
    scene.place.write("Containerfile", good);
    scene.recovers();
}

#[test]
fn f02_a_signal_during_copy_of_a_large_file_into_a_layer() {
    let scene = Scene::copy_only();
    let good = fs::read_to_string(scene.place.context().join("Containerfile")).expect("it");
    large_file(&scene.place.context().join("large"));
    scene
        .place
        .write("Containerfile", "FROM scratch\nCOPY large /\nUSER 1:1\n");
    let mut running = scene.start(&[]);
    let store = scene.place.store();
    running.until("the copy", |_| writes_more_than(&store, 1 << 20));
    running.signal("INT");
    ends_in_order(&scene, running, 130);
    fs::remove_file(scene.place.context().join("large")).expect("it goes");
    scene.place.write("Containerfile", good);
    scene.recovers();
}

#[test]
fn f02_a_signal_during_copy_of_a_large_file_into_a_tree() {
    requires!(execution);
    let base = requires!(base "busybox");
    let scene = Scene::with_run(base);
    let good = fs::read_to_string(scene.place.context().join("Containerfile")).expect("it");
    // Not only holes: those are not copied.
    let path = scene.place.context().join("large");
    let block = vec![7; 1 << 20];
    let mut file = fs::File::create(&path).expect("a file");
    for _ in 0..600 {
        std::io::Write::write_all(&mut file, &block).expect("its content");
    }
    scene.place.write(
        "Containerfile",
        "FROM busybox\nRUN true\nCOPY large /\nRUN true\nUSER 1:1\n",
    );
    let mut running = scene.start(&[]);
    running.until("the session", |running| running.processes().len() > 2);
    std::thread::sleep(Duration::from_millis(150));
    running.signal("TERM");
    ends_in_order(&scene, running, 143);
    fs::remove_file(path).expect("it goes");
    scene.place.write("Containerfile", good);
    scene.recovers();
}

#[test]
fn f02_a_signal_during_import_and_during_export_of_a_large_layer() {
    let scene = Scene::copy_only();
    let good = fs::read_to_string(scene.place.context().join("Containerfile")).expect("it");
    let layout = Layout::new(&scene.place.path().join("large-base"));
    let tar_of_zeros = scene.place.path().join("large.tar");
    tar::large_file(&tar_of_zeros, "large", 1 << 30);
    layout.image_of_layer_file(&tar_of_zeros);
    let context = format!("large=oci-layout:{}", layout.path().display());
    scene
        .place
        .write("Containerfile", "FROM large\nCOPY data /data\nUSER 1:1\n");
    let store = scene.place.store();

    let mut running = scene.start(&["--build-context", &context]);
    running.until("the import", |_| writes_more_than(&store, 1 << 20));
    running.signal("INT");
    ends_in_order(&scene, running, 130);

    assert!(scene.build(&["--build-context", &context]).status.success());
    let out = scene.place.path().join("out");
    let to = format!("type=oci,dest={}", out.display());
    let mut running = scene.start(&["--build-context", &context, "-o", &to]);
    running.until("the export", |_| {
        writes_more_than(&store, 100_000)
            || fs::read_dir(out.join("blobs/sha256")).is_ok_and(|mut blobs| blobs.next().is_some())
    });
    running.signal("INT");
    ends_in_order(&scene, running, 130);
    let left: Vec<_> = fs::read_dir(out.join("blobs/sha256"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name())
        .filter(|name| name.as_encoded_bytes().starts_with(b"."))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    scene.place.write("Containerfile", good);
    scene.place.expect(0, &["prune", "--all"]);
    scene.recovers();
}

#[test]
fn f02_a_signal_during_a_pull_that_hangs() {
    let scene = Scene::copy_only();
    let good = fs::read_to_string(scene.place.context().join("Containerfile")).expect("it");
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let host = silent.local_addr().expect("its address").to_string();
    scene
        .place
        .write("Containerfile", format!("FROM {host}/x\nUSER 1:1\n"));
    let running = scene.start(&["--insecure-registry", &host]);
    let (_connection, _) = silent.accept().expect("the registry is asked");
    std::thread::sleep(Duration::from_millis(100));
    running.signal("INT");
    ends_in_order(&scene, running, 130);
    scene.place.write("Containerfile", good);
    scene.recovers();
}

/// Kills one of a build's processes after a while; says whether the build got to its end before.
fn kill_after(scene: &Scene, delay: Duration, victim: impl Fn(&Running) -> Option<u32>) -> bool {
    let running = scene.start(&["--no-cache"]);
    std::thread::sleep(delay);
    let pid = victim(&running);
    if let Some(pid) = pid {
        signal(pid, "KILL");
    }
    let ended = running.end(Duration::from_secs(20));
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    if let (Some(code), false) = (ended.status.code(), ended.status.success()) {
        // The main process lived on: it says what it lost.
        assert!(code < 128, "exit code {code}\n{}", ended.stderr);
        assert!(
            ended.stderr.contains("error"),
            "no error:\n{}",
            ended.stderr
        );
    }
    ended.status.success()
}

/// How long an undisturbed build takes.
fn duration_of(scene: &Scene) -> Duration {
    let started = Instant::now();
    assert!(scene.build(&["--no-cache"]).status.success());
    started.elapsed()
}

#[test]
fn f01_death_of_the_main_process_at_random_moments() {
    requires!(execution);
    let base = requires!(base "busybox");
    let scene = Scene::with_run(base);
    let whole = duration_of(&scene);
    for round in 0..20 {
        kill_after(&scene, whole * round / 20, |running| Some(running.pid()));
        scene.place.expect(0, &["images"]);
    }
    scene.recovers();
}

#[test]
fn f03_death_of_the_waiting_process_and_of_the_session() {
    requires!(execution);
    let base = requires!(base "busybox");
    let scene = Scene::with_run(base);
    let whole = duration_of(&scene);
    for round in 0..20 {
        // The main process's child waits for the session, its child.
        let generation = round % 2;
        kill_after(&scene, whole * round / 20, |running| {
            let waiter = children(running.pid()).first().copied();
            match generation {
                0 => waiter,
                _ => waiter.and_then(|waiter| children(waiter).first().copied()),
            }
        });
    }
    scene.recovers();
}

/// Every death at the n-th call of a kind, until the build gets to its end undisturbed.
fn sweep(scene: &Scene, call: &str, step: usize) {
    let started = Instant::now();
    let mut deaths = 0;
    for when in (1..).step_by(step) {
        let inject = format!("inject={call}:signal=SIGKILL:when={when}");
        let mut args = scene.args();
        args.insert(1, "--no-cache".into());
        let strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e"];
        let command = scene.command_after(&[&strace[..], &[inject.as_str()]].concat(), &args);
        let ended = Running::spawn(command, scene.word()).end(Duration::from_secs(60));
        if ended.status.success() {
            break;
        }
        deaths += 1;
        assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
        scene.place.expect(0, &["images"]);
        assert!(
            started.elapsed() < Duration::from_secs(90),
            "{call} has no end: {when}"
        );
    }
    assert!(deaths > 0, "nothing was injected into {call}");
    scene.recovers();
}

#[test]
fn f01_death_at_every_rename_of_a_build_that_copies() {
    requires!(program "strace");
    sweep(&Scene::copy_only(), "rename,renameat,renameat2", 1);
}

#[test]
fn f01_death_at_every_rename_of_a_build_that_runs() {
    requires!(program "strace");
    requires!(execution);
    let base = requires!(base "busybox");
    // Under ptrace newuidmap has no privilege, unless root traces.
    requires!(degree crate::support::Degree::Root);
    sweep(&Scene::with_run(base), "rename,renameat,renameat2", 2);
}
