//! The isolation drill: what a program in a step can reach of the host, and of the kernel. Every probe must fail inside as
//! its row says, and must have another result where the row's protections are off, or on the host.

use std::collections::BTreeSet;

use sandbox::drill::{self, Cage, Control, PROBES, Probe, Protection, Results, arguments, results};
use sandbox::{CapabilitySet, Confinement, SessionPlan, UserSpec};

use crate::host;
use crate::stage::{DRILL, Job, Volume, container, nonroot, run_step};
use crate::trial::{Skip, Verdict, trials};

trials![
    every_probe_fails_in_a_build_step_as_image_root,
    every_probe_fails_in_a_build_step_as_another_user,
    every_probe_fails_in_a_container_as_image_root,
    every_probe_fails_in_a_container_as_another_user,
    every_probe_fails_in_a_single_id_session,
    without_its_protections_each_probe_has_another_result,
    no_protection_alone_decides_where_two_stand,
    on_the_host_the_probes_succeed,
    for_the_hosts_root_the_probes_of_privilege_succeed,
    nested_user_namespaces_are_refused_by_the_count_and_by_the_filter_each_alone,
    a_key_of_the_host_is_not_found_even_without_the_filter,
    d41_what_a_step_mounts_is_seen_nowhere_else,
    killing_everything_in_a_step_leaves_the_host_alone,
];

fn cage() -> Cage {
    Cage::new(&std::env::temp_dir()).expect("the host has what the drill looks for")
}

fn run_inside(
    probes: &[&Probe],
    confinement: Confinement,
    user: UserSpec,
    plan: &SessionPlan,
) -> Results {
    let mut cage = cage();
    let program = [
        vec![DRILL.to_owned()],
        arguments(&cage.canary, probes.iter().copied()),
    ]
    .concat();
    let job = Job {
        confinement,
        user,
        programs: vec![program],
        ..Job::drill(&[])
    };
    let report = job.run_one(plan);
    assert!(cage.is_unharmed());
    results(report.printed())
}

fn run_on_the_host(probes: &[&Probe]) -> Results {
    let cage = cage();
    drill::on_the_host(&cage.canary, probes.iter().copied()).expect("the drill can be executed")
}

/// The rows whose result is not what `wanted` says of them.
fn deviations(
    probes: &[&Probe],
    results: &Results,
    wanted: impl Fn(&Probe, &str) -> bool,
) -> Vec<String> {
    let result = |probe: &Probe| results.get(probe.name).map_or("no result", String::as_str);
    let wrong = probes.iter().filter(|probe| !wanted(probe, result(probe)));
    wrong
        .map(|probe| {
            format!(
                "{} {}: {} (inside: {})",
                probe.id,
                probe.name,
                result(probe),
                probe.inside
            )
        })
        .collect()
}

fn is_inside(probe: &Probe, result: &str) -> bool {
    probe.is_inside(result)
}

fn probes_with(control: impl Fn(Control) -> bool) -> Vec<&'static Probe> {
    PROBES
        .iter()
        .filter(|probe| control(probe.control))
        .collect()
}

#[track_caller]
fn all_fail(confinement: Confinement, user: UserSpec, plan: &SessionPlan) {
    let of_containers = Control::Without(&[]);
    let is_container = confinement.no_new_privileges;
    let probes = probes_with(|control| is_container || control != of_containers);
    let results = run_inside(&probes, confinement, user, plan);
    let wrong = deviations(&probes, &results, is_inside);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn every_probe_fails_in_a_build_step_as_image_root() -> Verdict {
    all_fail(run_step(), UserSpec::default(), &host::ranged()?);
    Ok(())
}

fn every_probe_fails_in_a_build_step_as_another_user() -> Verdict {
    all_fail(run_step(), nonroot(), &host::ranged()?);
    Ok(())
}

fn every_probe_fails_in_a_container_as_image_root() -> Verdict {
    all_fail(container(), UserSpec::default(), &host::ranged()?);
    Ok(())
}

fn every_probe_fails_in_a_container_as_another_user() -> Verdict {
    all_fail(container(), nonroot(), &host::ranged()?);
    Ok(())
}

fn every_probe_fails_in_a_single_id_session() -> Verdict {
    all_fail(run_step(), UserSpec::default(), &host::single());
    Ok(())
}

/// A build step's confinement without some of its protections.
fn without(protections: &[Protection]) -> Confinement {
    let mut confinement = run_step();
    for protection in protections {
        match protection {
            Protection::Filter => confinement.seccomp = false,
            Protection::Capabilities => confinement.capabilities = CapabilitySet::all(),
            Protection::Masks => confinement.mask_paths = false,
        }
    }
    confinement
}

/// The sets of protections that guard probes.
fn guards() -> BTreeSet<&'static [Protection]> {
    let guard = |probe: &Probe| match probe.control {
        Control::Without(protections) => Some(protections),
        _ => None,
    };
    PROBES.iter().filter_map(guard).collect()
}

fn without_its_protections_each_probe_has_another_result() -> Verdict {
    let plan = host::ranged()?;
    for guard in guards() {
        let probes = probes_with(|control| control == Control::Without(guard));
        let results = run_inside(&probes, without(guard), UserSpec::default(), &plan);
        let green = deviations(&probes, &results, |probe, result| {
            result != "no result" && !is_inside(probe, result)
        });
        assert!(green.is_empty(), "unchanged without {guard:?}: {green:#?}");
    }
    Ok(())
}

fn no_protection_alone_decides_where_two_stand() -> Verdict {
    let plan = host::ranged()?;
    for guard in guards().into_iter().filter(|guard| guard.len() > 1) {
        let probes = probes_with(|control| control == Control::Without(guard));
        for protection in guard {
            let results = run_inside(&probes, without(&[*protection]), UserSpec::default(), &plan);
            let open = deviations(&probes, &results, |_, result| result != "ok");
            assert!(
                open.is_empty(),
                "open without {protection:?} alone: {open:#?}"
            );
        }
    }
    Ok(())
}

fn on_the_host_the_probes_succeed() -> Verdict {
    let probes = probes_with(|control| control == Control::Host);
    let broken = deviations(&probes, &run_on_the_host(&probes), |_, result| {
        result == "ok"
    });
    assert!(broken.is_empty(), "{broken:#?}");
    Ok(())
}

fn for_the_hosts_root_the_probes_of_privilege_succeed() -> Verdict {
    if !rustix::process::geteuid().is_root() {
        return Err(Skip {
            need: "degree",
            why: "this user is not root".to_owned(),
        });
    }
    let probes = probes_with(|control| control == Control::Root);
    // A machine need not have every device.
    let fine = |_: &Probe, result: &str| result == "ok" || result == "ENOENT";
    let broken = deviations(&probes, &run_on_the_host(&probes), fine);
    assert!(broken.is_empty(), "{broken:#?}");
    Ok(())
}

fn nested_user_namespaces_are_refused_by_the_count_and_by_the_filter_each_alone() -> Verdict {
    let probes = probes_with(|_| true)
        .into_iter()
        .filter(|probe| probe.name.ends_with("-user"))
        .collect::<Vec<_>>();
    assert_eq!(probes.len(), 2);
    for plan in [host::ranged()?, host::single()] {
        let all = [
            Protection::Filter,
            Protection::Capabilities,
            Protection::Masks,
        ];
        for (protections, expected) in [(&all[..], "ENOSPC"), (&all[1..], "EPERM")] {
            let results = run_inside(&probes, without(protections), UserSpec::default(), &plan);
            let wrong = deviations(&probes, &results, |_, result| result == expected);
            assert!(wrong.is_empty(), "without {protections:?}: {wrong:#?}");
        }
    }
    Ok(())
}

fn killing_everything_in_a_step_leaves_the_host_alone() -> Verdict {
    let mut cage = cage();
    Job::drill(&["kill-all"]).run_one(&host::single()).printed();
    assert!(cage.is_unharmed());
    Ok(())
}

fn a_key_of_the_host_is_not_found_even_without_the_filter() -> Verdict {
    // Possession outlives a user namespace: only a session keyring of its own keeps a step from the caller's.
    let probes = [drill::named("host-key").expect("its name")];
    let found = run_inside(
        &probes,
        without(&[Protection::Filter]),
        UserSpec::default(),
        &host::single(),
    );
    assert_eq!(found["host-key"], "ENOKEY");
    Ok(())
}

fn d41_what_a_step_mounts_is_seen_nowhere_else() -> Verdict {
    let volume = tempfile::tempdir().expect("the temporary directory is writable");
    let target = "/tmp".to_owned();
    let cage = cage();
    let program = [
        vec![DRILL.to_owned()],
        arguments(&cage.canary, drill::named("mount-tmpfs")),
    ]
    .concat();
    let confinement = without(&[Protection::Filter, Protection::Capabilities]);
    let volumes = vec![Volume {
        source: volume.path().to_owned(),
        target,
    }];
    let report = Job {
        confinement,
        volumes,
        programs: vec![program],
        ..Job::drill(&[])
    }
    .run_one(&host::single());
    assert_eq!(results(report.printed())["mount-tmpfs"], "ok");
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("/proc is mounted");
    assert!(
        !mounts.contains(&volume.path().display().to_string()),
        "{mounts}"
    );
    Ok(())
}
