//! Between the protocol's types and ours. The invariant: a range is in the text that it was made from.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use containerfile::editor::{Position, Positions};
use containerfile::lint;
use containerfile::{Diagnostic, Fix, Severity, Source, Span};
use lsp_types::{
    CodeDescription, DiagnosticSeverity, DiagnosticTag, NumberOrString, Range, TextEdit,
};

/// Findings as the editor shows them.
pub(super) fn diagnostics(source: &Source, findings: &[Diagnostic]) -> Vec<lsp_types::Diagnostic> {
    let positions = Positions::of(source.text());
    findings
        .iter()
        .map(|found| diagnostic(source, &positions, found))
        .collect()
}

fn diagnostic(
    source: &Source,
    positions: &Positions<'_>,
    found: &Diagnostic,
) -> lsp_types::Diagnostic {
    let link = found.rule.and_then(lint::link);
    // A line's end belongs to nobody's mistake.
    let length = source.slice(found.span).trim_end().len();
    let span = Span::new(found.span.start(), found.span.start() + length);
    lsp_types::Diagnostic {
        range: range(positions, span),
        severity: Some(match found.severity {
            Severity::Error => DiagnosticSeverity::ERROR,
            Severity::Warning => DiagnosticSeverity::WARNING,
            Severity::Info => DiagnosticSeverity::INFORMATION,
        }),
        code: found.rule.map(|id| NumberOrString::String(id.to_owned())),
        code_description: link
            .and_then(|link| link.parse().ok())
            .map(|href| CodeDescription { href }),
        source: Some("rbuild".to_owned()),
        message: match &found.help {
            Some(help) => format!("{}\nhelp: {help}", found.message),
            None => found.message.clone(),
        },
        related_information: None,
        tags: match found.rule {
            Some("RB002") => Some(vec![DiagnosticTag::UNNECESSARY]),
            Some("MaintainerDeprecated") => Some(vec![DiagnosticTag::DEPRECATED]),
            _ => None,
        },
        data: None,
    }
}

/// A change of the text.
pub(super) fn edit(positions: &Positions<'_>, fix: &Fix) -> TextEdit {
    TextEdit::new(range(positions, fix.span), fix.replacement.clone())
}

/// A part of the text.
pub(super) fn range(positions: &Positions<'_>, span: Span) -> Range {
    let place = |offset| {
        let Position { line, character } = positions.position(offset);
        lsp_types::Position { line, character }
    };
    Range::new(place(span.start()), place(span.end()))
}

/// The byte at a place.
pub(super) fn offset(positions: &Positions<'_>, at: lsp_types::Position) -> usize {
    let (line, character) = (at.line, at.character);
    positions.offset(Position { line, character })
}

/// The path behind `file://`; `None` for what is no file (`untitled:`), and for another machine's.
pub(super) fn path(uri: &str) -> Option<PathBuf> {
    let rest = uri.strip_prefix("file://")?;
    let path = rest.strip_prefix("localhost").unwrap_or(rest);
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.strip_prefix('/').map(|_| path.as_bytes())?;
    while let [first, after @ ..] = rest {
        let decoded = match (first, after) {
            (b'%', [high, low, ..]) => hexadecimal(*high, *low),
            _ => None,
        };
        bytes.push(decoded.unwrap_or(*first));
        rest = if decoded.is_some() {
            &after[2..]
        } else {
            after
        };
    }
    Some(OsString::from_vec(bytes).into())
}

fn hexadecimal(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    Some(digit(high)? << 4 | digit(low)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_paths_of_files_are_found_in_their_uris() {
        for (uri, expected) in [
            ("file:///a/b", Some("/a/b")),
            ("file://localhost/a", Some("/a")),
            ("file:///a%20b/%C3%9f%", Some("/a b/ß%")),
            ("file://elsewhere/a", None),
            ("untitled:Untitled-1", None),
        ] {
            assert_eq!(path(uri), expected.map(PathBuf::from), "{uri}");
        }
    }
}
