//! One JSON object per line, for programs. The invariant: a line is one event exactly as the builder told it, or one finding with
//! its place in the Containerfile.

use std::io::Write;

use builder::BuildEvent;
use containerfile::{Diagnostic, LineCol, Severity, Source, Span};
use serde::Serialize;

use super::View;
use super::transcript::Transcript;

pub(super) struct Json<W>(W);

impl<W> Json<W> {
    pub(super) const fn new(out: W) -> Self {
        Self(out)
    }
}

impl<W: Write> Json<W> {
    fn line(&mut self, value: &impl Serialize) {
        if let Ok(mut line) = serde_json::to_vec(value) {
            line.push(b'\n');
            // Nobody may be reading any more: the build goes on (F45).
            let _ = self.0.write_all(&line);
        }
    }
}

impl<W: Write + Send> View for Json<W> {
    fn show(&mut self, event: &BuildEvent, _: &Transcript) {
        self.line(event);
    }

    fn find(&mut self, finding: &Finding<'_>) {
        self.line(finding);
    }
}

/// Something about the Containerfile: an error or a warning in it, or the instruction whose step failed.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename = "diagnostic", rename_all = "kebab-case")]
pub(crate) struct Finding<'f> {
    /// How bad it is.
    pub(crate) severity: Severity,
    /// The name of the rule, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rule: Option<&'f str>,
    /// What is wrong.
    pub(crate) message: &'f str,
    /// What to do about it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) help: Vec<&'f str>,
    /// Where it is, where it is in the file at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) place: Option<Place<'f>>,
    /// The exit code of a failed RUN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) exit_code: Option<i32>,
}

/// A place in a Containerfile, for programs that count bytes and for those that count lines and characters.
#[derive(Debug, Serialize)]
pub(crate) struct Place<'f> {
    file: &'f str,
    /// The first byte, and one past the last.
    span: Span,
    /// Where it begins.
    from: LineCol,
    /// Where it ends; the column is one past the last character.
    to: LineCol,
}

impl<'f> Place<'f> {
    /// A span's place; none for a span that is not of this text.
    pub(crate) fn of(source: &'f Source, span: Span) -> Option<Self> {
        let text = source.text().get(span.range())?;
        // A line's end belongs to nobody's mistake.
        let span = Span::new(span.start(), span.start() + text.trim_end().len());
        Some(Self {
            file: source.name(),
            span,
            from: source.line_col(span.start()),
            to: source.line_col(span.end()),
        })
    }
}

impl<'f> Finding<'f> {
    /// A finding of the parser, the planner or a policy.
    pub(crate) fn of(source: &'f Source, diagnostic: &'f Diagnostic) -> Self {
        Self {
            severity: diagnostic.severity,
            rule: diagnostic.rule,
            message: &diagnostic.message,
            help: diagnostic.help.as_deref().into_iter().collect(),
            place: Place::of(source, diagnostic.span),
            exit_code: None,
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

    #[test]
    fn a_finding_has_its_bytes_and_its_characters() {
        let source = Source::new("Containerfile", "# é\nFROM é AS x\nRUN a \\\n  b\n");
        let span = Span::new(5, 18);
        let diagnostic = Diagnostic::error(span, "odd \u{1b}").with_help("mend it");
        let mut json = Json::new(Vec::new());
        json.find(&Finding::of(&source, &diagnostic));
        assert_eq!(
            String::from_utf8(json.0).unwrap(),
            "{\"event\":\"diagnostic\",\"severity\":\"error\",\"message\":\"odd \\u001b\",\"help\":[\"mend it\"],\"place\":\
             {\"file\":\"Containerfile\",\"span\":{\"start\":5,\"end\":17},\"from\":{\"line\":2,\"column\":1},\"to\":{\"line\":2,\"column\":12}}}\n"
        );
        assert_eq!(source.slice(span), "FROM é AS x\n");
        assert!(
            Place::of(&source, Span::new(3, 4)).is_none(),
            "half a character"
        );
    }
}
