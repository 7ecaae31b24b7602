//! GitHub's workflow commands. The invariant: a command is one line, and nothing in it is another command (actions/toolkit,
//! packages/core/src/command.ts).

use containerfile::{Diagnostic, Severity, Source};

/// `::error file=…,line=…::message`.
pub(super) fn command(source: &Source, found: &Diagnostic) -> String {
    let (from, to) = super::range(source, found.span);
    let level = match found.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "notice",
    };
    // Columns over several lines are refused.
    let columns = match from.line == to.line {
        true => format!(",col={},endColumn={}", from.column, to.column),
        false => String::new(),
    };
    format!(
        "::{level} file={},line={},endLine={}{columns},title={}::{}",
        property(source.name()),
        from.line,
        to.line,
        property(super::rule(found)),
        data(&super::escape(&super::said(found)))
    )
}

pub(in crate::commands) fn data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

pub(in crate::commands) fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
