//! The ways to map ids. The invariant: a mode that this machine does not give is skipped, and says why; it is no fault of the image.

use super::{First, Subject, outcome};
use crate::args::UsernsMode;
use crate::commands::test::report::{Check, Verdict};
use crate::failure::Failure;

/// With one id all modes are the same.
const ONE_ID: &str = "there is only your own id here: `rbuild doctor` says how to get more";

/// A row for each mode.
pub(super) fn checks(subject: &Subject<'_>, first: &First) -> Result<Vec<Check>, Failure> {
    let identity = &first.record.identity;
    let (uid, gid) = (identity.uid, identity.gid);
    let keep = format!("keep-id:uid={uid},gid={gid}");
    let mut modes: Vec<(&str, Vec<&str>)> = vec![
        ("keep-id", vec!["--userns", "keep-id"]),
        ("nomap", vec!["--userns", "nomap"]),
        ("host", vec!["--userns", "host"]),
        ("auto", vec!["--userns", "auto"]),
        ("any user, group 0", vec!["--user", "12345:0"]),
    ];
    if uid != 0 {
        modes.insert(0, (keep.as_str(), vec!["--userns", &keep]));
    }
    let mut checks = Vec::with_capacity(modes.len() + 1);
    let plan = subject.plan.as_ref();
    let single = plan.is_none_or(sandbox::SessionPlan::is_single_id);
    for (name, flags) in modes {
        let ran = match single {
            true => Err(ONE_ID.to_owned()),
            false => subject.vary(first, &flags, &[])?,
        };
        checks.push(row(subject, first, name, ran));
    }
    let single = subject.containers.with_ids(UsernsMode::Single);
    let ran = subject.vary_in(&single, first, &[], &[])?;
    checks.push(row(subject, first, "a single id", ran));
    Ok(checks)
}

fn row(
    subject: &Subject<'_>,
    first: &First,
    name: &str,
    ran: Result<sandbox::trial::Record, String>,
) -> Check {
    match ran {
        Err(said) => Check::new("userns", name, Verdict::Skipped).says(said),
        Ok(record) if first.is_like(&record) => Check::new("userns", name, Verdict::Passed)
            .says(outcome(&record.done[1]))
            .took(record.done[1].millis),
        Ok(record) => {
            let check = Check::new("userns", name, Verdict::Warned).says(outcome(&record.done[1]));
            subject.explain(check, &record)
        }
    }
}
