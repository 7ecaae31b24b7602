//! What tests found. The invariant: a check has one verdict; whatever did not pass says why, and how to mend it where that is known.

use serde::Serialize;

/// Everything that was found about an image.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) image: String,
    pub(super) digest: String,
    pub(super) checks: Vec<Check>,
    /// What is different under root's Docker: facts, not verdicts.
    pub(super) rootful: Vec<String>,
}

/// One check.
#[derive(Debug, Serialize)]
pub(super) struct Check {
    /// What it is about: `command`, `file`, `start`, `user`...
    pub(super) area: &'static str,
    pub(super) name: String,
    pub(super) verdict: Verdict,
    /// Sentences.
    pub(super) said: Vec<String>,
    /// Lines to write, or commands.
    pub(super) remedies: Vec<String>,
    /// Where it stands, for a test of a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) place: Option<Place>,
    pub(super) millis: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Place {
    pub(super) file: String,
    pub(super) line: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    Passed,
    /// It works, but not as it should.
    Warned,
    Failed,
    /// Nothing to check, or it cannot be checked here.
    Skipped,
}

impl Report {
    pub(super) fn new(image: &str, digest: String) -> Self {
        Self {
            image: image.to_owned(),
            digest,
            checks: Vec::new(),
            rootful: Vec::new(),
        }
    }

    pub(super) fn count(&self, verdict: Verdict) -> usize {
        let checks = self.checks.iter();
        checks.filter(|check| check.verdict == verdict).count()
    }

    pub(super) fn failed(&self) -> usize {
        self.count(Verdict::Failed)
    }
}

impl Check {
    pub(super) fn new(area: &'static str, name: impl Into<String>, verdict: Verdict) -> Self {
        Self {
            area,
            name: name.into(),
            verdict,
            said: Vec::new(),
            remedies: Vec::new(),
            place: None,
            millis: 0,
        }
    }

    /// One that failed where there are complaints.
    pub(super) fn of(area: &'static str, name: impl Into<String>, complaints: Vec<String>) -> Self {
        let verdict = match complaints.is_empty() {
            true => Verdict::Passed,
            false => Verdict::Failed,
        };
        Self {
            said: complaints,
            ..Self::new(area, name, verdict)
        }
    }

    pub(super) fn says(mut self, sentence: impl Into<String>) -> Self {
        self.said.push(sentence.into());
        self
    }

    pub(super) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        let remedy = remedy.into();
        if !self.remedies.contains(&remedy) {
            self.remedies.push(remedy);
        }
        self
    }

    pub(super) fn at(mut self, file: &str, line: usize) -> Self {
        let file = file.to_owned();
        self.place = Some(Place { file, line });
        self
    }

    pub(super) fn took(mut self, millis: u64) -> Self {
        self.millis = millis;
        self
    }
}
