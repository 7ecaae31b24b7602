//! What fixes change, as a unified diff. The invariant: `patch` makes of the old text exactly what `--fix` makes of it.

use std::fmt::Write as _;
use std::ops::Range;

use containerfile::{Diagnostic, Fix, Source, Span, lint};

/// Lines shown around a change.
const CONTEXT: usize = 3;

/// Lines that change together, and the fixes in them; lines count from 0.
struct Change<'f> {
    lines: Range<usize>,
    fixes: Vec<&'f Fix>,
}

/// The diff; blank where nothing can be fixed.
pub(in super::super) fn unified(source: &Source, findings: &[Diagnostic]) -> String {
    let changes = changes(source, &lint::fixes(source.text(), findings));
    if changes.is_empty() {
        return String::new();
    }
    let lines: Vec<&str> = source.text().split_inclusive('\n').collect();
    let mut text = format!("--- {0}\n+++ {0}\n", crate::show::escape(source.name()));
    let mut moved: isize = 0;
    let mut rest = changes.as_slice();
    while !rest.is_empty() {
        let near = rest
            .windows(2)
            .take_while(|pair| pair[1].lines.start <= pair[0].lines.end + 2 * CONTEXT);
        let (hunk, after) = rest.split_at(near.count() + 1);
        moved += self::hunk(&lines, source, hunk, moved, &mut text);
        rest = after;
    }
    text
}

/// Writes one hunk; returns by how many lines the new text is longer.
fn hunk(
    lines: &[&str],
    source: &Source,
    changes: &[Change<'_>],
    moved: isize,
    text: &mut String,
) -> isize {
    let start = changes[0].lines.start.saturating_sub(CONTEXT);
    let end = (changes[changes.len() - 1].lines.end + CONTEXT).min(lines.len());
    let (mut body, mut old, mut new, mut at) = (String::new(), 0_usize, 0_usize, start);
    let mut line = |sign: char, content: &str| {
        body.push(sign);
        body.push_str(content.strip_suffix('\n').unwrap_or(content));
        body.push('\n');
        if !content.ends_with('\n') {
            body.push_str("\\ No newline at end of file\n");
        }
        old += usize::from(sign != '+');
        new += usize::from(sign != '-');
    };
    for change in changes {
        lines[at..change.lines.start]
            .iter()
            .for_each(|same| line(' ', same));
        lines[change.lines.clone()]
            .iter()
            .for_each(|gone| line('-', gone));
        replaced(source, change)
            .split_inclusive('\n')
            .for_each(|added| line('+', added));
        at = change.lines.end;
    }
    lines[at..end].iter().for_each(|same| line(' ', same));
    let first = |count: usize, at: isize| if count == 0 { at } else { at + 1 };
    let from = isize::try_from(start).unwrap_or_default();
    let _ = writeln!(
        text,
        "@@ -{},{old} +{},{new} @@",
        first(old, from),
        first(new, from + moved)
    );
    text.push_str(&body);
    isize::try_from(new).unwrap_or_default() - isize::try_from(old).unwrap_or_default()
}

/// Neighbouring fixes put together.
fn changes<'f>(source: &Source, fixes: &[&'f Fix]) -> Vec<Change<'f>> {
    let mut changes: Vec<Change<'f>> = Vec::new();
    for fix in fixes {
        let touched = source.line_range(Span::new(fix.span.start(), fix.span.end()));
        let start = touched.start() - 1;
        // What removes a line end joins the next line to this one.
        let joins = source.slice(fix.span).ends_with('\n')
            && !fix.replacement.ends_with('\n')
            && source.line_span(*touched.start()).start() != fix.span.start();
        let end = touched.end() + usize::from(joins);
        match changes.last_mut().filter(|last| start < last.lines.end) {
            Some(last) => {
                last.lines.end = last.lines.end.max(end);
                last.fixes.push(fix);
            }
            None => changes.push(Change {
                lines: start..end,
                fixes: vec![fix],
            }),
        }
    }
    changes
}

/// The new text of changed lines.
fn replaced(source: &Source, change: &Change<'_>) -> String {
    let start = source.line_span(change.lines.start + 1).start();
    let end = source.line_span(change.lines.end + 1).start().max(start);
    let mut text = String::new();
    let mut at = start;
    for fix in &change.fixes {
        text.push_str(source.slice(Span::new(at, fix.span.start())));
        text.push_str(&fix.replacement);
        at = fix.span.end();
    }
    text.push_str(source.slice(Span::new(at, end.max(at))));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_far_apart_are_hunks_of_their_own_and_line_numbers_move_along() {
        let text = "FROM scratch\nRUN a \\\n\n b\n# 1\n# 2\n# 3\n# 4\n# 5\n# 6\n# 7\n# 8\nEXPOSE 8080/TCP\nUSER 7";
        let source = Source::new("Containerfile", text);
        let report = lint::lint(&source, &lint::Options::default());
        insta::assert_snapshot!(unified(&source, &report.findings), @r"
        --- Containerfile
        +++ Containerfile
        @@ -1,6 +1,5 @@
         FROM scratch
         RUN a \
        -
          b
         # 1
         # 2
        @@ -10,5 +9,5 @@
         # 6
         # 7
         # 8
        -EXPOSE 8080/TCP
        +EXPOSE 8080/tcp
        -USER 7
        \ No newline at end of file
        +USER 7:7
        \ No newline at end of file
        ");
    }
}
