//! A baseline: the findings that a project has already, which are not reported again. The invariant: a finding is known by its file,
//! rule and text, so it stays known when lines move, and one more of the same kind is new.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use containerfile::{Diagnostic, Source};
use serde::{Deserialize, Serialize};

use super::Examined;
use super::files::replace_or_create;
use crate::failure::{Failure, Kind};

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Baseline {
    /// Of this form; another one is refused.
    version: u32,
    /// What each fingerprint stands for, for whoever reads the file.
    findings: BTreeMap<String, String>,
}

const VERSION: u32 = 1;

impl Baseline {
    /// Reads a file that [`Baseline::write`] wrote.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let what = || format!("read the baseline {}", path.display());
        let bytes = std::fs::read(path).map_err(|error| {
            Failure::new(Kind::Failed, anyhow::Error::new(error).context(what()))
        })?;
        let read: Result<Self, _> = serde_json::from_slice(&bytes);
        match read {
            Ok(baseline) if baseline.version == VERSION => Ok(baseline),
            Ok(baseline) => Err(Failure::usage(format!(
                "{}: its version is {}, not {VERSION}",
                what(),
                baseline.version
            ))),
            Err(error) => Err(Failure::usage(format!("{}: {error}", what()))),
        }
    }

    /// Writes all findings.
    pub(super) fn write(path: &Path, examined: &[Examined]) -> Result<(), Failure> {
        let mut prints = Fingerprints::default();
        let mut findings = BTreeMap::new();
        for one in examined {
            for found in &one.report.findings {
                let said = format!(
                    "{}: {} {}",
                    one.source.name(),
                    super::formats::rule(found),
                    found.message
                );
                findings.insert(prints.next(&one.source, found), said);
            }
        }
        let baseline = Self {
            version: VERSION,
            findings,
        };
        let mut text = serde_json::to_string_pretty(&baseline).unwrap_or_default();
        text.push('\n');
        replace_or_create(path, &text)
    }

    /// Takes the known findings away.
    pub(super) fn apply(&self, examined: &mut [Examined]) {
        let mut prints = Fingerprints::default();
        for one in examined {
            let source = &one.source;
            one.report
                .findings
                .retain(|found| !self.findings.contains_key(&prints.next(source, found)));
        }
    }
}

/// Names for findings, in their order.
#[derive(Default)]
pub(super) struct Fingerprints(HashMap<String, usize>);

impl Fingerprints {
    /// The name of the next finding: its file, its rule, its text, and its number among those that have all of them in common.
    pub(super) fn next(&mut self, source: &Source, found: &Diagnostic) -> String {
        let text = source.slice(found.span).trim_end();
        let parts = [source.name(), super::formats::rule(found), text];
        let number = self.0.entry(hash(&parts)).or_default();
        let numbered = hash(&[parts[0], parts[1], parts[2], &number.to_string()]);
        *number += 1;
        numbered
    }
}

/// FNV-1a, whose result is the same everywhere.
fn hash(parts: &[&str]) -> String {
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0]));
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}
