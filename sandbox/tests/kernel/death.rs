//! Sudden death. Whoever is killed, of the processes between a caller and the program of a step: within two seconds nothing
//! of ours is left, and what is alive knows.

use std::fs;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use sandbox::Outcome;

use crate::drill;
use crate::host;
use crate::stage::{self, Job, Node, nonroot};
use crate::trial::{Verdict, trials};

trials![
    f01_nothing_survives_the_caller,
    f01_nothing_survives_the_process_that_waits_for_the_session,
    f01_nothing_survives_the_session,
    a_session_does_not_survive_the_panic_of_a_thread,
    f01_a_program_does_not_survive_the_process_that_supervises_it,
    f01_a_set_user_id_program_does_not_survive_it_either,
    f03_the_end_of_a_program_by_a_signal_is_told,
    d43_a_daemon_does_not_survive_its_step,
];

/// How long the end may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// A caller in a process of its own, which runs a job of two steps; each has a program that sleeps.
struct Scene {
    caller: Child,
    marker: String,
    store: tempfile::TempDir,
}

impl Scene {
    fn new(job: Job) -> Self {
        let store = tempfile::tempdir().expect("the temporary directory is writable");
        let marker = store
            .path()
            .file_name()
            .expect("it has a name")
            .to_string_lossy()
            .into_owned();
        let program = |step: &str| {
            vec![
                job.programs[0][0].clone(),
                "sleep".to_owned(),
                format!("{marker}-{step}"),
            ]
        };
        let job = Job {
            programs: vec![program("first"), program("second")],
            ..job
        };
        let job = serde_json::to_string(&job).expect("a job is JSON");
        let caller = drill::command(&["caller", &job])
            .env("TMPDIR", store.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the test program can be executed");
        let scene = Self {
            caller,
            marker,
            store,
        };
        scene.wait_for("the first step", || !scene.alive("first").is_empty());
        scene
    }

    /// The processes of a step's program.
    fn alive(&self, step: &str) -> Vec<i32> {
        running(&format!("{}-{step}", self.marker))
    }

    fn pid(&self) -> i32 {
        self.caller.id().cast_signed()
    }

    /// The process that is so many generations below the caller: the one that waits, the session, the step's supervisor.
    fn descendant(&self, generations: u32) -> i32 {
        (0..generations).fold(self.pid(), |pid, _| {
            let children = children(pid);
            assert_eq!(children.len(), 1, "the children of {pid}");
            children[0]
        })
    }

    fn wait_for(&self, what: &str, happened: impl Fn() -> bool) {
        let start = Instant::now();
        while !happened() {
            assert!(
                start.elapsed() < PATIENCE,
                "{what} took too long; running: {:?}",
                [self.alive("first"), self.alive("second")]
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Kills a descendant, or the caller, and waits until nothing is left.
    fn nothing_survives(mut self, generations: u32) {
        kill(self.descendant(generations));
        if generations == 0 {
            self.caller.wait().expect("it is a child");
        }
        self.wait_for("the end", || {
            self.alive("first").is_empty() && self.alive("second").is_empty()
        });
        self.caller.wait().expect("it is a child");
    }

    /// Kills the first step's supervisor: its program ends, and the session goes on with the next step.
    fn only_the_step_ends(self) {
        kill(self.descendant(3));
        self.wait_for("the second step", || !self.alive("second").is_empty());
        self.wait_for("the end of the first step", || {
            self.alive("first").is_empty()
        });
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = self.caller.kill();
        let _ = self.caller.wait();
        // Only a session may remove the files of subordinate ids.
        stage::clean(
            self.store.path(),
            &host::ranged().unwrap_or_else(|_| host::single()),
        );
    }
}

/// The processes with an argument.
fn running(argument: &str) -> Vec<i32> {
    let has_argument = |pid: &i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0)
            .any(|word| word == argument.as_bytes())
    };
    pids().filter(has_argument).collect()
}

fn pids() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").expect("/proc is mounted").flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The parent's id is the second field after the name, which may contain anything, proc_pid_stat(5).
fn children(parent: i32) -> Vec<i32> {
    let parent_of = |pid: i32| -> Option<i32> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
    };
    pids()
        .filter(|pid| parent_of(*pid) == Some(parent))
        .collect()
}

fn kill(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).expect("it is a process");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it is one's own");
}

fn f01_nothing_survives_the_caller() -> Verdict {
    Scene::new(Job::drill(&[])).nothing_survives(0);
    Ok(())
}

fn f01_nothing_survives_the_process_that_waits_for_the_session() -> Verdict {
    Scene::new(Job::drill(&[])).nothing_survives(1);
    Ok(())
}

fn f01_nothing_survives_the_session() -> Verdict {
    Scene::new(Job::drill(&[])).nothing_survives(2);
    Ok(())
}

fn a_session_does_not_survive_the_panic_of_a_thread() -> Verdict {
    let plan = host::ranged()?;
    assert_eq!(stage::end_of_a_panic(&plan), Some(125));
    Ok(())
}

fn f01_a_program_does_not_survive_the_process_that_supervises_it() -> Verdict {
    Scene::new(Job::drill(&[])).only_the_step_ends();
    Ok(())
}

fn f01_a_set_user_id_program_does_not_survive_it_either() -> Verdict {
    // Executing one clears the death signal that a process asked for, PR_SET_PDEATHSIG(2const).
    host::ranged()?;
    let image = [
        Node::small_image(),
        vec![Node::drill("set-uid/drill").mode(0o4755)],
    ]
    .concat();
    let job = || {
        let programs = vec![vec!["/set-uid/drill".to_owned()]];
        Job {
            image: image.clone(),
            user: nonroot(),
            programs,
            ..Job::drill(&[])
        }
    };
    Scene::new(job()).only_the_step_ends();
    for generations in 0..3 {
        Scene::new(job()).nothing_survives(generations);
    }
    Ok(())
}

fn f03_the_end_of_a_program_by_a_signal_is_told() -> Verdict {
    let report = Job::drill(&["abort"]).run_one(&host::single());
    // The first process of a namespace ignores SIGABRT, so that abort(3) ends it with a fault.
    assert_eq!(report.ended, Ok(Outcome::Signaled(libc::SIGSEGV)));
    assert_eq!(report.ended.map(Outcome::code), Ok(139));
    Ok(())
}

fn d43_a_daemon_does_not_survive_its_step() -> Verdict {
    let marker = format!("daemon-of-{}", std::process::id());
    let report = Job::drill(&["daemon", &marker]).run_one(&host::single());
    assert_eq!(report.printed(), "started\n");
    let start = Instant::now();
    while !running(&marker).is_empty() {
        assert!(start.elapsed() < PATIENCE, "the daemon is still there");
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}
