//! `rbuild test --drill`. The invariant: the rows are those of `rbuild run --drill`, which makes the container and its controls.

use serde::Deserialize;

use super::containers::Containers;
use super::report::{Check, Verdict};
use crate::failure::Failure;

#[derive(Deserialize)]
struct Row {
    id: String,
    probe: String,
    inside: String,
    expected: String,
    verdict: String,
}

/// One check for all that held, and one for each attempt that got through.
pub(super) fn checks(containers: &Containers) -> Result<Vec<Check>, Failure> {
    let printed = containers.drill()?;
    let Ok(rows) = serde_json::from_slice::<Vec<Row>>(&printed.0) else {
        let check = Check::new("drill", "attempts to get out", Verdict::Failed);
        return Ok(vec![check.says(printed.1)]);
    };
    let count = |wanted: &str| rows.iter().filter(|row| row.verdict == wanted).count();
    let said = format!(
        "{} attempts: {} held, {} unproven here, {} FAILED",
        rows.len(),
        count("held"),
        count("unproven"),
        count("failed")
    );
    let verdict = match count("failed") {
        0 => Verdict::Passed,
        _ => Verdict::Failed,
    };
    let mut checks = vec![Check::new("drill", "attempts to get out", verdict).says(said)];
    for row in rows.iter().filter(|row| row.verdict == "failed") {
        let name = format!("{} {}", row.id, row.probe);
        let said = format!(
            "came to {} inside, and must come to {}",
            row.inside, row.expected
        );
        checks.push(Check::new("drill", name, Verdict::Failed).says(said));
    }
    Ok(checks)
}
