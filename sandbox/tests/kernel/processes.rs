//! What a program starts with, and what it can become: descriptors, capabilities, ids, signals, and the program file of the
//! process that started it.

use std::fs;

use rustix::io::FdFlags;
use sandbox::{CapabilitySet, Confinement, SessionPlan, UserSpec};

use crate::drill::facts::Facts;
use crate::host;
use crate::stage::{self, Job, Node, container, nonroot, run_step};
use crate::trial::{Verdict, trials};

trials![
    s45_capability_sets_are_the_declared_ones_and_nothing_is_inheritable,
    capabilities_of_another_user_are_ambient_only_when_asked_for,
    s64_the_program_that_starts_a_step_cannot_be_overwritten_from_it,
    s64_a_program_of_the_image_can_be_overwritten_in_the_same_way,
    s65_a_step_has_three_descriptors_whatever_the_caller_left_open,
    s65_a_program_is_never_reached_through_a_descriptor,
    s65_the_session_has_none_of_the_callers_descriptors,
    set_user_id_programs_work_in_a_build_step_and_not_under_no_new_privileges,
    signals_start_with_their_defaults_in_a_session_of_the_programs_own,
    filter_and_privileges_are_as_declared,
];

/// Podman's eleven, as the kernel writes them.
const ELEVEN: &str = "00000000800405fb";
const NONE: &str = "0000000000000000";

fn facts_of(job: &Job, plan: &SessionPlan) -> Facts {
    serde_json::from_str(job.run_one(plan).printed()).expect("the drill prints its facts")
}

fn capabilities(facts: &Facts) -> [&str; 5] {
    ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map(|set| facts.status[set].as_str())
}

fn s45_capability_sets_are_the_declared_ones_and_nothing_is_inheritable() -> Verdict {
    let plan = host::ranged()?;
    let rows: [(Confinement, UserSpec, [&str; 5]); 4] = [
        (
            run_step(),
            UserSpec::default(),
            [NONE, ELEVEN, ELEVEN, ELEVEN, NONE],
        ),
        (run_step(), nonroot(), [NONE, NONE, NONE, ELEVEN, NONE]),
        (container(), UserSpec::default(), [NONE; 5]),
        (container(), nonroot(), [NONE; 5]),
    ];
    for (confinement, user, expected) in rows {
        let facts = facts_of(
            &Job {
                confinement,
                user,
                ..Job::drill(&["facts"])
            },
            &plan,
        );
        assert_eq!(
            capabilities(&facts),
            expected,
            "uid {}",
            facts.status["Uid"]
        );
    }
    let single = facts_of(&Job::drill(&["facts"]), &host::single());
    assert_eq!(capabilities(&single), [NONE, ELEVEN, ELEVEN, ELEVEN, NONE]);
    Ok(())
}

fn capabilities_of_another_user_are_ambient_only_when_asked_for() -> Verdict {
    let one = CapabilitySet::EMPTY
        .with(&["net_bind_service".to_owned()])
        .expect("the name is known");
    let confinement = Confinement {
        capabilities: one,
        ambient: true,
        ..container()
    };
    let facts = facts_of(
        &Job {
            confinement,
            user: nonroot(),
            ..Job::drill(&["facts"])
        },
        &host::ranged()?,
    );
    assert_eq!(capabilities(&facts), ["0000000000000400"; 5]);
    Ok(())
}

fn s64_the_program_that_starts_a_step_cannot_be_overwritten_from_it() -> Verdict {
    let own = std::env::current_exe().expect("/proc is mounted");
    let before = fs::read(&own).expect("the program can be read");
    // The kernel resolves the interpreter while the process still is rbuild's.
    let script = Node::file("entry", "#!/proc/self/exe\n").mode(0o755);
    let image = [Node::small_image(), vec![script]].concat();
    // In a session of one id image root owns the program's file.
    for plan in [
        host::single(),
        host::ranged().unwrap_or_else(|_| host::single()),
    ] {
        let job = Job {
            image: image.clone(),
            programs: vec![vec!["/entry".to_owned()]],
            ..Job::drill(&[])
        };
        let report = job.run_one(&plan);
        let printed = report.printed();
        assert!(
            !printed.starts_with("ok") && printed.ends_with(" EROFS\n"),
            "{printed}"
        );
    }
    assert!(fs::read(&own).expect("the program can be read") == before);
    Ok(())
}

fn s64_a_program_of_the_image_can_be_overwritten_in_the_same_way() -> Verdict {
    let image = [Node::small_image(), vec![Node::drill("own/drill")]].concat();
    let program = vec!["/own/drill".to_owned(), "reach-executable".to_owned()];
    let report = Job {
        image,
        programs: vec![program],
        ..Job::drill(&[])
    }
    .run_one(&host::single());
    assert_eq!(report.printed(), "ok ok\n");
    Ok(())
}

/// Descriptors that a program which executes another one would leave to it.
fn leaks() -> Vec<std::os::fd::OwnedFd> {
    let root = fs::File::open("/").expect("there is a root");
    let leak = |_| {
        let fd = rustix::io::dup(&root).expect("there are descriptors");
        assert_eq!(rustix::io::fcntl_getfd(&fd), Ok(FdFlags::empty()));
        fd
    };
    (0..100).map(leak).collect()
}

fn s65_a_step_has_three_descriptors_whatever_the_caller_left_open() -> Verdict {
    let leaked = leaks();
    for plan in [host::single(), host::ranged()?] {
        let facts = facts_of(&Job::drill(&["facts"]), &plan);
        assert_eq!(
            facts.fds.keys().copied().collect::<Vec<_>>(),
            [0, 1, 2],
            "{:?}",
            facts.fds
        );
        assert_eq!(facts.fds[&0], "/dev/null");
    }
    drop(leaked);
    Ok(())
}

fn s65_a_program_is_never_reached_through_a_descriptor() -> Verdict {
    // One of them is the drill's own file, which the set-up holds while it attaches it.
    let programs = (3..24)
        .map(|fd| vec![format!("/proc/self/fd/{fd}"), "facts".to_owned()])
        .collect();
    let job = Job {
        programs,
        ..Job::drill(&[])
    };
    for step in job
        .run(&host::single())
        .expect("there is no network to start")
    {
        assert!(
            step.refused().contains("execute /proc/self/fd/"),
            "{}",
            step.refused()
        );
    }
    Ok(())
}

fn s65_the_session_has_none_of_the_callers_descriptors() -> Verdict {
    let leaked = leaks();
    let found = stage::descriptors(&host::single());
    // Standard streams, the socket, the caller's standard input, the program, and the list of these.
    assert!(found.len() <= 7, "{found:?}");
    drop(leaked);
    Ok(())
}

fn set_user_id_programs_work_in_a_build_step_and_not_under_no_new_privileges() -> Verdict {
    let plan = host::ranged()?;
    let image = [
        Node::small_image(),
        vec![Node::drill("set-uid/drill").mode(0o4755)],
    ]
    .concat();
    for (no_new_privileges, ids) in [(false, "65532 0 0 0"), (true, "65532 65532 65532 65532")] {
        let programs = vec![vec!["/set-uid/drill".to_owned(), "facts".to_owned()]];
        let confinement = Confinement {
            no_new_privileges,
            ..run_step()
        };
        let job = Job {
            image: image.clone(),
            confinement,
            user: nonroot(),
            programs,
            ..Job::drill(&[])
        };
        assert_eq!(facts_of(&job, &plan).status["Uid"], ids);
    }
    Ok(())
}

fn signals_start_with_their_defaults_in_a_session_of_the_programs_own() -> Verdict {
    let facts = facts_of(&Job::drill(&["facts"]), &host::single());
    assert_eq!(facts.status["SigBlk"], NONE);
    assert_eq!(
        facts.status["NSsid"], "1",
        "D23: the caller's terminal is out of reach"
    );
    // Rust's runtime ignores SIGPIPE, signal 13, in the drill itself.
    assert_eq!(facts.status["SigIgn"], "0000000000001000");
    Ok(())
}

fn filter_and_privileges_are_as_declared() -> Verdict {
    let weak = Confinement {
        seccomp: false,
        ..run_step()
    };
    for (confinement, seccomp, privileges) in [
        (run_step(), "2", "0"),
        (container(), "2", "1"),
        (weak, "0", "0"),
    ] {
        let facts = facts_of(
            &Job {
                confinement,
                ..Job::drill(&["facts"])
            },
            &host::single(),
        );
        assert_eq!(
            (
                facts.status["Seccomp"].as_str(),
                facts.status["NoNewPrivs"].as_str()
            ),
            (seccomp, privileges)
        );
    }
    Ok(())
}
