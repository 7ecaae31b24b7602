//! --memory, --cpus and their relatives: refused where no cgroup is delegated, enforced where one is.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::build_oracle::Site;
use crate::support::{Degree, degree};

const RUNS: &str = "FROM busybox\nRUN echo ran\nUSER 5:5\n";

/// A build that must end before anything ran.
fn refused(site: &Site, file: &str, args: &[&str]) -> String {
    let output = site.command(file, args).output().expect("it starts");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{args:?}: {stderr}");
    assert!(!stderr.contains("| ran"), "{args:?}: {stderr}");
    let errors = stderr.lines().filter(|line| line.starts_with("error:"));
    assert_eq!(errors.count(), 1, "{args:?}: {stderr}");
    stderr
}

fn text(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Where cgroup v2 is mounted.
fn mount_point() -> Option<PathBuf> {
    let mounts = text("/proc/self/mountinfo");
    let mount = mounts.lines().find(|line| line.contains(" - cgroup2 "))?;
    mount.split(' ').nth(4).map(PathBuf::from)
}

/// What the own cgroup could limit.
fn controllers() -> String {
    let own = text("/proc/self/cgroup");
    let own = own.lines().find_map(|line| line.strip_prefix("0::/"));
    match (mount_point(), own) {
        (Some(point), Some(own)) => text(point.join(own).join("cgroup.controllers")),
        _ => String::new(),
    }
}

#[test]
fn limits_that_cannot_be_enforced_are_an_error_before_any_step() {
    let site = site!(run);
    let there = controllers();
    for (args, controller) in [
        (vec!["--memory", "64m"], "memory"),
        (vec!["--memory", "64m", "--memory-swap", "-1"], "memory"),
        (vec!["--cpus", "1.5"], "cpu"),
        (
            vec!["--cpu-quota", "50000", "--cpu-period", "100000"],
            "cpu",
        ),
        (vec!["--cpu-shares", "512"], "cpu"),
        (vec!["--cpuset-cpus", "0"], "cpuset"),
        (vec!["--cpuset-mems", "0"], "cpuset"),
        (vec!["--pids-limit", "20"], "pids"),
    ] {
        let missing = !there.split_whitespace().any(|one| one == controller);
        if !missing && degree() == Degree::Root {
            // It may be possible then, and another test sees to that.
            continue;
        }
        let stderr = refused(&site, RUNS, &args);
        for flag in args.iter().filter(|arg| arg.starts_with("--")) {
            assert!(stderr.contains(flag), "{flag}: {stderr}");
        }
        assert!(
            !missing || stderr.contains(&format!("no {controller} controller")),
            "{stderr}"
        );
        assert!(stderr.contains("hint:"), "{stderr}");
    }
}

#[test]
fn a_cgroup_parent_that_cannot_be_used_is_an_error_before_any_step() {
    let site = site!(run);
    let stderr = refused(&site, RUNS, &["--cgroup-parent", "/no/such/cgroup"]);
    assert!(
        stderr.contains("--cgroup-parent") && stderr.contains("/no/such/cgroup"),
        "{stderr}"
    );
    if degree() == Degree::Root {
        return;
    }
    let stderr = refused(&site, RUNS, &["--cgroup-parent", "/"]);
    assert!(stderr.contains("not delegated"), "{stderr}");
}

#[test]
fn limits_matter_only_to_builds_that_run_something_and_are_in_no_key() {
    let site = site!();
    let limits = ["--memory", "64m", "--cpus", "1", "--pids-limit", "9"];
    site.build("FROM busybox\nCOPY Containerfile /\nUSER 5:5\n", &limits);
    let (plan, _) = site.place.expect(
        0,
        &[
            "build",
            "--dry-run",
            "--memory",
            "64m",
            "--cpus",
            ".5",
            "--build-context",
            &format!("busybox=oci-layout:{}", site.busybox().display()),
            ".",
        ],
    );
    for line in [
        "each RUN: memory.max=\"67108864\"",
        "each RUN: cpu.max=\"50000 100000\"",
    ] {
        assert!(plan.contains(line), "{line} is missing in {plan}");
    }
    requires!(execution);
    let first = site.build(RUNS, &[]);
    let cached = site.build(RUNS, &limits);
    assert_eq!((cached.cached(), &cached.id), (1, &first.id));
}

/// A build in a cgroup of its own, where this machine gives one: by the user's systemd, or by root.
struct Delegated {
    prefix: Vec<String>,
    parent: Option<Own>,
}

/// A cgroup that root made, with processes of nobody.
struct Own(PathBuf);

impl Own {
    fn new(name: &str) -> Option<Self> {
        let own = mount_point()?.join(format!("rbuild-e2e-{name}-{}", std::process::id()));
        std::fs::create_dir(&own).ok().map(|()| Self(own))
    }

    /// As the command line names it.
    fn name(&self) -> String {
        let name = self.0.file_name().expect("it has one");
        format!("/{}", name.display())
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        std::fs::remove_dir(&self.0).expect("rbuild left nothing in it");
    }
}

fn delegated() -> Option<Delegated> {
    if degree() == Degree::Root {
        let on = text(mount_point()?.join("cgroup.subtree_control"));
        let has = |wanted: &str| on.split_whitespace().any(|word| word == wanted);
        if !["memory", "pids", "cpu"].into_iter().all(has) {
            return None;
        }
        return Some(Delegated {
            prefix: Vec::new(),
            parent: Some(Own::new("limits")?),
        });
    }
    let prefix = [
        "systemd-run",
        "--user",
        "--scope",
        "--quiet",
        "--property=Delegate=yes",
    ];
    let works = Command::new(prefix[0])
        .args(&prefix[1..])
        .args([
            "grep",
            "-q",
            "memory.*pids",
            "/sys/fs/cgroup/cgroup.controllers",
        ])
        .output()
        .is_ok_and(|output| output.status.success());
    let prefix = prefix.map(str::to_owned).to_vec();
    works.then_some(Delegated {
        prefix,
        parent: None,
    })
}

impl Delegated {
    fn build(&self, site: &Site, file: &str, args: &[&str]) -> (bool, String) {
        let mut args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        if let Some(parent) = &self.parent {
            args.extend(["--cgroup-parent".to_owned(), parent.name()]);
        }
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let built = site.command(file, &args);
        let mut words = self.prefix.clone();
        words.push(built.get_program().to_string_lossy().into_owned());
        words.extend(
            built
                .get_args()
                .map(|arg| arg.to_string_lossy().into_owned()),
        );
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).current_dir(site.place.context());
        command.envs(
            built
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
        let output = command.output().expect("it starts");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), stderr)
    }
}

#[test]
fn limits_are_enforced_where_a_cgroup_is_delegated() {
    let site = site!(run);
    let Some(delegated) = delegated() else {
        skip!("cgroup-v2", "no cgroup with controllers is delegated here");
    };
    // Half of it is more than one file of /dev/shm may be, so that nothing else ends the step.
    let eat = "FROM busybox\nRUN cat /proc/self/cgroup; head -c 40000000 /dev/zero | tail -c 30000000 >/dev/null && echo ran\nUSER 5:5\n";
    let (done, stderr) = delegated.build(&site, eat, &["--memory", "200m"]);
    assert!(done && stderr.contains("| ran"), "{stderr}");
    assert!(
        stderr.contains("| 0::/\n"),
        "its own cgroup is the root of what it sees: {stderr}"
    );
    let (done, stderr) = delegated.build(
        &site,
        eat,
        &["--no-cache", "--memory", "16m", "--memory-swap", "16m"],
    );
    assert!(!done, "{stderr}");
    assert!(
        stderr.contains("used up its memory") && stderr.contains("--memory"),
        "{stderr}"
    );
    let fork = "FROM busybox\nRUN for i in 1 2 3 4 5 6 7 8 9; do sleep 1 & done; wait; echo ran\nUSER 5:5\n";
    let (done, stderr) = delegated.build(&site, fork, &["--pids-limit", "5"]);
    assert!(!done && !stderr.contains("| ran"), "{stderr}");
    let (done, stderr) = delegated.build(
        &site,
        fork,
        &["--pids-limit", "50", "--cpus", "0.5", "-c", "512"],
    );
    assert!(done && stderr.contains("| ran"), "{stderr}");
}

#[test]
fn a_step_is_in_a_cgroup_of_its_own_and_nothing_of_it_is_left() {
    requires!(degree Degree::Root);
    let site = site!(run);
    let Some(own) = Own::new("place") else {
        skip!("cgroup-v2", "root cannot make a cgroup here");
    };
    let steps = || -> Vec<PathBuf> {
        let places = std::fs::read_dir(&own.0).expect("the parent").flatten();
        let places = places.filter(|entry| entry.path().is_dir());
        let all = places.flat_map(|place| std::fs::read_dir(place.path()).into_iter().flatten());
        let paths = all.flatten().map(|entry| entry.path());
        paths
            .filter(|path| path.join("cgroup.procs").is_file())
            .collect()
    };
    let file = "FROM busybox AS one\nRUN cat /proc/self/cgroup; sleep 3\nFROM busybox\nCOPY --from=one /bin/busybox /two\nRUN sleep 1\nUSER 5:5\n";
    let name = own.name();
    let seen = std::thread::scope(|scope| {
        let build = scope.spawn(|| site.build(file, &["--cgroup-parent", &name]).stderr);
        let mut seen = Vec::new();
        while !build.is_finished() {
            for step in steps() {
                let shown = step
                    .file_name()
                    .expect("it has one")
                    .to_string_lossy()
                    .into_owned();
                if !text(step.join("cgroup.procs")).is_empty() && !seen.contains(&shown) {
                    seen.push(shown);
                }
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let stderr = build.join().expect("it was built");
        let own = stderr.lines().any(|line| line.ends_with("| 0::/"));
        assert!(own, "its cgroup is the root of what it sees: {stderr}");
        seen
    });
    assert!(seen.contains(&"step-0-0".to_owned()), "{seen:?}");
    assert!(seen.contains(&"step-1-1".to_owned()), "{seen:?}");
    assert_eq!(steps(), Vec::<PathBuf>::new());
}
