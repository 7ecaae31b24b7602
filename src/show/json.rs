//! One JSON object per line, for programs. The invariant: a line is one event exactly as the builder told it.

use std::io::Write;

use builder::BuildEvent;

use super::View;
use super::transcript::Transcript;

pub(super) struct Json<W>(W);

impl<W> Json<W> {
    pub(super) const fn new(out: W) -> Self {
        Self(out)
    }
}

impl<W: Write + Send> View for Json<W> {
    fn show(&mut self, event: &BuildEvent, _: &Transcript) {
        if let Ok(mut line) = serde_json::to_vec(event) {
            line.push(b'\n');
            // Nobody may be reading any more: the build goes on (F45).
            let _ = self.0.write_all(&line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_that_reads_back() {
        let event = BuildEvent::Notice {
            message: "two\nlines \u{1b}".into(),
        };
        let mut json = Json::new(Vec::new());
        json.show(&event, &Transcript::default());
        let text = String::from_utf8(json.0).unwrap();
        assert_eq!(text.lines().count(), 1);
        assert_eq!(serde_json::from_str::<BuildEvent>(&text).unwrap(), event);
    }
}
