//! Places for steps in a plain directory that imitates a delegated cgroup, and every refusal of the kernel. The invariant: what
//! failed leaves the directory as it was.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;

use tempfile::TempDir;

use super::*;
use crate::cgroup::{Bound, WantedLimits};

/// A hierarchy with a cgroup `own`, where this process is, and `other`.
struct Imitation(TempDir);

impl Imitation {
    fn new(controllers: &str) -> Self {
        let imitation = Self(tempfile::tempdir().unwrap());
        for cgroup in ["own", "other"] {
            fs::create_dir(imitation.path(cgroup)).unwrap();
            for (file, text) in [
                ("cgroup.type", "domain\n"),
                ("cgroup.controllers", controllers),
                ("cgroup.subtree_control", ""),
                ("cgroup.procs", ""),
            ] {
                fs::write(imitation.path(cgroup).join(file), text).unwrap();
            }
        }
        imitation
    }

    fn path(&self, below: &str) -> PathBuf {
        self.0.path().join(below)
    }

    fn ground(&self, parent: &str) -> Ground {
        let root = Directory::open(self.0.path(), Nature::Imitation).unwrap();
        let own = ("/own", Path::new("own"));
        let parent = (format!("/{parent}"), Path::new(parent));
        Ground::below(&root, self.0.path(), own, (&parent.0, parent.1), false).unwrap()
    }

    fn prepare(&self, limits: &CgroupLimits) -> Result<StepCgroups, CgroupError> {
        StepCgroups::on(self.ground("own"), limits)
    }

    /// The kernel would know by itself that this process has left.
    fn leave(&self) {
        fs::write(self.path("own/cgroup.procs"), "").unwrap();
    }

    /// Every file and its text; directories end with a slash.
    fn listing(&self) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        let mut waiting = vec![self.0.path().to_owned()];
        while let Some(directory) = waiting.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(self.0.path()).unwrap().display();
                if path.is_dir() {
                    found.insert(format!("{name}/"), String::new());
                    waiting.push(path);
                } else {
                    found.insert(name.to_string(), fs::read_to_string(&path).unwrap());
                }
            }
        }
        found
    }
}

fn limits() -> CgroupLimits {
    CgroupLimits::new(&WantedLimits {
        memory: Some(64 << 20),
        pids: Some(Bound::At(9)),
        ..WantedLimits::default()
    })
    .unwrap()
}

/// What the plan for a place called `p` does, one operation a line, with what undoes it.
fn planned(facts: &Facts, limits: &CgroupLimits) -> String {
    let ops = plan::preparation("p", &limits.controllers(), facts);
    let line = |(op, undo): &plan::Doable| match undo {
        Some(undo) => format!("{op}; to undo: {undo}\n"),
        None => format!("{op}\n"),
    };
    ops.iter().map(line).collect()
}

fn facts(own: bool, root: bool, enabled: &str) -> Facts {
    let enabled = Controller::listed(enabled);
    Facts { own, root, enabled }
}

#[test]
fn in_its_own_cgroup_rbuild_makes_room_first() {
    insta::assert_snapshot!(planned(&facts(true, false, ""), &limits()), @r"
    make the cgroup p; to undo: remove the cgroup p
    make the cgroup p/self; to undo: remove the cgroup p/self
    enter the cgroup p/self; to undo: return to the cgroup that rbuild was started in
    find no process in the parent
    enable memory, pids below the parent; to undo: disable memory, pids below the parent
    enable memory, pids below p; to undo: disable memory, pids below p
    ");
}

#[test]
fn below_another_cgroup_rbuild_only_tries_whether_it_may_move_there() {
    insta::assert_snapshot!(planned(&facts(false, false, "cpu memory"), &limits()), @r"
    make the cgroup p; to undo: remove the cgroup p
    make the cgroup p/self; to undo: remove the cgroup p/self
    enter the cgroup p/self
    return to the cgroup that rbuild was started in
    find no process in the parent
    enable pids below the parent
    enable memory, pids below p; to undo: disable memory, pids below p
    ");
    insta::assert_snapshot!(planned(&facts(false, false, ""), &CgroupLimits::default()), @r"
    make the cgroup p; to undo: remove the cgroup p
    make the cgroup p/self; to undo: remove the cgroup p/self
    enter the cgroup p/self
    return to the cgroup that rbuild was started in
    ");
}

#[test]
fn the_root_of_the_hierarchy_may_hold_processes() {
    insta::assert_snapshot!(planned(&facts(true, true, "memory pids"), &limits()), @r"
    make the cgroup p; to undo: remove the cgroup p
    make the cgroup p/self; to undo: remove the cgroup p/self
    enter the cgroup p/self
    return to the cgroup that rbuild was started in
    enable memory, pids below p; to undo: disable memory, pids below p
    ");
}

#[test]
fn a_place_and_its_steps_are_written_and_removed() {
    let imitation = Imitation::new("cpu memory pids\n");
    let place = imitation.prepare(&limits()).unwrap();
    let name = format!("own/rbuild-{}", rustix::process::getpid());
    assert_eq!(place.path(), imitation.path(&name));
    let step = StepCgroup::make(&place.place, "step-0", &limits()).unwrap();
    let seen = imitation.listing();
    let text = |file: &str| seen.get(&format!("{name}/{file}")).map(String::as_str);
    assert_eq!(text("cgroup.subtree_control"), Some("+memory +pids"));
    assert_eq!(seen["own/cgroup.subtree_control"], "+memory +pids");
    assert_eq!(text("self/cgroup.procs"), Some("0"));
    assert_eq!(text("step-0/memory.max"), Some("67108864"));
    assert_eq!(text("step-0/memory.swap.max"), Some("67108864"));
    assert_eq!(text("step-0/pids.max"), Some("9"));
    assert_eq!(text("trial/"), None, "the trial is over");
    assert_eq!(step.oom_kills(), 0);
    let events = "low 0\noom 3\noom_kill 2\noom_group_kill 0\n";
    fs::write(place.path().join("step-0/memory.events"), events).unwrap();
    assert_eq!(step.oom_kills(), 2);
    drop(step);
    assert!(!place.path().join("step-0").exists());
    // A step of a session that was killed.
    std::mem::forget(StepCgroup::make(&place.place, "step-1", &limits()).unwrap());
    drop(place);
    let left = imitation.listing();
    assert!(
        left.keys().all(|name| !name.contains("rbuild-")),
        "{left:?}"
    );
    assert_eq!(left["own/cgroup.subtree_control"], "-memory -pids");
    assert_eq!(left["own/cgroup.procs"], "0", "it went back");
}

#[test]
fn what_a_dead_rbuild_left_is_removed_and_what_a_living_one_has_is_not() {
    let imitation = Imitation::new("memory pids\n");
    for place in ["rbuild-1", "rbuild-2", "another"] {
        fs::create_dir_all(imitation.path("own").join(place).join("step-0")).unwrap();
    }
    let living = Directory::open(&imitation.path("own/rbuild-2"), Nature::Imitation).unwrap();
    living.lock(false).unwrap();
    drop(imitation.prepare(&limits()).unwrap());
    let left = imitation.listing();
    assert!(!left.contains_key("own/rbuild-1/"), "{left:?}");
    assert!(left.contains_key("own/rbuild-2/step-0/"), "{left:?}");
    assert!(left.contains_key("own/another/step-0/"), "{left:?}");
    // The same number in another process namespace.
    let own = format!("own/rbuild-{}", rustix::process::getpid());
    fs::create_dir(imitation.path(&own)).unwrap();
    let living = Directory::open(&imitation.path(&own), Nature::Imitation).unwrap();
    living.lock(false).unwrap();
    imitation.leave();
    let place = imitation.prepare(&limits()).unwrap();
    assert_eq!(place.path(), imitation.path(&format!("{own}-2")));
}

/// The refusal, after which no cgroup is there that was not there before.
fn refused(imitation: &Imitation, parent: &str) -> String {
    let names = || imitation.listing().into_keys().collect::<Vec<_>>();
    let before = names();
    let error = StepCgroups::on(imitation.ground(parent), &limits()).unwrap_err();
    assert_eq!(names(), before);
    error.to_string()
}

#[test]
fn a_controller_that_is_missing_is_named() {
    let text = refused(&Imitation::new("cpu memory\n"), "own");
    assert_eq!(text, "cgroup v2 has no pids controller at /own");
    let text = refused(&Imitation::new("hugetlb\n"), "other");
    assert_eq!(
        text,
        "cgroup v2 has no memory and no pids controller at /other"
    );
}

#[test]
#[expect(clippy::print_stdout, reason = "the line of a skipped test")]
fn a_cgroup_of_somebody_else_is_not_delegated() {
    if rustix::process::geteuid().is_root() {
        println!("SKIP degree: root may write everything");
        return;
    }
    for (path, mode) in [
        ("own", 0o555),
        ("own/cgroup.procs", 0o444),
        ("own/cgroup.subtree_control", 0o444),
    ] {
        let imitation = Imitation::new("memory pids\n");
        let path = imitation.path(path);
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let text = refused(&imitation, "own");
        assert_eq!(text, "the cgroup /own is not delegated to this user");
    }
}

#[test]
fn other_processes_in_the_cgroup_are_in_the_way() {
    let imitation = Imitation::new("memory pids\n");
    fs::write(imitation.path("other/cgroup.procs"), "17\n").unwrap();
    let text = refused(&imitation, "other");
    assert!(
        text.contains("other processes are in the cgroup /other"),
        "{text}"
    );
}

#[test]
fn each_refusal_of_the_kernel_undoes_what_was_done_and_says_why() {
    let imitation = Imitation::new("memory pids\n");
    let ground = imitation.ground("own");
    let ops = plan::preparation("p", &limits().controllers(), &ground.facts());
    for (position, (failing, _)) in ops.iter().enumerate() {
        for errno in [
            Errno::ACCESS,
            Errno::BUSY,
            Errno::NOSPC,
            Errno::AGAIN,
            Errno::NOENT,
        ] {
            imitation.leave();
            let log = RefCell::new(Vec::new());
            let mut act = |op: &Op| {
                log.borrow_mut().push(op.clone());
                if op == failing {
                    Err(errno)
                } else {
                    ground.act(op)
                }
            };
            let (op, refusal) = plan::perform(ops.clone(), &mut act).unwrap_err();
            assert_eq!((&op, refusal), (failing, errno));
            let undone: Vec<Op> = log.borrow()[position + 1..].to_vec();
            let expected: Vec<Op> = ops[..position]
                .iter()
                .rev()
                .filter_map(|(_, undo)| undo.clone())
                .collect();
            assert_eq!(undone, expected, "{failing}");
            assert!(!imitation.path("own/p").exists(), "{failing}");
            let error = ground.explain(&op, errno);
            let text = error.to_string();
            match (failing, errno) {
                (Op::Create(_) | Op::Enter(_), Errno::ACCESS) => {
                    assert!(text.contains("not delegated"), "{text}")
                }
                (Op::ExpectEmpty, Errno::BUSY) => {
                    assert!(text.contains("other processes"), "{text}")
                }
                (Op::Enable(cgroup, _), Errno::BUSY) if cgroup.is_empty() => {
                    assert!(text.contains("other processes"), "{text}")
                }
                _ => assert!(
                    text.contains(&failing.to_string()) && text.contains("/own"),
                    "{text}"
                ),
            }
            let source = std::error::Error::source(&error).map(ToString::to_string);
            assert_eq!(
                source.is_none(),
                matches!(error, CgroupError::OtherProcesses { .. })
            );
        }
    }
}

#[test]
fn a_limit_that_the_kernel_does_not_know_is_refused_unless_nobody_asked() {
    let plain = tempfile::tempdir().unwrap();
    let directory = Directory::unverified(plain.path());
    let error = StepCgroup::make(&directory, "step-0", &limits()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the kernel refuses to set memory.max=\"67108864\" of a step's cgroup"
    );
    assert!(!plain.path().join("step-0").exists());
    fs::create_dir(plain.path().join("step-1")).unwrap();
    let error = StepCgroup::make(&directory, "step-1", &limits()).unwrap_err();
    assert!(
        error.to_string().contains("make a step's cgroup"),
        "{error}"
    );

    // Without swap accounting there is no memory.swap.max.
    fs::write(plain.path().join("memory.max"), "").unwrap();
    let with = |memory_swap| {
        CgroupLimits::new(&WantedLimits {
            memory: Some(5),
            memory_swap,
            ..WantedLimits::default()
        })
        .unwrap()
    };
    write_all(&directory, &with(None)).unwrap();
    assert_eq!(
        fs::read_to_string(plain.path().join("memory.max")).unwrap(),
        "5"
    );
    let error = write_all(&directory, &with(Some(Bound::At(5)))).unwrap_err();
    assert!(error.to_string().contains("memory.swap.max"), "{error}");
}

#[test]
fn only_a_cgroup_file_system_is_trusted_and_links_lead_nowhere() {
    let plain = tempfile::tempdir().unwrap();
    let error = StepCgroup::create(plain.path(), "x", &limits()).unwrap_err();
    assert!(error.to_string().contains("cannot be opened"), "{error}");
    assert!(!plain.path().join("x").exists());
    std::os::unix::fs::symlink("/", plain.path().join("out")).unwrap();
    let directory = Directory::unverified(plain.path());
    for path in ["out", "out/etc", "..", "../.."] {
        assert!(directory.below(Path::new(path)).is_err(), "{path}");
    }
}

#[test]
fn what_is_not_mounted_or_not_visible_is_said() {
    let find = |mountinfo: &str, cgroups: &str, parent: Option<&str>| {
        Ground::find(mountinfo, cgroups, parent)
            .unwrap_err()
            .to_string()
    };
    let v1 = "33 31 0:30 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n";
    assert_eq!(find("", "", None), "cgroup v2 is not mounted here");
    assert_eq!(
        find(v1, "4:cpu:/\n", None),
        "cgroup v2 is not mounted here, version 1 is"
    );
    let v2 = "31 23 0:28 /docker/1 /nowhere rw - cgroup2 cgroup2 rw\n";
    let hidden = "this process's cgroup is not visible here";
    assert_eq!(find(v2, "4:cpu:/\n", None), hidden);
    assert_eq!(find(v2, "0::/docker/2\n", None), hidden);
    assert_eq!(
        find(v2, "0::/docker/1\n", None),
        "the cgroup / cannot be opened"
    );
}
