//! What this machine gives to a build or a container: the ids of its session and the network of its steps. The invariant: what
//! is missing is found out before work starts, and is said with the command that mends it.

use std::path::{Path, PathBuf};

use sandbox::preflight::{self, Finding, HostView, Loss};
use sandbox::subids::SubIds;
use sandbox::{Caller, CgroupError, SessionPlan, WriterChoice};

use crate::args::UsernsMode;
use crate::args::build::NetworkArg;
use crate::args::limits::LimitSettings;
use crate::failure::Failure;
use crate::ranges;
use crate::surroundings::Surroundings;

/// Whether something can be executed here.
#[derive(Debug)]
pub(crate) enum Execution {
    /// With these ids. Findings say why they are only the caller's own.
    Possible(SessionPlan, Vec<Finding>),
    /// Not at all, for these reasons.
    Impossible(Vec<Finding>),
}

impl Execution {
    /// What a user with a single id should know before something is executed.
    pub(crate) fn caution(&self) -> Option<String> {
        let Self::Possible(plan, findings) = self else {
            return None;
        };
        let missing: Vec<String> = findings
            .iter()
            .map(|finding| format!("{}: {}", finding.subject, finding.observed))
            .collect();
        (plan.is_single_id() && !missing.is_empty()).then(|| {
            format!(
                "there is only your own id inside: RUN imitates users and owners, and a container has one user ({}); `rbuild doctor` says \
                 how to mend it, `--userns-mode single` that it is meant so",
                missing.join("; ")
            )
        })
    }

    /// The plan, for commands that cannot do without.
    ///
    /// # Errors
    /// When nothing can be executed here.
    pub(crate) fn required(self) -> Result<SessionPlan, Failure> {
        match self {
            Self::Possible(plan, _) => Ok(plan),
            Self::Impossible(findings) => Err(not_ready("run anything in a container", &findings)),
        }
    }
}

/// Finds out what a session on this store would be.
///
/// # Errors
/// When the store was written with other ids.
pub(crate) fn execution(here: &Surroundings, store: &Path) -> Result<Execution, Failure> {
    let found = ids(here, store)?;
    if let Execution::Possible(plan, _) = &found {
        ranges::check(store, plan)?;
    }
    Ok(found)
}

/// The first half of [`execution`]: the ids that this machine gives, whatever the store was written with.
///
/// # Errors
/// When the ids make no session.
pub(crate) fn ids(here: &Surroundings, store: &Path) -> Result<Execution, Failure> {
    let view = here.host_view(store);
    let found = preflight::before_session(&view);
    match found {
        Ok(_) if here.userns_mode == UsernsMode::Single => possible(here, &view, None, Vec::new()),
        Err(findings) if here.userns_mode == UsernsMode::Subids => {
            Ok(Execution::Impossible(findings))
        }
        Ok(ids) => possible(here, &view, Some(ids), Vec::new()),
        Err(findings)
            if findings
                .iter()
                .any(|finding| finding.loses == Loss::Execution) =>
        {
            Ok(Execution::Impossible(findings))
        }
        // What is meant needs no caution.
        Err(_) if here.userns_mode == UsernsMode::Single => possible(here, &view, None, Vec::new()),
        Err(findings) => possible(here, &view, None, findings),
    }
}

/// The ids that a session most likely gets, found without any check.
pub(crate) fn likely_plan(here: &Surroundings) -> Option<SessionPlan> {
    let view = here.host_view(Path::new(""));
    let ids = preflight::likely_ids(&view)?;
    match possible(here, &view, Some(ids), Vec::new()) {
        Ok(Execution::Possible(plan, _)) => Some(plan),
        _ => None,
    }
}

fn possible(
    here: &Surroundings,
    view: &HostView,
    ids: Option<SubIds>,
    findings: Vec<Finding>,
) -> Result<Execution, Failure> {
    let caller = Caller {
        uid: here.uid,
        gid: here.gid,
        ids,
        writer: writer(here, view),
    };
    let plan = SessionPlan::choose(&caller)
        .map_err(|error| Failure::new(crate::failure::Kind::Host, anyhow::Error::new(error)))?;
    Ok(Execution::Possible(plan, findings))
}

fn writer(here: &Surroundings, view: &HostView) -> WriterChoice {
    if here.uid == 0 {
        let status = std::fs::read_to_string(view.proc.join("self/status")).unwrap_or_default();
        return if may_write_maps(&status) {
            WriterChoice::Caller
        } else {
            WriterChoice::Nobody
        };
    }
    match (here.program("newuidmap"), here.program("newgidmap")) {
        (Some(newuidmap), Some(newgidmap)) => WriterChoice::Helpers {
            newuidmap,
            newgidmap,
        },
        _ => WriterChoice::Nobody,
    }
}

/// CAP_SETGID, CAP_SETUID, and CAP_SETFCAP for a map that holds root itself (user_namespaces(7), Linux 5.12).
fn may_write_maps(status: &str) -> bool {
    const NEEDED: u64 = 1 << 6 | 1 << 7 | 1 << 31;
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = line
        .and_then(|text| u64::from_str_radix(text.trim(), 16).ok())
        .unwrap_or(0);
    effective & NEEDED == NEEDED
}

/// The network of RUN and of containers, chosen before work starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NetworkChoice {
    /// Only `lo`; the text says what is missing for more, where the user did not ask for it.
    None(Option<String>),
    /// This machine's.
    Host,
    /// An own one, through this program.
    Pasta(PathBuf),
}

/// Chooses the network.
///
/// # Errors
/// When pasta was asked for by name and cannot work here.
pub(crate) fn network(
    asked: NetworkArg,
    here: &Surroundings,
    store: &Path,
) -> Result<NetworkChoice, Failure> {
    match asked {
        NetworkArg::None => return Ok(NetworkChoice::None(None)),
        NetworkArg::Host => return Ok(NetworkChoice::Host),
        NetworkArg::Pasta | NetworkArg::Default => {}
    }
    let findings = match (
        here.program("pasta"),
        preflight::before_pasta(&here.host_view(store)),
    ) {
        (Some(program), Ok(())) => return Ok(NetworkChoice::Pasta(program)),
        (_, Err(findings)) => findings,
        (None, Ok(())) => Vec::new(),
    };
    if asked == NetworkArg::Pasta {
        return Err(not_ready("connect a network with pasta", &findings));
    }
    let why = findings
        .first()
        .map_or("pasta is not installed".to_owned(), |finding| {
            format!("{}: {}", finding.subject, finding.observed)
        });
    Ok(NetworkChoice::None(Some(format!(
        "there is no network inside ({why}); `rbuild doctor` says how to get one"
    ))))
}

/// A failure that shows findings with their remedies.
pub(crate) fn not_ready(what: &str, findings: &[Finding]) -> Failure {
    let reasons: Vec<String> = findings
        .iter()
        .map(|finding| {
            format!(
                "{}: {} ({})",
                finding.subject, finding.observed, finding.why
            )
        })
        .collect();
    let failure = Failure::host(format!(
        "this machine cannot {what}: {}",
        reasons.join("; ")
    ));
    let remedies = findings.iter().filter_map(|finding| finding.remedy.clone());
    remedies
        .fold(failure, Failure::hint)
        .hint("`rbuild doctor` examines everything")
}

/// What is missing for limits.
#[derive(Clone, Copy)]
enum Lacking {
    /// Controllers of cgroup v2: those of version 1 can be given to nobody.
    Version,
    /// A cgroup with controllers that is the user's and empty.
    Delegation,
    /// Neither; the limit itself is refused.
    Nothing,
}

impl Lacking {
    fn of(error: &CgroupError) -> Self {
        match error {
            CgroupError::NotMounted { .. } | CgroupError::NoController { hybrid: true, .. } => {
                Self::Version
            }
            CgroupError::NoController { .. }
            | CgroupError::NotDelegated { .. }
            | CgroupError::OtherProcesses { .. } => Self::Delegation,
            CgroupError::NotVisible | CgroupError::Open { .. } | CgroupError::Refused { .. } => {
                Self::Nothing
            }
        }
    }
}

/// Limits that cannot be enforced, with what mends that: what `doctor` says of cgroups, and a cgroup for one command.
pub(crate) fn not_limited(
    what: &str,
    limits: &LimitSettings,
    error: CgroupError,
    here: &Surroundings,
    store: &Path,
) -> Failure {
    let missing = match &error {
        CgroupError::NoController { missing, .. } => missing.as_slice(),
        _ => &[],
    };
    let flags = limits.flags(missing);
    let context = format!("this machine cannot limit {what} ({flags})");
    let lacking = Lacking::of(&error);
    let failure = Failure::new(
        crate::failure::Kind::Host,
        anyhow::Error::new(error).context(context),
    );
    let examined = "without these flags no cgroup is needed; `rbuild doctor` examines everything";
    mend(lacking, here, store)
        .into_iter()
        .fold(failure, Failure::hint)
        .hint(examined)
}

/// What gives the user a cgroup with controllers, where that is what is missing.
fn mend(lacking: Lacking, here: &Surroundings, store: &Path) -> Vec<String> {
    let machine = || {
        let findings = preflight::about_limits(&here.host_view(store));
        findings.into_iter().filter_map(|finding| finding.remedy)
    };
    let user = if here.uid == 0 { "" } else { " --user" };
    let command = match here.program("systemd-run") {
        Some(_) => format!(
            "a cgroup for one command: systemd-run{user} --scope --quiet --property=Delegate=yes rbuild ..."
        ),
        None => "--cgroup-parent names a cgroup that is yours".to_owned(),
    };
    match lacking {
        Lacking::Version => machine().collect(),
        Lacking::Delegation => machine().chain([command]).collect(),
        Lacking::Nothing => Vec::new(),
    }
}

/// What could not be set up, with what may mend it.
pub(crate) fn session_failure(error: sandbox::SessionError) -> Failure {
    Failure::new(crate::failure::Kind::Host, anyhow::Error::new(error))
        .hint("`rbuild doctor` says what this machine lacks, and the commands that mend it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_without_the_right_capabilities_writes_no_maps() {
        assert!(may_write_maps("Name:\tx\nCapEff:\t000001ffffffffff\n"));
        // Docker's default set has all three.
        assert!(may_write_maps("CapEff:\t00000000a80425fb\n"));
        assert!(!may_write_maps("CapEff:\t0000000000000000\n"));
        assert!(!may_write_maps("CapEff:\t00000000280425fb\n"));
        assert!(!may_write_maps(""));
    }

    #[test]
    fn limits_that_cannot_be_enforced_name_their_flags_and_what_mends_it() {
        let here = Surroundings::of(&[]);
        let limits = LimitSettings::of_flags(&["--memory"]);
        let failure = |error| not_limited("RUN steps", &limits, error, &here, Path::new("/s"));
        let cgroup = || "/a.scope".to_owned();
        let taken = failure(CgroupError::OtherProcesses { cgroup: cgroup() });
        assert_eq!(taken.code(), 3);
        let text = taken.to_string();
        assert!(
            text.contains("(--memory): other processes") && text.contains("/a.scope"),
            "{text}"
        );
        let command = &taken.hints()[taken.hints().len() - 2];
        let systemd = command.contains("systemd-run --user --scope");
        assert!(systemd || command.contains("--cgroup-parent"), "{command}");
        // Another cgroup would not help.
        let source = std::io::Error::from_raw_os_error(34);
        let operation = "set cpuset.cpus".to_owned();
        let refused = failure(CgroupError::Refused { operation, source });
        assert_eq!(refused.hints().len(), 1, "{:?}", refused.hints());
    }

    #[test]
    fn networks_that_need_no_program_are_taken_as_asked() {
        let here = Surroundings::of(&[]);
        let choice = |asked| network(asked, &here, Path::new("/s")).unwrap();
        assert_eq!(choice(NetworkArg::None), NetworkChoice::None(None));
        assert_eq!(choice(NetworkArg::Host), NetworkChoice::Host);
    }
}
