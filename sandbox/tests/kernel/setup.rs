//! The rules of a step's set-up: who owns what it makes, what is mounted where, and what a program finds.

use sandbox::{SessionPlan, UserSpec};

use crate::drill::facts::Facts;
use crate::host;
use crate::stage::{DRILL, Entry, Job, Network, Node, StepReport, nonroot};
use crate::trial::{Verdict, trials};

trials![
    no_entry_of_session_id_0_is_ever_in_an_upper_directory,
    in_a_single_id_session_everything_belongs_to_the_user,
    mount_points_are_made_in_an_empty_image_and_only_in_the_upper_directory,
    proc_dev_and_message_queues_are_mounted_as_they_should_be,
    sysfs_is_new_with_an_own_network_and_the_hosts_read_only_without,
    new_terminals_belong_to_group_5,
    in_a_single_id_session_terminals_belong_to_the_only_group,
    supplementary_groups_are_the_declared_ones,
    in_a_single_id_session_setgroups_is_denied,
    standard_output_and_error_can_be_opened_again_by_the_steps_user,
    the_pivoted_root_has_nothing_of_the_host,
    a_read_only_root_is_read_only_and_a_writable_one_is_not,
    two_steps_do_not_see_each_others_changes,
    overlays_are_mounted_as_before_linux_6_8_too,
    the_environment_and_working_directory_are_the_declared_ones,
    a_program_without_a_slash_is_found_in_path_and_a_missing_one_is_named,
    users_beyond_the_map_are_refused_with_a_reason,
];

/// The users that a step is tried with.
fn users() -> [UserSpec; 2] {
    [UserSpec::default(), nonroot()]
}

fn facts(report: &StepReport) -> Facts {
    serde_json::from_str(report.printed()).expect("the drill prints its facts")
}

fn facts_of(job: &Job, plan: &SessionPlan) -> Facts {
    facts(&job.run_one(plan))
}

fn find<'a>(upper: &'a [Entry], path: &str) -> &'a Entry {
    upper
        .iter()
        .find(|entry| entry.path == path)
        .unwrap_or_else(|| panic!("no {path} in {upper:#?}"))
}

fn no_entry_of_session_id_0_is_ever_in_an_upper_directory() -> Verdict {
    let plan = host::ranged()?;
    for user in users() {
        let place = if user.uid == 0 { "/etc" } else { "/home" };
        let owner = user.uid + 1;
        let image = Node::small_image()
            .into_iter()
            .filter(|node| !["sys", "dev"].contains(&node.path()))
            .collect();
        let job = Job {
            user,
            image,
            ..Job::drill(&["make", place, "/tmp"])
        };
        let report = job.run_one(&plan);
        report.printed();
        assert_eq!(find(&report.upper, "tmp/file").uid, owner);
        let of_the_user: Vec<&Entry> = report
            .upper
            .iter()
            .filter(|e| e.uid == 0 || e.gid == 0)
            .collect();
        assert!(of_the_user.is_empty(), "{of_the_user:#?}");
        assert!(
            report.upper.len() > 10,
            "the walk must see what the step made: {:#?}",
            report.upper
        );
    }
    Ok(())
}

fn in_a_single_id_session_everything_belongs_to_the_user() -> Verdict {
    let report = Job::drill(&["make", "/etc"]).run_one(&host::single());
    report.printed();
    assert!(
        report
            .upper
            .iter()
            .all(|entry| (entry.uid, entry.gid) == (0, 0)),
        "{:#?}",
        report.upper
    );
    Ok(())
}

fn mount_points_are_made_in_an_empty_image_and_only_in_the_upper_directory() -> Verdict {
    // The store's directory is 0700 and the user's: image root, another user, gets to the image by handles alone.
    let job = Job {
        image: Vec::new(),
        ..Job::drill(&["facts"])
    };
    let report = job.run_one(&host::ranged()?);
    assert_eq!(facts(&report).root, ["dev", "drill", "proc", "sys"]);
    let made: Vec<&str> = report
        .upper
        .iter()
        .map(|entry| entry.path.as_str())
        .collect();
    assert_eq!(made, ["", "dev", "drill", "proc", "sys"]);
    Ok(())
}

fn proc_dev_and_message_queues_are_mounted_as_they_should_be() -> Verdict {
    let facts = facts_of(&Job::drill(&["facts"]), &host::ranged()?);
    let expected = [
        ("/proc", "proc", &["nosuid", "nodev", "noexec"][..]),
        ("/sys", "sysfs", &["ro", "nosuid", "nodev", "noexec"]),
        ("/dev", "tmpfs", &["nosuid", "noexec"]),
        ("/dev/pts", "devpts", &["nosuid", "noexec"]),
        ("/dev/shm", "tmpfs", &["nosuid", "nodev", "noexec"]),
        ("/dev/mqueue", "mqueue", &["nosuid", "nodev", "noexec"]),
    ];
    for (point, filesystem, options) in expected {
        let mount = facts.mount(point);
        assert_eq!(mount.filesystem, filesystem, "{mount:?}");
        assert!(options.iter().all(|option| mount.has(option)), "{mount:?}");
    }
    assert_eq!(
        facts.processes,
        [1],
        "the step has a process namespace of its own"
    );
    assert_eq!(facts.hostname, "stage");
    Ok(())
}

fn sysfs_is_new_with_an_own_network_and_the_hosts_read_only_without() -> Verdict {
    let plan = host::ranged()?;
    let own = facts_of(&Job::drill(&["facts"]), &plan);
    assert_eq!(own.interfaces, ["lo"]);
    let hosts = facts_of(
        &Job {
            network: Network::Host,
            ..Job::drill(&["facts"])
        },
        &plan,
    );
    assert!(hosts.mount("/sys").has("ro"));
    let below: Vec<_> = hosts
        .mounts
        .iter()
        .filter(|mount| mount.point.starts_with("/sys"))
        .collect();
    assert!(below.iter().all(|mount| mount.has("ro")), "{below:#?}");
    Ok(())
}

fn new_terminals_belong_to_group_5() -> Verdict {
    let facts = facts_of(&Job::drill(&["facts"]), &host::ranged()?);
    assert_eq!(facts.pts_gid, Some(5));
    Ok(())
}

fn in_a_single_id_session_terminals_belong_to_the_only_group() -> Verdict {
    let facts = facts_of(&Job::drill(&["facts"]), &host::single());
    assert_eq!(facts.pts_gid, Some(0));
    Ok(())
}

fn supplementary_groups_are_the_declared_ones() -> Verdict {
    let plan = host::ranged()?;
    for (groups, expected) in [(vec![], ""), (vec![27, 100], "27 100")] {
        for uid in [0, 65532] {
            let user = UserSpec {
                uid,
                gid: uid,
                groups: groups.clone(),
            };
            let facts = facts_of(
                &Job {
                    user,
                    ..Job::drill(&["facts"])
                },
                &plan,
            );
            assert_eq!(facts.status["Groups"], expected);
            assert_eq!(facts.status["Gid"], format!("{uid} {uid} {uid} {uid}"));
        }
    }
    Ok(())
}

fn in_a_single_id_session_setgroups_is_denied() -> Verdict {
    // S79: otherwise a process could leave a group that a file is closed to.
    let facts = facts_of(&Job::drill(&["facts"]), &host::single());
    assert_eq!(facts.maps, ["0 0 1", "0 0 1", "deny"]);
    Ok(())
}

fn standard_output_and_error_can_be_opened_again_by_the_steps_user() -> Verdict {
    let plan = host::ranged()?;
    for user in users() {
        let report = Job {
            user,
            ..Job::drill(&["reopen"])
        }
        .run_one(&plan);
        assert_eq!(report.printed(), "out\nagain\n");
        assert_eq!(report.stderr, "err\n");
    }
    Ok(())
}

fn the_pivoted_root_has_nothing_of_the_host() -> Verdict {
    let facts = facts_of(&Job::drill(&["facts"]), &host::ranged()?);
    assert_eq!(
        facts.root,
        ["dev", "drill", "etc", "home", "proc", "sys", "tmp"]
    );
    let outside = [
        "overlay", "proc", "sysfs", "tmpfs", "devpts", "mqueue", "devtmpfs",
    ];
    let strange: Vec<_> = facts
        .mounts
        .iter()
        .filter(|mount| !outside.contains(&mount.filesystem.as_str()) && mount.point != DRILL)
        .collect();
    assert!(strange.is_empty(), "{strange:#?}");
    assert_eq!(facts.mount("/").filesystem, "overlay");
    Ok(())
}

fn a_read_only_root_is_read_only_and_a_writable_one_is_not() -> Verdict {
    let plan = host::ranged()?;
    for (read_only_root, written) in [(true, false), (false, true)] {
        let job = Job {
            read_only_root,
            ..Job::drill(&["write", "/etc/new", "text"])
        };
        let report = job.run_one(&plan);
        let found = report.upper.iter().any(|entry| entry.path == "etc/new");
        assert_eq!(found, written, "{}", report.stderr);
        assert_eq!(
            report.stderr.contains("Read-only file system"),
            read_only_root,
            "{}",
            report.stderr
        );
    }
    Ok(())
}

fn two_steps_do_not_see_each_others_changes() -> Verdict {
    let mut job = Job::drill(&["write", "/etc/new", "text"]);
    job.programs.extend(Job::drill(&["make", "/etc"]).programs);
    let steps = job
        .run(&host::ranged()?)
        .expect("there is no network to start");
    let has_new = |step: &StepReport| step.upper.iter().any(|entry| entry.path == "etc/new");
    assert_eq!(steps.iter().map(has_new).collect::<Vec<_>>(), [true, false]);
    Ok(())
}

fn overlays_are_mounted_as_before_linux_6_8_too() -> Verdict {
    let plan = host::ranged()?;
    let job = Job {
        // With the image the most that fit.
        old_layers: Some(105),
        ..Job::drill(&["write", "/topmost", "text"])
    };
    let report = job.run_one(&plan);
    report.printed();
    assert_eq!(find(&report.upper, "topmost").uid, 1);
    Ok(())
}

fn the_environment_and_working_directory_are_the_declared_ones() -> Verdict {
    let env = vec![
        ("HOME".to_owned(), "/home".to_owned()),
        ("EMPTY".to_owned(), String::new()),
    ];
    let job = Job {
        env: env.clone(),
        cwd: "/home".to_owned(),
        ..Job::drill(&["facts"])
    };
    let facts = facts_of(&job, &host::ranged()?);
    assert_eq!(facts.env, env.into_iter().collect());
    assert_eq!((facts.cwd.as_str(), facts.umask), ("/home", 0o022));
    Ok(())
}

fn a_program_without_a_slash_is_found_in_path_and_a_missing_one_is_named() -> Verdict {
    let plan = host::ranged()?;
    let path = |path: &str| vec![("PATH".to_owned(), path.to_owned())];
    let found = Job {
        env: path("/missing:/bin:/"),
        ..Job::drill(&[])
    };
    let program = ["drill", "write", "/tmp/new", ""]
        .map(str::to_owned)
        .to_vec();
    Job {
        programs: vec![program.clone()],
        ..found
    }
    .run_one(&plan)
    .printed();
    let missing = Job {
        env: path("/missing:/etc"),
        programs: vec![program],
        ..Job::drill(&[])
    };
    assert_eq!(
        missing.run_one(&plan).refused(),
        "start the step's program: execute drill: No such file or directory"
    );
    Ok(())
}

fn users_beyond_the_map_are_refused_with_a_reason() -> Verdict {
    let user = UserSpec {
        uid: 70_000,
        gid: 0,
        groups: Vec::new(),
    };
    let report = Job {
        user,
        ..Job::drill(&["facts"])
    }
    .run_one(&host::ranged()?);
    assert!(
        report.refused().contains("become user 70000:0"),
        "{}",
        report.refused()
    );
    Ok(())
}
