//! A check and what it found, as data. Invariant: a finding can be shown (or serialised) without knowing its check.

use serde::Serialize;

use super::{Degree, Host};

/// How it stands with one check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// As it should be.
    Ok,
    /// Something that some builds or containers need is missing.
    Warning,
    /// Something that the usual build needs is missing.
    Failure,
    /// Nothing to check on this machine or for this user.
    NotApplicable,
}

/// What a failure of a check takes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// No degree of rootlessness.
    Nothing,
    /// Ids other than the caller's own.
    SubIds,
    /// Executing anything: RUN steps and containers.
    Execution,
}

/// One thing to look at; a row of a group's `CHECKS`.
pub struct Check {
    /// Stable name, `group.thing`.
    pub id: &'static str,
    /// What a person calls it.
    pub subject: &'static str,
    /// Why it matters to rootless builds.
    pub why: &'static str,
    /// What its failure takes away.
    pub loses: Loss,
    /// Whether it precedes every session.
    pub quick: bool,
    /// Looks.
    pub look: fn(&Host<'_>) -> Verdict,
}

impl Check {
    /// Looks, and says what was seen.
    pub fn perform(&self, host: &Host<'_>) -> Finding {
        let verdict = (self.look)(host);
        Finding {
            id: self.id,
            subject: self.subject.to_owned(),
            status: verdict.status,
            loses: self.loses,
            observed: verdict.observed,
            why: verdict.why.unwrap_or_else(|| self.why.to_owned()),
            // Root has no need of sudo, and containers often have none.
            remedy: verdict.remedy.map(|text| {
                if host.is_root() {
                    text.replace("sudo ", "")
                } else {
                    text
                }
            }),
        }
    }
}

/// What a check says; its row adds the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// How it stands.
    pub status: Status,
    /// The value that was seen.
    pub observed: String,
    /// A reason more exact than the row's.
    pub why: Option<String>,
    /// The commands that mend it.
    pub remedy: Option<String>,
}

impl Verdict {
    fn new(status: Status, observed: impl Into<String>) -> Self {
        Self {
            status,
            observed: observed.into(),
            why: None,
            remedy: None,
        }
    }

    /// As it should be.
    pub fn ok(observed: impl Into<String>) -> Self {
        Self::new(Status::Ok, observed)
    }

    /// Something is missing that not everybody needs.
    pub fn warning(observed: impl Into<String>) -> Self {
        Self::new(Status::Warning, observed)
    }

    /// Something is missing.
    pub fn failure(observed: impl Into<String>) -> Self {
        Self::new(Status::Failure, observed)
    }

    /// Nothing to check here.
    pub fn not_applicable(observed: impl Into<String>) -> Self {
        Self::new(Status::NotApplicable, observed)
    }

    /// Replaces the row's reason.
    #[must_use]
    pub fn because(mut self, why: impl Into<String>) -> Self {
        self.why = Some(why.into());
        self
    }

    /// Adds the commands that mend it.
    #[must_use]
    pub fn mend(mut self, remedy: impl Into<Option<String>>) -> Self {
        self.remedy = remedy.into();
        self
    }
}

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Stable name, `group.thing`.
    pub id: &'static str,
    /// What a person calls it.
    pub subject: String,
    /// How it stands.
    pub status: Status,
    /// What its failure takes away: with [`Loss::SubIds`] a session of a single id is still possible.
    pub loses: Loss,
    /// The value that was seen.
    pub observed: String,
    /// Why it matters to rootless builds.
    pub why: String,
    /// Exact commands, one per line; lines that start with `#` are remarks.
    pub remedy: Option<String>,
}

/// Everything that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// What results from it.
    pub degree: Degree,
    /// One per check, in the order of the checks.
    pub findings: Vec<Finding>,
}

impl Report {
    /// How many findings have this status.
    pub fn count(&self, status: Status) -> usize {
        self.findings
            .iter()
            .filter(|finding| finding.status == status)
            .count()
    }
}
