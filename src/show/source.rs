//! Errors at their place in the Containerfile. The invariant: a place that does not fit the text is shown as a message without
//! lines, never as a panic.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use containerfile::{Diagnostic, Severity, Source, Span};

/// A message with the lines that it is about.
pub(crate) fn located(
    source: &Source,
    span: Span,
    message: &str,
    help: &[String],
    colour: bool,
) -> String {
    let group = Level::ERROR
        .primary_title(super::escape(message))
        .elements(snippet(source, span));
    render(
        help.iter().fold(group, |group, help| {
            group.element(Level::HELP.message(super::escape(help)))
        }),
        colour,
    )
}

/// Findings of the parser, errors and warnings.
pub(crate) fn diagnostics(source: &Source, findings: &[Diagnostic], colour: bool) -> String {
    findings
        .iter()
        .map(|finding| diagnostic(source, finding, colour))
        .collect()
}

fn diagnostic(source: &Source, finding: &Diagnostic, colour: bool) -> String {
    let level = match finding.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Info => Level::INFO,
    };
    let title = level.primary_title(super::escape(&finding.message));
    let title = match finding.rule {
        Some(rule) => title.id(rule),
        None => title,
    };
    let group = title.elements(snippet(source, finding.span));
    let help = finding
        .help
        .iter()
        .map(|help| Level::HELP.message(super::escape(help)));
    render(help.fold(group, Group::element), colour)
}

/// The lines of the span; of a long instruction the renderer leaves out the middle.
fn snippet(source: &Source, span: Span) -> Option<Snippet<'_, annotate_snippets::Annotation<'_>>> {
    let text = source.text();
    let end = text
        .get(span.range())
        .map(|part| span.start() + part.trim_end().len())?;
    let lines = source.line_range(Span::new(span.start(), end));
    // The renderer goes through all that it is given, for each finding anew.
    let first = source.line_span(*lines.start()).start();
    let last = source.line_span(*lines.end()).end().max(span.start());
    let annotation =
        AnnotationKind::Primary.span(span.start() - first..end.max(span.start()) - first);
    Some(
        Snippet::source(text.get(first..last)?)
            .line_start(*lines.start())
            .path(source.name())
            .annotation(annotation),
    )
}

fn render(group: Group<'_>, colour: bool) -> String {
    let renderer = if colour {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    let mut text = renderer.render(&[group]);
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_shows_its_lines() {
        let source = Source::new(
            "Containerfile",
            "FROM debian\nRUN make \\\n  all\nUSER nobody\n",
        );
        let start = source.text().find("RUN").unwrap();
        let span = Span::new(start, source.text().find("USER").unwrap());
        let help = ["read the output above".to_owned()];
        insta::assert_snapshot!(located(&source, span, "the program ended with exit code 2", &help, false), @r"
        error: the program ended with exit code 2
         --> Containerfile:2:1
          |
        2 | / RUN make \
        3 | |   all
          | |_____^
          |
          = help: read the output above
        ");
    }

    #[test]
    fn a_place_outside_of_the_text_is_no_panic() {
        let source = Source::new("Containerfile", "FROM ß\n");
        for (start, end) in [(0, 999), (6, 7), (9, 3), (7, 7)] {
            let shown = located(&source, Span::new(start, end), "oops", &[], false);
            assert!(shown.starts_with("error: oops"), "{shown}");
        }
    }
}
