//! Time zone and locale. The invariant: only what the program asked for counts; many never ask.

use super::{First, Subject, outcome};
use crate::commands::test::report::{Check, Verdict};
use crate::failure::Failure;

const ZONE: &str = "Asia/Shanghai";

/// Whether it finds a time zone and a locale when it is told one.
pub(super) fn check(subject: &Subject<'_>, first: &First) -> Result<Check, Failure> {
    let new = |verdict| Check::new("times", "time zone and locale", verdict);
    let env = [("TZ", ZONE), ("LC_ALL", "C.UTF-8")];
    let record = match subject.vary(first, &[], &env)? {
        Err(said) => return Ok(new(Verdict::Skipped).says(said)),
        Ok(record) => record,
    };
    if !first.is_like(&record) {
        let said = format!(
            "with TZ={ZONE} and LC_ALL=C.UTF-8: {}",
            outcome(&record.done[1])
        );
        return Ok(new(Verdict::Failed).says(said));
    }
    let asked = record
        .observed
        .iter()
        .any(|one| one.subject.ends_with(ZONE));
    let there = subject
        .facts
        .find(&format!("/usr/share/zoneinfo/{ZONE}"))
        .is_some();
    Ok(match (asked, there) {
        (true, false) => new(Verdict::Warned)
            .says(format!("zoneinfo/{ZONE} is absent: times are UTC"))
            .remedy("COPY --from=build /usr/share/zoneinfo /usr/share/zoneinfo"),
        (_, true) => new(Verdict::Passed).says("the image has time zones"),
        (false, false) => new(Verdict::Passed).says("it did not ask for a time zone"),
    })
}
