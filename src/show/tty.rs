//! The live view: what runs now at the bottom, what is done above it. The invariant: finished lines are written once and scroll
//! away; the lines at the bottom belong to indicatif and vanish with the build.

use std::collections::BTreeMap;
use std::time::Duration;

use builder::{BuildEvent, Label};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::transcript::{StepId, Transcript, one_line};
use super::{View, explained, human_time};

/// How a transfer is drawn.
const KNOWN_SIZE: &str =
    "  {prefix} {bar:24} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec}";
const UNKNOWN_SIZE: &str = "  {prefix} {decimal_bytes} {decimal_bytes_per_sec}";

pub(super) struct Live {
    bars: MultiProgress,
    steps: BTreeMap<StepId, ProgressBar>,
    transfers: BTreeMap<String, ProgressBar>,
    /// How a running step is drawn.
    running: &'static str,
}

impl Live {
    pub(super) fn new(colour: bool) -> Self {
        let running = if colour {
            "{spinner} {prefix} {elapsed:.dim}{wide_msg:.dim}"
        } else {
            "{spinner} {prefix} {elapsed}{wide_msg}"
        };
        Self {
            bars: MultiProgress::new(),
            steps: BTreeMap::new(),
            transfers: BTreeMap::new(),
            running,
        }
    }

    fn line(&self, line: &str) {
        // The terminal may be gone: the build goes on (F45).
        let _ = self.bars.println(line);
    }

    fn start(&mut self, id: StepId, place: &str, label: &Label) {
        let bar = self.bars.add(ProgressBar::new_spinner());
        bar.set_style(style(self.running));
        bar.set_prefix(format!("{place} {}", one_line(label)));
        bar.enable_steady_tick(Duration::from_millis(120));
        self.steps.insert(id, bar);
    }

    fn output(&self, id: StepId, transcript: &Transcript) {
        if let (Some(bar), Some(line)) = (self.steps.get(&id), transcript.fresh_lines().last()) {
            bar.set_message(format!("  {}", line.replace('\t', " ")));
        }
    }

    fn end(&mut self, id: StepId, milliseconds: u64, success: bool) {
        let Some(bar) = self.steps.remove(&id) else {
            return;
        };
        let what = bar.prefix();
        bar.finish_and_clear();
        self.bars.remove(&bar);
        let (mark, time) = (if success { "✓" } else { "✗" }, human_time(milliseconds));
        self.line(&format!("{mark} {what} {time}"));
    }

    fn transfer(&mut self, verb: &str, name: &str, done: u64, total: Option<u64>) {
        let bars = &self.bars;
        let bar = self.transfers.entry(name.to_owned()).or_insert_with(|| {
            let bar = bars.add(total.map_or_else(ProgressBar::new_spinner, ProgressBar::new));
            bar.set_style(style(match total {
                Some(_) => KNOWN_SIZE,
                None => UNKNOWN_SIZE,
            }));
            bar.set_prefix(super::escape(name));
            bar
        });
        bar.set_position(done);
        if total == Some(done) {
            bar.finish_and_clear();
            let line = format!(
                "✓ {verb} {} {}",
                super::escape(name),
                crate::stdout::human_size(done)
            );
            self.transfers.remove(name);
            self.line(&line);
        }
    }
}

/// The templates are this file's own, and a test reads them all.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

impl View for Live {
    fn show(&mut self, event: &BuildEvent, transcript: &Transcript) {
        match event {
            BuildEvent::Planned { .. } | BuildEvent::Committed { .. } => {}
            BuildEvent::Transfer {
                direction,
                name,
                done,
                total,
            } => self.transfer(super::verb(*direction), name, *done, *total),
            BuildEvent::StageStarted { stage } => {
                self.line(&format!("  stage {}", transcript.stage_name(*stage)))
            }
            BuildEvent::StepStarted { stage, step, label } => {
                self.start((*stage, *step), &transcript.place(*stage, *step), label);
            }
            BuildEvent::StepCached { stage, step, label } => {
                self.line(&format!(
                    "✓ {} {} cached",
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
            BuildEvent::Output { stage, step, .. } => self.output((*stage, *step), transcript),
            BuildEvent::StepFinished {
                stage,
                step,
                milliseconds,
                success,
            } => {
                self.end((*stage, *step), *milliseconds, *success);
            }
            BuildEvent::Notice { message } => {
                self.line(&format!("note: {}", super::escape(message)))
            }
        }
    }

    fn finish(&mut self) {
        let _ = self.bars.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_understood() {
        for template in [
            Live::new(true).running,
            Live::new(false).running,
            KNOWN_SIZE,
            UNKNOWN_SIZE,
        ] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
