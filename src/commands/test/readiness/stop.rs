//! Does it stop when it is told to? The invariant: the program is the first process of its container here, as it is with Podman, where
//! the kernel drops signals that it has no handler for (pid_namespaces(7)).

use std::time::Duration;

use sandbox::trial::Ended;

use super::{First, PATIENCE, Subject};
use crate::commands::test::report::{Check, Verdict};
use crate::failure::Failure;

/// Whether the stop signal ends it in time.
pub(super) fn check(subject: &Subject<'_>, first: &First) -> Result<Check, Failure> {
    let new = |verdict| Check::new("stop", "STOPSIGNAL", verdict);
    if first.settled().ended != Ended::Running {
        return Ok(new(Verdict::Skipped).says("the program ends by itself"));
    }
    let config = &subject.opened.image.config().config;
    let signal = config.stop_signal.as_deref().unwrap_or("SIGTERM");
    let wait = Duration::from_millis(subject.wait.max(first.settled().millis).saturating_add(200));
    let patience = Duration::from_millis(PATIENCE.min(subject.wait.saturating_mul(10)));
    let arguments = &subject.argv[config.entrypoint.as_ref().map_or(0, Vec::len)..];
    let mut flags = first.flags();
    let stopped = subject.containers.stop(&flags, arguments, wait, patience)?;
    if let Some((millis, code)) = stopped {
        return Ok(new(Verdict::Passed)
            .says(format!(
                "ends {millis} ms after {signal}, with exit code {code}"
            ))
            .took(millis));
    }
    flags.push("--init".to_owned());
    let below = subject.containers.stop(&flags, arguments, wait, patience)?;
    let check = new(Verdict::Warned).says(format!(
        "ignores {signal} as the first process of its container: killed after {} ms",
        patience.as_millis()
    ));
    Ok(match below {
        Some(_) => check
            .remedy("handle the signal, or run it below an init: RunInit=true, rbuild run --init"),
        None => check.remedy("STOPSIGNAL with a signal that it heeds"),
    })
}
