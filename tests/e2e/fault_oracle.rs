//! The oracle of the fault tests (reliability.md, section 3): what must hold after every fault, whatever it was. The invariant:
//! each fault test ends with [`Scene::recovers`]; a fault is survived only when nothing of it is left and the next build is the
//! one that would have been made without it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use image::Digest;

use crate::support::{Place, binary};

/// Every image of these tests is made at this time.
pub(crate) const EPOCH: &str = "1700000000";

/// A build that faults are put into.
pub(crate) struct Scene {
    pub(crate) place: Place,
    base: Option<PathBuf>,
    /// In the argument list of every step's program, so that what is left running is found.
    word: String,
}

/// What an undisturbed build of a scene makes.
struct Undisturbed {
    id: String,
    pruned: BTreeSet<String>,
}

impl Scene {
    /// A build with stages, COPY and RUN on `base`.
    pub(crate) fn with_run(base: PathBuf) -> Self {
        let scene = Self::new(Some(base));
        scene.place.write(
            "Containerfile",
            format!(
                "FROM busybox AS make\nRUN echo {} > /made; ln -s made /link; rm -r /work\nWORKDIR /srv/deep\nCOPY data/ ./\n\
                 RUN chown 7:8 /srv/deep/a; chmod 4711 /srv/deep/a\nFROM busybox\nCOPY --from=make /srv /srv\nRUN test -u /srv/deep/a\n\
                 USER 1:1\n",
                scene.word
            ),
        );
        scene
    }

    /// A build that only copies, on nothing.
    pub(crate) fn copy_only() -> Self {
        let scene = Self::new(None);
        scene.place.write(
            "Containerfile",
            "FROM scratch AS a\nCOPY data/ /srv/\nFROM scratch\nCOPY --from=a /srv /out\nCOPY data/a /b\nUSER 1:1\n",
        );
        scene
    }

    fn new(base: Option<PathBuf>) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let place = Place::new();
        for name in ["a", "b", "c/d"] {
            place.write(&format!("data/{name}"), name.repeat(5000));
        }
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let word = format!("{}{number:03}", 1_000_000 + std::process::id());
        Self { place, base, word }
    }

    /// The number that marks this scene's processes.
    pub(crate) fn word(&self) -> &str {
        &self.word
    }

    /// The arguments of a build of the scene.
    pub(crate) fn args(&self) -> Vec<String> {
        let mut args: Vec<String> = ["build", "--progress", "plain", "--network", "none"]
            .map(str::to_owned)
            .to_vec();
        if let Some(base) = &self.base {
            args.push("--build-context".into());
            args.push(format!("busybox=oci-layout:{}", base.display()));
        }
        args.push(".".into());
        args
    }

    /// A process of rbuild that starts a session (setsid(2)) of its own, by which its descendants are known.
    pub(crate) fn command(&self, args: &[String]) -> Command {
        self.command_after(&[], args)
    }

    /// The same behind other programs, each of which executes the next.
    pub(crate) fn command_after(&self, before: &[&str], args: &[String]) -> Command {
        let mut command = Command::new("setsid");
        command.args(before).arg(binary()).args(args);
        self.environment(&mut command);
        command
    }

    fn environment(&self, command: &mut Command) {
        command
            .current_dir(self.place.context())
            .env("RBUILD_ROOT", self.place.store())
            .env("HOME", self.place.path())
            .env("SOURCE_DATE_EPOCH", EPOCH)
            .env_remove("XDG_DATA_HOME")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
    }

    /// Starts a build with more arguments.
    pub(crate) fn start(&self, more: &[&str]) -> Running {
        let mut args = self.args();
        let last = args.len() - 1;
        args.splice(last..last, more.iter().map(|arg| (*arg).to_owned()));
        Running::spawn(self.command(&args), &self.word)
    }

    /// Builds, to the end.
    pub(crate) fn build(&self, more: &[&str]) -> Ended {
        self.start(more).end(Duration::from_secs(120))
    }

    /// The oracle. Must be the last thing that a fault test does.
    pub(crate) fn recovers(&self) {
        let undisturbed = self.undisturbed();
        // (a) and (c): the next commands work, with what is cached and without.
        self.place.expect(0, &["images"]);
        for more in [&[][..], &["--no-cache"]] {
            let ended = self.build(more);
            assert!(
                ended.status.success(),
                "the next build {more:?} fails:\n{}",
                ended.stderr
            );
            assert_eq!(
                ended.stdout.trim(),
                undisturbed.id,
                "the next build {more:?} makes another image"
            );
        }
        // (b): what has a digest as its name has that digest.
        assert_blobs_are_whole(&self.place.store());
        // (d): nothing is left of anybody.
        self.is_clean();
        // (e): after pruning the store is like a fresh one.
        self.place.expect(0, &["prune", "--all"]);
        let pruned = listing(&self.place.store());
        assert_eq!(pruned, undisturbed.pruned, "left after prune --all");
    }

    /// No process, mount, lock, or temporary file.
    pub(crate) fn is_clean(&self) {
        let store = self.place.store();
        let deadline = Instant::now() + Duration::from_secs(5);
        while let Some(line) = process_with(&self.word) {
            assert!(Instant::now() < deadline, "a process is left: {line}");
            std::thread::sleep(Duration::from_millis(20));
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("the mounts");
        let named = store.display().to_string();
        let left: Vec<&str> = mounts
            .lines()
            .filter(|line| line.contains(&named))
            .collect();
        assert!(left.is_empty(), "mounts are left: {left:?}");
        let temporary = temporary_files(&store);
        assert!(temporary.is_empty(), "files are left: {temporary:?}");
    }

    fn undisturbed(&self) -> Undisturbed {
        let other = Self {
            place: Place::new(),
            base: self.base.clone(),
            word: self.word.clone(),
        };
        copy_tree(&self.place.context(), &other.place.context());
        let ended = other.build(&[]);
        assert!(ended.status.success(), "undisturbed: {}", ended.stderr);
        other.place.expect(0, &["prune", "--all"]);
        Undisturbed {
            id: ended.stdout.trim().to_owned(),
            pruned: listing(&other.place.store()),
        }
    }
}

fn copy_tree(from: &Path, to: &Path) {
    let status = Command::new("cp")
        .args(["-a", "--sparse=always", "-T"])
        .args([from, to])
        .status()
        .expect("cp starts");
    assert!(status.success());
}

/// Every blob has the digest that it is called by.
pub(crate) fn assert_blobs_are_whole(store: &Path) {
    let blobs = fs::read_dir(store.join("blobs/sha256")).expect("the blobs");
    for blob in blobs.flatten() {
        let bytes = fs::read(blob.path()).expect("a blob");
        let name = blob.file_name();
        assert_eq!(
            Digest::of(&bytes).hex(),
            name.to_string_lossy(),
            "a published blob has other bytes"
        );
    }
}

/// What nobody should leave in a store that nobody uses.
pub(crate) fn temporary_files(store: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for name in ["tmp", "leases", "trees/work"] {
        let entries = fs::read_dir(store.join(name)).into_iter().flatten();
        found.extend(entries.flatten().map(|entry| entry.path()));
    }
    for name in [
        "",
        "index",
        "cache/steps",
        "cache/digests",
        "trees/steps",
        "trees/layers",
        "images",
        "refs",
    ] {
        let entries = fs::read_dir(store.join(name)).into_iter().flatten();
        let hidden = entries
            .flatten()
            .filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b"."));
        found.extend(hidden.map(|entry| entry.path()));
    }
    found
}

/// The files of a store and its trees, without what may differ between two that hold the same.
fn listing(store: &Path) -> BTreeSet<String> {
    fn walk(root: &Path, path: &Path, depth: usize, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = path.strip_prefix(root).expect("below it");
            let name = name.to_string_lossy().into_owned();
            // Skeletons are what every session of a kind shares, made once; writable layers wait for the next container.
            let shared = ["locks", "trees/skeleton-", "trees/writable"];
            if shared.iter().any(|start| name.starts_with(start)) {
                continue;
            }
            if depth > 0 && path.is_dir() {
                walk(root, &path, depth - 1, found);
            } else {
                found.insert(name);
            }
        }
    }
    let mut found = BTreeSet::new();
    walk(store, store, 2, &mut found);
    found
}

/// A process that has `word` among its arguments, or is in the session of such a process's starter.
fn process_with(word: &str) -> Option<String> {
    fs::read_dir("/proc")
        .expect("/proc")
        .flatten()
        .find_map(|process| {
            let line = fs::read(process.path().join("cmdline")).ok()?;
            let text = String::from_utf8_lossy(&line).replace('\0', " ");
            // strace and setsid carry the arguments too; this test program does not.
            text.contains(word).then_some(text)
        })
}

/// The living processes of a session (setsid(2)), as `pid name`.
fn session_members(session: u32) -> Vec<String> {
    fs::read_dir("/proc")
        .expect("/proc")
        .flatten()
        .filter_map(|process| {
            let stat = fs::read_to_string(process.path().join("stat")).ok()?;
            // The name in parentheses may hold anything, proc_pid_stat(5).
            let (name, rest) = stat.rsplit_once(')')?;
            let fields: Vec<&str> = rest.split_whitespace().collect();
            let living = !matches!(fields.first(), Some(&"Z" | &"X"));
            (living && fields.get(3)?.parse() == Ok(session)).then(|| name.to_owned())
        })
        .collect()
}

/// A build that runs.
pub(crate) struct Running {
    child: Child,
    word: String,
}

/// A build that ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
}

impl Running {
    pub(crate) fn spawn(mut command: Command, word: &str) -> Self {
        let child = command.spawn().expect("it starts");
        Self {
            child,
            word: word.to_owned(),
        }
    }

    /// The main process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The processes of the build except steps' programs.
    pub(crate) fn processes(&self) -> Vec<String> {
        session_members(self.child.id())
    }

    /// Waits until `seen`.
    pub(crate) fn until(&mut self, what: &str, seen: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !seen(self) {
            if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                let mut text = String::new();
                let stderr = self.child.stderr.as_mut().expect("a pipe");
                let _ = std::io::Read::read_to_string(stderr, &mut text);
                panic!("it ended with {status} before {what}:\n{text}");
            }
            assert!(Instant::now() < deadline, "{what} does not come");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Sends a signal to the main process.
    pub(crate) fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Whether the program of a step with the scene's word runs.
    pub(crate) fn step_runs(&self, program: &str) -> bool {
        process_with(&format!("{program} {}", self.word)).is_some()
    }

    /// Whether the main process ended.
    pub(crate) fn is_over(&mut self) -> bool {
        self.child
            .try_wait()
            .expect("it can be waited for")
            .is_some()
    }

    /// As [`Running::end`], but nobody reads more than the first bytes of what it prints.
    pub(crate) fn end_without_reader(mut self, patience: Duration) -> Ended {
        if let Some(mut stdout) = self.child.stdout.take() {
            let _ = std::io::Read::read(&mut stdout, &mut [0; 16]);
        }
        self.end(patience)
    }

    /// Waits for the end, and for that of everything that it started.
    pub(crate) fn end(mut self, patience: Duration) -> Ended {
        let started = Instant::now();
        let session = self.child.id();
        let readers = (self.child.stdout.take(), self.child.stderr.take());
        let read = |pipe: Option<Box<dyn std::io::Read + Send>>| {
            std::thread::spawn(move || {
                let mut bytes = Vec::new();
                if let Some(mut pipe) = pipe {
                    let _ = pipe.read_to_end(&mut bytes);
                }
                String::from_utf8_lossy(&bytes).into_owned()
            })
        };
        let stdout = read(readers.0.map(|pipe| Box::new(pipe) as _));
        let stderr = read(readers.1.map(|pipe| Box::new(pipe) as _));
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                break status;
            }
            if started.elapsed() > patience {
                let left = session_members(session);
                let _ = self.child.kill();
                let _ = self.child.wait();
                panic!("it goes on after {patience:?}: {left:?}");
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let took = started.elapsed();
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let left = session_members(session);
            if left.is_empty() {
                break;
            }
            assert!(Instant::now() < deadline, "processes are left: {left:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
        Ended {
            status,
            stdout: stdout.join().expect("its output"),
            stderr: stderr.join().expect("its messages"),
            took,
        }
    }
}

impl Ended {
    /// Fails the test unless it ended with `code` and one error that says all of `words`.
    pub(crate) fn failed(&self, code: i32, words: &[&str]) -> &Self {
        assert_eq!(self.status.code(), Some(code), "{}", self.stderr);
        let errors = self
            .stderr
            .lines()
            .filter(|line| line.starts_with("error"))
            .count();
        assert_eq!(errors, 1, "there should be one error:\n{}", self.stderr);
        for word in words {
            assert!(
                self.stderr.contains(word),
                "{word:?} is not in:\n{}",
                self.stderr
            );
        }
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        self
    }
}

/// Sends a signal; a process that is gone already is no error.
pub(crate) fn signal(pid: u32, name: &str) {
    let _ = Command::new("kill")
        .args([&format!("-{name}"), &pid.to_string()])
        .stderr(Stdio::null())
        .status()
        .expect("kill starts");
}

/// The children of a process.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))
        .unwrap_or_default()
        .split_whitespace()
        .filter_map(|text| text.parse().ok())
        .collect()
}
