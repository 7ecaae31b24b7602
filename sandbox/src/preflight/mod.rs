//! What this machine lets rbuild do, found out before work starts: the findings of `rbuild doctor`, and the quick subset
//! that precedes a session. Invariant: looking changes nothing on the host, and every failure carries its reason and,
//! where a command can mend it, that command.
//!
//! To add a check: write `fn name(host: &Host) -> Verdict` in the file of its group (pure: everything it reads comes from
//! `host`), add one [`Check`] row to that file's `CHECKS`, and one row with an ok and a failing host to `tests.rs`. A
//! check that decides whether something can be run states that in `loses`; one that must hold before each session, and
//! costs a few system calls at most, sets `quick`.

mod accounts;
mod cgroups;
mod confinement;
mod degree;
mod finding;
mod host;
mod kernel;
mod login;
mod network;
mod probe;
mod remedy;
mod render;
mod storage;
mod userns;

pub use degree::Degree;
pub use finding::{Check, Finding, Loss, Report, Status, Verdict};
pub use host::{Host, HostView};
pub use probe::{FileFacts, Filesystem, FilesystemFacts, Probe, Probes};
pub use render::render_text;

pub(crate) use remedy::shell_word;

use crate::subids::{SubIdSources, SubIds};

/// Every check, in the order in which a report shows them: from what decides most to what decides least.
const GROUPS: [&[Check]; 8] = [
    kernel::CHECKS,
    userns::CHECKS,
    accounts::CHECKS,
    confinement::CHECKS,
    storage::CHECKS,
    login::CHECKS,
    cgroups::CHECKS,
    network::CHECKS,
];

/// All checks there are.
pub fn checks() -> impl Iterator<Item = &'static Check> {
    GROUPS.into_iter().flatten()
}

/// Performs every check.
pub fn examine(view: &HostView, probes: &Probes<'_>) -> Report {
    let host = Host::observe(view, probes);
    let findings: Vec<Finding> = checks().map(|check| check.perform(&host)).collect();
    Report {
        degree: Degree::of(view.uid, &findings),
        findings,
    }
}

/// The checks without which a session cannot start, well under a millisecond together: files and sysctls, no probes (the
/// session itself is the probe). On success the ids that the session maps; else every failure, as `examine` shows it.
pub fn before_session(view: &HostView) -> Result<SubIds, Vec<Finding>> {
    before_session_seen_by(view, &Probes::without_trials())
}

/// The ids that [`before_session`] gives, after the checks of the account only. Whether the kernel takes them is left to a
/// session that starts at once; where that fails, [`before_session`] says why.
pub fn likely_ids(view: &HostView) -> Option<SubIds> {
    let probes = Probes::without_trials();
    let host = Host::observe(view, &probes);
    let mut findings = accounts::CHECKS.iter().map(|check| check.perform(&host));
    findings
        .all(|finding| finding.status != Status::Failure)
        .then(|| session_ids(&host).ok())
        .flatten()
}

fn before_session_seen_by(view: &HostView, probes: &Probes<'_>) -> Result<SubIds, Vec<Finding>> {
    let host = Host::observe(view, probes);
    let failures = failures_of(&host, |check| check.quick);
    if failures.is_empty() {
        session_ids(&host)
    } else {
        Err(failures)
    }
}

/// The checks that the network mode `pasta` needs; `none` and `host` need none of them.
pub fn before_pasta(view: &HostView) -> Result<(), Vec<Finding>> {
    let probes = Probes::without_trials();
    let failures = failures_of(&Host::observe(view, &probes), |check| {
        network::PASTA_NEEDS.contains(&check.id)
    });
    if failures.is_empty() {
        Ok(())
    } else {
        Err(failures)
    }
}

/// What the examination has to say about limits of steps; they find out by themselves whether they can be enforced.
pub fn about_limits(view: &HostView) -> Vec<Finding> {
    let probes = Probes::without_trials();
    let host = Host::observe(view, &probes);
    let wanted = checks().filter(|check| cgroups::LIMITS_NEED.contains(&check.id));
    wanted
        .map(|check| check.perform(&host))
        .filter(|finding| finding.status == Status::Warning)
        .collect()
}

fn failures_of(host: &Host<'_>, wanted: impl Fn(&Check) -> bool) -> Vec<Finding> {
    let findings = checks()
        .filter(|check| wanted(check))
        .map(|check| check.perform(host));
    findings
        .filter(|finding| finding.status == Status::Failure)
        .collect()
}

fn session_ids(host: &Host<'_>) -> Result<SubIds, Vec<Finding>> {
    let sources = SubIdSources::in_etc(&host.view.etc, &host.view.path_dirs);
    let found = if host.is_root() {
        sources.for_root(&host.uid_map, &host.gid_map)
    } else {
        host.found_ids()
            .map_or_else(|| sources.look_up(host.view.uid), Ok)
    };
    // The checks passed a moment ago; only a file that changed in between can end here.
    found.map_err(|error| vec![accounts::finding_of(&error)])
}

#[cfg(test)]
mod tests;
