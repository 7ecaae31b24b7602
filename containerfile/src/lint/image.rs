//! A built image, examined: what its configuration says, against the files that it has.
//!
//! Whoever can read images puts an [`ImageFacts`] together; rules are pure functions of it, one file each, beside the rule of the same
//! id about texts. Findings point into a text that is made for them: the configuration as a Containerfile would have it, then the
//! files in question. The invariant: a rule says nothing about what the facts do not hold.

mod facts;
mod findings;
mod rb101;
mod rb102;
mod rb103;
mod rb112;
mod rb202;
mod rb203;
mod rb208;
mod rb209;
mod rb210;
mod rb211;
mod rb212;
mod rb301;
mod rb302;
mod rb303;
mod rb401;
mod rb502;
mod rb602;
mod rb603;
mod rb605;
mod rb607;
mod rb608;
mod rb609;

use crate::diagnostics::Bounded;
use crate::source::Source;

use super::rule::Sieve;
use super::rules::UNREADABLE;
use super::{Options, Report};

pub use facts::{Account, FileFact, FileKind, ImageFacts, LayerFact, ModuleFact, ProgramFact, Tls};
use findings::{Place, Seen};

/// A rule's eye for images; the rule itself is in the one table of rules.
type Check = fn(&ImageFacts, &mut Seen);

/// In the order of their documentation.
const CHECKS: &[(&str, Check)] = &[
    ("RB101", rb101::check),
    ("RB102", rb102::check),
    ("RB103", rb103::check),
    ("RB112", rb112::check),
    ("RB202", rb202::check),
    ("RB203", rb203::check),
    ("RB208", rb208::check),
    ("RB209", rb209::check),
    ("RB210", rb210::check),
    ("RB211", rb211::check),
    ("RB212", rb212::check),
    ("RB301", rb301::check),
    ("RB302", rb302::check),
    ("RB303", rb303::check),
    ("RB401", rb401::check),
    ("RB502", rb502::check),
    ("RB602", rb602::check),
    ("RB603", rb603::check),
    ("RB605", rb605::check),
    ("RB607", rb607::check),
    ("RB608", rb608::check),
    ("RB609", rb609::check),
];

/// Examines an image. The text is what the findings point into.
#[must_use]
pub fn lint_image(facts: &ImageFacts, options: &Options) -> (Source, Report) {
    let mut seen = Seen::new(options.limits);
    for (id, check) in CHECKS {
        if let Some(rule) = super::rule(id) {
            seen.ask(rule);
            check(facts, &mut seen);
        }
    }
    let (source, mut findings) = seen.finish(facts);
    let mut sieve = Sieve {
        severities: options.severities.clone(),
        ..Sieve::default()
    };
    findings.retain_mut(|found| sieve.keeps(found));
    debug_assert!(findings.iter().all(|found| found.rule != Some(UNREADABLE)));
    let mut bounded = Bounded::default();
    bounded.take(&mut findings);
    let report = Report {
        findings: bounded.in_order(),
        warnings_fail: false,
    };
    (source, report)
}

/// The rules that look into images.
#[must_use]
pub fn image_rules() -> Vec<&'static str> {
    CHECKS.iter().map(|(id, _)| *id).collect()
}
