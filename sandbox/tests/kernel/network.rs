//! Steps with a network: what pasta connects, what it does not, and what happens where it cannot.

use std::fs::OpenOptions;

use sandbox::SessionPlan;

use crate::drill::facts::Facts;
use crate::host;
use crate::stage::{DRILL, Job, Network, StepReport, container, nonroot};
use crate::trial::{Skip, Verdict, trials};

trials![
    two_steps_share_one_network,
    d27_listeners_of_the_host_cannot_be_reached_through_pasta,
    on_the_hosts_network_its_listeners_can_be_reached,
    d28_low_ports_can_be_bound_without_power_over_the_network,
    d29_without_a_network_there_is_only_loopback,
    f41_pasta_that_cannot_open_its_device_says_so,
    pasta_that_is_not_there_is_named,
];

/// pasta, where the device that it needs can be opened.
fn pasta() -> Result<Network, Skip> {
    let tun = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/net/tun");
    tun.map_err(|error| Skip {
        need: "tun",
        why: format!("/dev/net/tun: {error}"),
    })?;
    Ok(Network::Pasta(host::program("pasta")?))
}

fn plans() -> Vec<SessionPlan> {
    let mut plans = vec![host::single()];
    plans.extend(host::ranged().ok());
    plans
}

fn facts(step: &StepReport) -> Facts {
    serde_json::from_str(step.printed()).expect("the drill prints its facts")
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn two_steps_share_one_network() -> Verdict {
    let network = pasta()?;
    for plan in plans() {
        let programs = vec![words(&[DRILL, "facts"]), words(&[DRILL, "facts"])];
        let job = Job {
            network: network.clone(),
            programs,
            ..Job::drill(&[])
        };
        let steps = job.run(&plan).expect("pasta starts");
        let [first, second] = [facts(&steps[0]), facts(&steps[1])];
        assert_eq!(first.network, second.network);
        assert_eq!(first.interfaces.len(), 2, "{:?}", first.interfaces);
        assert_eq!(first.interfaces, second.interfaces);
    }
    Ok(())
}

/// The results of connecting from a step to a listener on each of the host's addresses.
fn connections(network: &Network, plan: &SessionPlan) -> Vec<String> {
    let cage = sandbox::drill::Cage::new(&std::env::temp_dir()).expect("a listener");
    let canary = serde_json::to_string(&cage.canary).expect("a canary is JSON");
    let names = ["host-loopback", "host-gateway", "host-abstract-socket"];
    let program = [words(&[DRILL, "probe", &canary]), words(&names)].concat();
    let job = Job {
        network: network.clone(),
        programs: vec![program],
        ..Job::drill(&[])
    };
    let report = job.run(plan).expect("the network starts").remove(0);
    report.printed().lines().map(str::to_owned).collect()
}

fn d27_listeners_of_the_host_cannot_be_reached_through_pasta() -> Verdict {
    let network = pasta()?;
    for plan in plans() {
        let found = connections(&network, &plan);
        assert_eq!(found.len(), 3);
        assert!(!found.iter().any(|line| line.ends_with(" ok")), "{found:?}");
    }
    Ok(())
}

fn on_the_hosts_network_its_listeners_can_be_reached() -> Verdict {
    // S73: that is what it means, and why it is not the default.
    let found = connections(&Network::Host, &host::single());
    assert_eq!(found[0], "host-loopback ok");
    assert_eq!(found[2], "host-abstract-socket ok");
    Ok(())
}

fn d28_low_ports_can_be_bound_without_power_over_the_network() -> Verdict {
    let network = pasta()?;
    for plan in plans() {
        let user = if plan.uids.len() > 1 {
            nonroot()
        } else {
            sandbox::UserSpec::default()
        };
        let programs = vec![words(&[DRILL, "listen", "80"])];
        let job = Job {
            network: network.clone(),
            confinement: container(),
            user,
            programs,
            ..Job::drill(&[])
        };
        let steps = job.run(&plan).expect("pasta starts");
        assert_eq!(steps[0].printed(), "listening\n");
    }
    Ok(())
}

fn d29_without_a_network_there_is_only_loopback() -> Verdict {
    for plan in plans() {
        assert_eq!(
            facts(&Job::drill(&["facts"]).run_one(&plan)).interfaces,
            ["lo"]
        );
    }
    Ok(())
}

fn f41_pasta_that_cannot_open_its_device_says_so() -> Verdict {
    let pasta = host::program("pasta")?;
    let job = Job {
        network: Network::PastaWithoutTun(pasta),
        ..Job::drill(&["facts"])
    };
    let error = job.run(&host::single()).expect_err("pasta cannot work");
    assert!(error.contains("/dev/net/tun"), "{error}");
    Ok(())
}

fn pasta_that_is_not_there_is_named() -> Verdict {
    let job = Job {
        network: Network::Pasta("/nowhere/pasta".into()),
        ..Job::drill(&["facts"])
    };
    let error = job
        .run(&host::single())
        .expect_err("there is no such program");
    assert_eq!(
        error,
        "start /nowhere/pasta: No such file or directory (os error 2)"
    );
    Ok(())
}
