//! Every check on a made-up machine, once in order and once broken. Invariant: a check without a row in `BROKEN` fails
//! `every_check_has_a_row`, and every remedy that any row produces is valid shell.

mod broken;
mod machine;

use std::process::Command;

use rustix::io::Errno;

use super::*;
use Status::{Failure, NotApplicable, Ok as Fine, Warning};
use broken::{BROKEN, f41_tun_missing, filtered_container, restrict_by_apparmor};
use machine::Machine;

#[test]
fn a_machine_in_order_has_nothing_to_mend() {
    let report = Machine::new().report();
    for finding in &report.findings {
        assert!(
            matches!(finding.status, Fine | NotApplicable),
            "{finding:?}"
        );
    }
    assert_eq!(report.degree, Degree::Full);
}

#[test]
fn each_broken_thing_is_found_by_its_check() {
    for (id, break_it, status, observed, remedy) in BROKEN {
        let mut machine = Machine::new();
        break_it(&mut machine);
        let finding = machine.finding(id);
        assert_eq!(finding.status, *status, "{finding:?}");
        assert!(
            finding.observed.contains(observed),
            "{id}: {observed:?} is not in {finding:?}"
        );
        assert!(
            finding
                .remedy
                .as_deref()
                .unwrap_or_default()
                .contains(remedy),
            "{id}: {remedy:?} is not in {finding:?}"
        );
    }
}

#[test]
fn a_trial_that_an_old_kernel_refuses_is_not_blamed_on_its_configuration() {
    let mut machine = Machine::new();
    machine.userns = Err(Errno::INVAL);
    let finding = machine.finding("userns.trial");
    assert_eq!(finding.status, Failure);
    assert_eq!(finding.remedy, None, "{finding:?}");
}

#[test]
fn every_check_has_a_row() {
    for check in checks() {
        assert!(
            BROKEN.iter().any(|(id, ..)| *id == check.id),
            "{} is tested nowhere",
            check.id
        );
    }
}

#[test]
fn every_remedy_is_valid_shell() {
    for (id, break_it, ..) in BROKEN {
        let mut machine = Machine::new();
        break_it(&mut machine);
        for remedy in machine
            .report()
            .findings
            .into_iter()
            .filter_map(|finding| finding.remedy)
        {
            let output = Command::new("sh")
                .args(["-n", "-c", &remedy])
                .output()
                .unwrap();
            assert!(
                output.status.success(),
                "{id}: {remedy}\n{}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
    }
}

#[test]
fn the_apparmor_remedy_writes_a_profile_for_this_binary() {
    let mut machine = Machine::new();
    restrict_by_apparmor(&mut machine);
    let remedy = machine.finding("userns.apparmor").remedy.unwrap();
    let (printing, _) = remedy.split_once(" | ").unwrap();
    let profile = Command::new("sh")
        .args(["-c", printing])
        .output()
        .unwrap()
        .stdout;
    insta::assert_snapshot!(String::from_utf8(profile).unwrap(), @r#"
abi <abi/4.0>,
include <tunables/global>
profile rbuild "/opt/my tools/rbuild" flags=(unconfined) {
  userns,
}
"#);
    assert!(
        remedy.find("apparmor_parser").unwrap()
            < remedy.find("restrict_unprivileged_userns = 0").unwrap()
    );
}

#[test]
fn apparmor_does_not_matter_under_a_profile_of_its_own_nor_to_root() {
    let mut machine = Machine::new();
    machine.write(
        "proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1\n",
    );
    assert_eq!(machine.finding("userns.apparmor").status, Fine);
    restrict_by_apparmor(&mut machine);
    machine.view.uid = 0;
    assert_eq!(machine.finding("userns.apparmor").status, Fine);
}

#[test]
fn f36_file_capabilities_are_as_good_as_setuid() {
    let mut machine = Machine::new();
    machine.edit("bin/newuidmap", |facts| {
        (facts.mode, facts.capabilities) = (0o755, 1 << 7)
    });
    assert_eq!(machine.finding("helpers.newuidmap").status, Fine);
    machine.programs.nosuid = true;
    assert_eq!(machine.finding("helpers.newuidmap").status, Failure);
}

#[test]
fn f36_programs_without_privilege_leave_a_single_id_and_stop_a_session_with_sub_ids() {
    let breaks: [fn(&mut Machine); 3] = [
        |m| m.remove("bin/newuidmap"),
        |m| m.edit("bin/newuidmap", |facts| facts.mode = 0o755),
        |m| m.programs.nosuid = true,
    ];
    for break_it in breaks {
        let mut machine = Machine::new();
        break_it(&mut machine);
        assert_eq!(machine.report().degree, Degree::SingleId);
        let failures = machine.before_session().unwrap_err();
        assert!(
            failures
                .iter()
                .any(|finding| finding.id == "helpers.newuidmap"),
            "{failures:?}"
        );
    }
}

#[test]
fn f43_a_container_with_seccomp_and_masked_proc_is_named_and_left_with_files_only() {
    let mut machine = Machine::new();
    filtered_container(&mut machine);
    assert_eq!(machine.report().degree, Degree::FilesOnly);
    assert!(
        machine
            .finding("userns.trial")
            .why
            .contains("seccomp filter")
    );
    let failures = machine.before_session().unwrap_err();
    assert!(
        failures
            .iter()
            .any(|finding| finding.id == "confinement.proc"),
        "{failures:?}"
    );
}

#[test]
fn degrees_follow_from_what_is_missing() {
    let degree = |break_it: fn(&mut Machine)| {
        let mut machine = Machine::new();
        break_it(&mut machine);
        machine.report().degree
    };
    assert_eq!(degree(|_| {}), Degree::Full);
    assert_eq!(degree(|m| m.view.uid = 0), Degree::Root);
    assert_eq!(degree(|m| m.write("etc/subgid", "")), Degree::SingleId);
    assert_eq!(degree(|m| m.remove("bin/newuidmap")), Degree::SingleId);
    assert_eq!(degree(|m| m.userns = Err(Errno::PERM)), Degree::FilesOnly);
    assert_eq!(
        degree(|m| m.store.kind = Filesystem::Nfs),
        Degree::FilesOnly
    );
    assert_eq!(degree(f41_tun_missing), Degree::Full);
}

#[test]
fn root_of_a_container_has_what_its_namespace_has() {
    let mut machine = Machine::new();
    machine.view.uid = 0;
    machine.write("proc/self/uid_map", "0 1000 1\n1 100000 65535\n");
    let finding = machine.finding("subuid.range");
    assert_eq!(
        (finding.status, finding.why.contains("image uid 65535")),
        (Warning, true),
        "{finding:?}"
    );
    machine.write("proc/self/uid_map", "0 1000 1\n");
    assert_eq!(machine.finding("subuid.range").status, Failure);
    assert_eq!(machine.report().degree, Degree::SingleId);
}

#[test]
fn root_is_told_no_sudo() {
    let mut machine = Machine::new();
    machine.view.uid = 0;
    f41_tun_missing(&mut machine);
    let remedy = machine.finding("network.tun").remedy.unwrap();
    assert!(
        remedy.starts_with("modprobe tun\n") && !remedy.contains("sudo"),
        "{remedy}"
    );
}

#[test]
fn a_store_that_does_not_exist_yet_is_judged_by_its_ancestor() {
    let mut machine = Machine::new();
    machine.view.store = machine.at("home/alice/.local/share/rbuild");
    let finding = machine.finding("store.directory");
    assert_eq!(
        (
            finding.status,
            finding.observed.ends_with("rbuild will be made")
        ),
        (Fine, true)
    );
    machine.store.kind = Filesystem::Nfs;
    assert_eq!(machine.finding("store.filesystem").status, Failure);
}

#[test]
fn f41_only_pasta_needs_the_tun_device() {
    let machine = Machine::new();
    machine.remove("dev/net/tun");
    let failures = before_pasta(&machine.view).unwrap_err();
    assert_eq!(
        failures
            .iter()
            .map(|finding| finding.id)
            .collect::<Vec<_>>(),
        ["network.tun"]
    );
    assert!(machine.before_session().is_ok());
}

#[test]
fn before_session_reports_each_quick_failure_and_no_other() {
    let machine = Machine::new();
    machine.write("etc/subuid", "alice:100000:9\n");
    machine.write("proc/sys/user/max_user_namespaces", "0\n");
    machine.remove("bin/newgidmap");
    machine.remove("bin/pasta");
    let ids: Vec<&str> = machine
        .before_session()
        .unwrap_err()
        .iter()
        .map(|finding| finding.id)
        .collect();
    for id in ["userns.limit", "helpers.newgidmap", "subuid.range"] {
        assert!(ids.contains(&id), "{id} is not in {ids:?}");
    }
    assert!(!ids.contains(&"network.pasta"), "{ids:?}");
}

#[test]
fn a_new_range_counts_at_the_next_command() {
    let mut machine = Machine::new();
    machine.write("etc/subuid", "");
    machine.view.uid = 0;
    machine.view.store = machine.at("home/new");
    let uids = |machine: &Machine| machine.before_session().map(|ids| ids.uids);
    assert_eq!(uids(&machine).unwrap(), [crate::subids::ROOT_FALLBACK]);
    machine.write("etc/subuid", "root:300000:65536\n");
    assert_eq!(uids(&machine).unwrap()[0].start, 300_000);
}

/// The best of many: the machine may be busy, and the first look finds cold caches.
#[test]
fn before_session_takes_less_than_a_millisecond() {
    let mut machine = Machine::new();
    machine.view.proc = "/proc".into();
    let times = (0..50).map(|_| {
        let start = std::time::Instant::now();
        let _ = before_session(&machine.view);
        start.elapsed()
    });
    let best = times.min().unwrap();
    assert!(best.as_micros() < 1000, "{best:?}");
}

#[test]
fn examining_this_machine_with_the_real_probes_answers_every_check() {
    let view = HostView {
        store: "/var/tmp/rbuild".into(),
        path_dirs: vec!["/usr/bin".into()],
        ..HostView::standard()
    };
    let report = examine(&view, &Probes::without_trials());
    assert_eq!(report.findings.len(), checks().count());
    assert!(
        report
            .findings
            .iter()
            .all(|finding| !finding.observed.is_empty())
    );
}

#[test]
fn report_of_a_machine_in_order() {
    insta::assert_snapshot!(Machine::new().text(), @r"
rootless with subordinate ids: every build, RUN as any user 0 to 65535, and containers with keep-id, nomap and host maps

ok       kernel                        6.18.44-amd64
ok       kernel features               all that rbuild can use
ok       unprivileged user namespaces  kernel.unprivileged_userns_clone = 1
ok       number of user namespaces     user.max_user_namespaces = 96364
ok       number of other namespaces    at least 96364 of each kind
-        AppArmor and user namespaces  no such restriction
ok       making a user namespace       works
ok       account                       alice (uid 1000)
ok       newuidmap                     /bin/newuidmap, setuid root
ok       newgidmap                     /bin/newgidmap, setuid root
ok       subordinate uids              100000-165535 (65536 ids)
ok       subordinate gids              100000-165535 (65536 ids)
ok       subordinate uids unshared     no other account has any of them
ok       subordinate gids unshared     no other account has any of them
ok       no_new_privs                  not set
ok       outer seccomp filter          none
ok       outer AppArmor profile        none that restricts
ok       unmasked /proc                nothing is mounted over it
ok       store directory               /store, mode 0700
ok       store filesystem              ext4 under /store
ok       store space                   51200 MiB free
ok       overlay in a user namespace   works
ok       XDG_RUNTIME_DIR               /run/user/1000
ok       lingering                     on
ok       cgroup hierarchy              v2 at /sys/fs/cgroup
ok       delegated controllers         cpu memory pids at user@1000.service, on for its children: memory pids
ok       pasta                         /bin/pasta
ok       /dev/net/tun                  can be opened
ok       lowest unprivileged port      net.ipv4.ip_unprivileged_port_start = 1024
ok       ping                          net.ipv4.ping_group_range = 0 2147483647

0 failed, 0 warnings, 29 ok, 1 not applicable
");
}

#[test]
fn report_of_a_fresh_ubuntu_with_its_home_on_nfs() {
    let mut machine = Machine::new();
    machine.write("etc/os-release", "ID=ubuntu\nID_LIKE=debian\n");
    machine.write("proc/sys/kernel/osrelease", "6.8.0-45-generic\n");
    restrict_by_apparmor(&mut machine);
    machine.remove("proc/sys/kernel/unprivileged_userns_clone");
    machine.remove("bin/newuidmap");
    machine.remove("bin/newgidmap");
    machine.remove("bin/pasta");
    machine.write("etc/subuid", "");
    machine.store.kind = Filesystem::Nfs;
    machine.view.runtime_dir = None;
    insta::assert_snapshot!(machine.text(), @r#"
files only: builds that copy and configure, with every owner recorded in the layers
not possible: RUN steps and `rbuild run`

ok       kernel                        6.8.0-45-generic
warning  kernel features               without data-only overlay layers for users (6.16): keep-id copies files of large owners once per image
         why: everything works without them, some of it slower or with smaller limits
         fix: sudo apt-get update && sudo apt-get dist-upgrade -y && sudo reboot
-        unprivileged user namespaces  this kernel has no such switch
ok       number of user namespaces     user.max_user_namespaces = 96364
ok       number of other namespaces    at least 96364 of each kind
FAILED   AppArmor and user namespaces  kernel.apparmor_restrict_unprivileged_userns = 1, and rbuild runs under the profile `unconfined`
         why: since Ubuntu 23.10 a program without a profile of its own has no capabilities in a user namespace
         fix: printf 'abi <abi/4.0>,\ninclude <tunables/global>\nprofile rbuild "%s" flags=(unconfined) {\n  userns,\n}\n' '/opt/my tools/rbuild' | sudo tee /etc/apparmor.d/rbuild
              sudo apparmor_parser -r /etc/apparmor.d/rbuild
              # or, weaker, for every program of this machine:
              echo 'kernel.apparmor_restrict_unprivileged_userns = 0' | sudo tee -a /etc/sysctl.d/99-rbuild.conf
              sudo sysctl -p /etc/sysctl.d/99-rbuild.conf
FAILED   making a user namespace       Permission denied (os error 13)
         why: forbidden by a switch above, by a security module, or because rbuild runs in a chroot (user_namespaces(7))
ok       account                       alice (uid 1000)
FAILED   newuidmap                     not in PATH
         why: an ordinary user may map only its own id; this program maps the subordinate ids, and needs privilege for that
         fix: sudo apt-get install -y uidmap
FAILED   newgidmap                     not in PATH
         why: an ordinary user may map only its own id; this program maps the subordinate ids, and needs privilege for that
         fix: sudo apt-get install -y uidmap
FAILED   subordinate uids              cannot find a range for alice (uid 1000) in /etc/subuid; add the line `alice:100000:65536`
         why: an image's users 0 to 65535 become these ids on this host, so 65536 are needed
         fix: sudo usermod --add-subuids 100000-165535 alice
ok       subordinate gids              100000-165535 (65536 ids)
-        subordinate uids unshared     no range
ok       subordinate gids unshared     no other account has any of them
ok       no_new_privs                  not set
ok       outer seccomp filter          none
ok       outer AppArmor profile        none that restricts
ok       unmasked /proc                nothing is mounted over it
ok       store directory               /store, mode 0700
FAILED   store filesystem              nfs under /store
         why: a file server knows nothing of user namespaces: it refuses files of subordinate ids, and overlays on it
         fix: mkdir -m 0700 /var/tmp/rbuild-1000
              # then use: RBUILD_STORE=/var/tmp/rbuild-1000
ok       store space                   51200 MiB free
-        overlay in a user namespace   no user namespace to try it in
warning  XDG_RUNTIME_DIR               not set, as after `su` or `sudo -u`
         why: the user's systemd, which gives containers their cgroups and runs Quadlet units, is reached through it
         fix: sudo loginctl enable-linger alice
              export XDG_RUNTIME_DIR=/run/user/1000
ok       lingering                     on
ok       cgroup hierarchy              v2 at /sys/fs/cgroup
ok       delegated controllers         cpu memory pids at user@1000.service, on for its children: memory pids
FAILED   pasta                         not in PATH, nor is slirp4netns
         why: pasta connects the network namespace of steps and containers; `--network none` and `host` work without it
         fix: sudo apt-get install -y passt
ok       /dev/net/tun                  can be opened
ok       lowest unprivileged port      net.ipv4.ip_unprivileged_port_start = 1024
ok       ping                          net.ipv4.ping_group_range = 0 2147483647

7 failed, 2 warnings, 18 ok, 3 not applicable
"#);
}

#[test]
fn a_report_is_serialised_with_stable_names() {
    let json = serde_json::to_value(Machine::new().report()).unwrap();
    assert_eq!(json["degree"], "full");
    assert_eq!(json["findings"][0]["id"], "kernel.version");
    assert_eq!(json["findings"][0]["status"], "ok");
}
