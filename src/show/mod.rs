//! What the user sees of a build: all of it on standard error. The invariant: nothing that a step prints reaches the terminal
//! uncensored (control characters are shown, not obeyed), memory is bounded whatever it prints, and a terminal or pipe that went
//! away never stops a build (writes to standard error may fail, and are not retried).

mod explained;
mod json;
mod lines;
mod plain;
mod source;
mod transcript;
mod tty;

use std::fs::File;
use std::io::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};

use builder::{BuildEvent, Direction};

pub(crate) use json::{Finding, Place};
pub(crate) use source::{diagnostics, located};
use transcript::Transcript;

/// How to show what happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// A live view.
    Tty,
    /// One line per event.
    Plain,
    /// One JSON object per line.
    Json,
    /// Nothing.
    Quiet,
}

/// Writes to standard error; that it cannot be written to is nobody's business.
pub(crate) fn eprint(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// A note that is no error.
pub(crate) fn note(message: &str) {
    eprint(&format!("note: {}\n", escape(message)));
}

/// The text with control characters as Rust writes them, tabs and line ends left alone. Bidirectional overrides count as
/// control characters: they make a terminal show something else than what is there (CVE-2021-42574).
pub(crate) fn escape(text: &str) -> String {
    let harmless = |c: char| c == '\t' || c == '\n' || !(c.is_control() || is_bidirectional(c));
    if text.chars().all(harmless) {
        return text.to_owned();
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if harmless(c) {
            shown.push(c);
        } else {
            shown.extend(c.escape_default());
        }
    }
    shown
}

const fn is_bidirectional(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// One way of showing events.
trait View: Send {
    /// Shows an event; the transcript has it already.
    fn show(&mut self, event: &BuildEvent, transcript: &Transcript);
    /// Tells of a finding, where it is not shown with its lines at the end.
    fn find(&mut self, _: &Finding<'_>) {}
    /// Removes what is only there while the build goes on.
    fn finish(&mut self) {}
}

/// Shows nothing.
struct Silence;

impl View for Silence {
    fn show(&mut self, _: &BuildEvent, _: &Transcript) {}
}

/// Takes the events of a build, from any thread, and shows them in the order in which they come.
pub(crate) struct Display(Mutex<(Transcript, Box<dyn View>)>);

impl Display {
    /// A display on standard error, or in a file.
    pub(crate) fn new(progress: Progress, colour: bool, file: Option<File>) -> Self {
        let out: Box<dyn Write + Send> = match file {
            Some(file) => Box::new(file),
            None => Box::new(std::io::stderr()),
        };
        let view: Box<dyn View> = match progress {
            Progress::Tty => Box::new(tty::Live::new(colour)),
            Progress::Plain => Box::new(plain::Plain::new(out)),
            Progress::Json => Box::new(json::Json::new(out)),
            Progress::Quiet => Box::new(Silence),
        };
        Self(Mutex::new((Transcript::default(), view)))
    }

    fn lock(&self) -> MutexGuard<'_, (Transcript, Box<dyn View>)> {
        // A view that panicked shows nothing more than odd lines.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows an event.
    pub(crate) fn event(&self, event: &BuildEvent) {
        let (transcript, view) = &mut *self.lock();
        transcript.note(event);
        view.show(event, transcript);
    }

    /// Tells of a finding.
    pub(crate) fn find(&self, finding: &Finding<'_>) {
        self.lock().1.find(finding);
    }

    /// Ends the live view.
    pub(crate) fn finish(&self) {
        self.lock().1.finish();
    }
}

/// What is done with bytes of an image.
const fn verb(direction: Direction) -> &'static str {
    match direction {
        Direction::Fetch => "fetch",
        Direction::Push => "push",
    }
}

/// A duration in milliseconds as people read it.
fn human_time(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    match seconds {
        0..60 => format!("{seconds}.{}s", milliseconds % 1000 / 100),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

/// A whole duration as people read it.
pub(crate) fn human_duration(duration: std::time::Duration) -> String {
    human_time(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d24_control_characters_are_shown_not_obeyed() {
        assert_eq!(escape("a\tb\nc"), "a\tb\nc");
        assert_eq!(
            escape("\u{1b}]0;x\u{7}\0\u{9b}\r"),
            "\\u{1b}]0;x\\u{7}\\u{0}\\u{9b}\\r"
        );
        assert_eq!(escape("x\u{202e}y"), "x\\u{202e}y");
        assert_eq!(escape("größe ☃"), "größe ☃");
    }

    #[test]
    fn times_are_short() {
        assert_eq!(
            [0, 999, 59_999, 61_000, 3_720_000].map(human_time),
            ["0.0s", "0.9s", "59.9s", "1m01s", "1h02m"]
        );
    }
}
