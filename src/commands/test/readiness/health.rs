//! The health check. The invariant: one that cannot fail is found out: it must turn red when the service has stopped.

use runner::health::HealthCommand;
use sandbox::trial::{Act, Command, Done, Ended};

use super::{First, Subject, outcome};
use crate::commands::test::report::{Check, Verdict};

/// Milliseconds between two tries while the service starts.
const INTERVAL: u64 = 100;

/// What asks for health while the service runs, and when it has stopped.
pub(super) fn acts(health: Option<&HealthCommand>, wait: u64) -> (Option<Act>, Option<Act>) {
    let Some(health) = health else {
        return (None, None);
    };
    let ask = |tries| Act::Until {
        command: Command {
            argv: health.argv.clone(),
            env: Vec::new(),
            millis: health.timeout.min(10_000),
        },
        tries,
        interval: INTERVAL,
    };
    // A slow start has the time that the image gives it, and no more than one gives a smoke test.
    let patience = health.start_period.max(wait).min(30_000);
    let tries = u32::try_from(patience / INTERVAL).unwrap_or(1) + health.retries;
    (Some(ask(tries)), Some(ask(1)))
}

/// Whether it goes green, and red again.
pub(super) fn check(subject: &Subject<'_>, first: &First) -> Check {
    let new = |verdict| Check::new("health", "HEALTHCHECK", verdict);
    let Some(health) = &subject.health else {
        return new(Verdict::Skipped)
            .says("the image has none")
            .remedy("HEALTHCHECK CMD [\"/path/of/the/program\", \"--health\"]");
    };
    if first.settled().ended != Ended::Running {
        return new(Verdict::Skipped).says(format!(
            "there is no service to ask: {}",
            outcome(first.settled())
        ));
    }
    let (Some(green), Some(red)) = (first.record.done.get(2), first.record.done.get(4)) else {
        return new(Verdict::Failed).says("it was not asked");
    };
    if green.ended != Ended::Exited(0) {
        let check = new(Verdict::Failed).says(format!(
            "never healthy in {} tries: {}",
            green.tries,
            words(green)
        ));
        return match (health.shell, green.ended) {
            (true, Ended::NotStarted(_)) => check
                .says(format!(
                    "its text needs the shell {}, which the image lacks",
                    health.argv[0]
                ))
                .remedy("HEALTHCHECK CMD [\"PROGRAM\", \"ARGUMENT\"], which needs no shell"),
            _ => check,
        };
    }
    if red.ended == Ended::Exited(0) {
        return new(Verdict::Failed)
            .says("HEALTHCHECK stays healthy when the service has stopped: it cannot fail")
            .remedy("have it ask the service itself, for example by its port");
    }
    let tries = match green.tries {
        1 => "at once".to_owned(),
        tries => format!("after {tries} tries"),
    };
    new(Verdict::Passed)
        .says(format!(
            "healthy {tries}, and unhealthy when the service has stopped"
        ))
        .took(green.millis)
}

fn words(done: &Done) -> String {
    match super::last_words(done) {
        Some(said) => format!("{} ({said})", outcome(done)),
        None => outcome(done),
    }
}
