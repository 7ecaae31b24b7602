//! One line per event, for logs. The invariant: every line names its stage and step, so that lines of parallel stages can be
//! told apart, and a line is written whole.

use std::collections::BTreeSet;
use std::io::Write;

use builder::BuildEvent;

use super::transcript::{Transcript, one_line};
use super::{View, explained, human_time};
use crate::stdout::human_size;

pub(super) struct Plain<W> {
    out: W,
    /// Transfers that were announced: they are shown when they begin and when they end.
    transfers: BTreeSet<String>,
}

impl<W: Write> Plain<W> {
    pub(super) const fn new(out: W) -> Self {
        Self {
            out,
            transfers: BTreeSet::new(),
        }
    }

    fn line(&mut self, line: &str) {
        // Nobody may be reading any more: the build goes on (F45).
        let _ = self.out.write_all(format!("{line}\n").as_bytes());
    }

    fn transfer(&mut self, verb: &str, name: &str, done: u64, total: Option<u64>) {
        let shown = super::escape(name);
        if self.transfers.insert(name.to_owned()) {
            let size = total
                .map(|total| format!(" ({})", human_size(total)))
                .unwrap_or_default();
            self.line(&format!("{verb} {shown}{size}"));
        }
        if total == Some(done) {
            self.line(&format!("{verb} {shown} done"));
        }
    }
}

impl<W: Write + Send> View for Plain<W> {
    fn show(&mut self, event: &BuildEvent, transcript: &Transcript) {
        match event {
            BuildEvent::Planned { .. }
            | BuildEvent::StageStarted { .. }
            | BuildEvent::Committed { .. } => {}
            BuildEvent::Transfer {
                direction,
                name,
                done,
                total,
            } => self.transfer(super::verb(*direction), name, *done, *total),
            BuildEvent::StepStarted { stage, step, label } => {
                self.line(&format!(
                    "{} {}",
                    transcript.place(*stage, *step),
                    one_line(label)
                ));
            }
            BuildEvent::StepCached { stage, step, label } => {
                self.line(&format!(
                    "{} {} (cached)",
                    transcript.place(*stage, *step),
                    one_line(label)
                ));
            }
            BuildEvent::CacheExplained {
                stage,
                step,
                verdict,
                ..
            } => {
                let place = transcript.place(*stage, *step);
                self.line(&format!("{place} {}", explained::line(verdict)));
            }
            BuildEvent::Output { stage, step, .. } => {
                self.output(&transcript.place(*stage, *step), transcript)
            }
            BuildEvent::StepFinished {
                stage,
                step,
                milliseconds,
                success,
            } => {
                let place = transcript.place(*stage, *step);
                self.output(&place, transcript);
                let how = if *success { "done in" } else { "failed after" };
                self.line(&format!("{place} {how} {}", human_time(*milliseconds)));
            }
            BuildEvent::Notice { message } => {
                self.line(&format!("note: {}", super::escape(message)))
            }
        }
    }
}

impl<W: Write> Plain<W> {
    fn output(&mut self, place: &str, transcript: &Transcript) {
        for line in transcript.fresh_lines() {
            self.line(&format!("{place} | {line}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use builder::{Label, StageId, StageSummary};

    use super::*;

    #[test]
    fn a_build_reads_as_one_line_per_event() {
        let stage = StageId(1);
        let label = |text: &str| Label {
            text: text.into(),
            span: None,
        };
        let output = |text: &str, stderr| BuildEvent::Output {
            stage,
            step: 1,
            stderr,
            text: text.into(),
        };
        let events = [
            BuildEvent::Planned {
                stages: vec![StageSummary {
                    stage,
                    name: "builder".into(),
                    steps: 2,
                }],
            },
            BuildEvent::Transfer {
                direction: builder::Direction::Fetch,
                name: "debian 1234".into(),
                done: 0,
                total: Some(2_500_000),
            },
            BuildEvent::Transfer {
                direction: builder::Direction::Fetch,
                name: "debian 1234".into(),
                done: 2_500_000,
                total: Some(2_500_000),
            },
            BuildEvent::StageStarted { stage },
            BuildEvent::StepCached {
                stage,
                step: 0,
                label: label("COPY . ."),
            },
            BuildEvent::StepStarted {
                stage,
                step: 1,
                label: label("RUN make\n# more"),
            },
            output("one\ntw", false),
            output("oops \u{1b}[2J\n", true),
            output("o", false),
            BuildEvent::StepFinished {
                stage,
                step: 1,
                milliseconds: 1234,
                success: false,
            },
            BuildEvent::Notice {
                message: "no sub-ids".into(),
            },
        ];
        let (mut transcript, mut plain) = (Transcript::default(), Plain::new(Vec::new()));
        for event in &events {
            transcript.note(event);
            plain.show(event, &transcript);
        }
        insta::assert_snapshot!(String::from_utf8(plain.out).unwrap(), @r"
        fetch debian 1234 (2.50 MB)
        fetch debian 1234 done
        [builder 1/2] COPY . . (cached)
        [builder 2/2] RUN make
        [builder 2/2] | one
        [builder 2/2] | oops \u{1b}[2J
        [builder 2/2] | two
        [builder 2/2] failed after 1.2s
        note: no sub-ids
        ");
    }
}
