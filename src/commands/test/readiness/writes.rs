//! A read-only root. The invariant: what is proposed was tried.

use runner::readiness::{Place, places};

use super::{First, Subject, last_words, outcome};
use crate::commands::test::report::{Check, Verdict};
use crate::failure::Failure;

/// Whether it works with a read-only root, and with which mounts.
pub(super) fn check(subject: &Subject<'_>, first: &First) -> Result<Check, Failure> {
    let volumes: Vec<String> = subject
        .opened
        .image
        .config()
        .config
        .volumes
        .keys()
        .cloned()
        .collect();
    let mut written = first.record.observed.clone();
    let bare = match subject.vary(first, &["--read-only"], &[])? {
        Err(said) => {
            return Ok(Check::new("read-only", "read-only root", Verdict::Skipped).says(said));
        }
        Ok(record) => record,
    };
    written.extend(bare.observed.iter().cloned());
    let places = places(&written, &volumes);
    let said = places.iter().map(said);
    if first.is_like(&bare) {
        let check = Check::new("read-only", "read-only root", Verdict::Passed)
            .says("it works with a read-only root");
        let check = said.fold(check, Check::says);
        return Ok(places
            .iter()
            .fold(check, |check, place| check.remedy(place.line())));
    }
    let tmpfs = places.iter().filter(|place| place.directory != "/");
    let flags: Vec<&str> = tmpfs
        .flat_map(|place| ["--tmpfs", place.directory.as_str()])
        .chain(["--read-only"])
        .collect();
    let served = match subject.vary(first, &flags, &[])? {
        Ok(record) => record,
        Err(said) => {
            return Ok(Check::new("read-only", "read-only root", Verdict::Skipped).says(said));
        }
    };
    let check = match first.is_like(&served) {
        true => Check::new("read-only", "read-only root", Verdict::Warned)
            .says("it works with a read-only root and these mounts"),
        false => {
            let check = Check::new("read-only", "read-only root", Verdict::Failed).says(format!(
                "with a read-only root, and with mounts where it writes: {}",
                outcome(&served.done[1])
            ));
            let check = match served.program.as_ref().and_then(last_words) {
                Some(said) => check.says(said),
                None => check,
            };
            subject.explain(check, &served)
        }
    };
    let check = said.fold(check, Check::says);
    Ok(places
        .iter()
        .fold(check, |check, place| check.remedy(place.line())))
}

fn said(place: &Place) -> String {
    format!("it writes {}", place.files.join(", "))
}
