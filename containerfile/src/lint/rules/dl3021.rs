//! DL3021: several files to one name.

use super::prelude::*;
use crate::ast::CopySource;

pub(super) const RULE: Rule = Rule {
    id: "DL3021",
    aliases: &[],
    severity: Severity::Error,
    title: "COPY of several sources to something that is no directory",
    why: "The build fails: a directory as the destination ends with a slash.",
    bad: "FROM scratch\nCOPY a b /data\nUSER 65532:65532\n",
    good: "FROM scratch\nCOPY a b /data/\nUSER 65532:65532\n",
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    for (_, step) in view.steps() {
        let Some(copying) = step.copying() else {
            continue;
        };
        let several = copying.transfer.sources.len() > 1;
        let files = copying
            .transfer
            .sources
            .iter()
            .all(|source| matches!(source, CopySource::Path(_) | CopySource::Heredoc(_)));
        let word = &copying.transfer.destination;
        let value = step.value(word);
        let Some(text) = value
            .known()
            .filter(|text| several && files && !text.is_empty())
        else {
            continue;
        };
        if !text.ends_with('/')
            && text != "."
            && !text.ends_with("/.")
            && text != ".."
            && !text.ends_with("/..")
        {
            let finding = found.add(
                word.span,
                "with several sources the destination is a directory, and ends with a slash",
            );
            let end = crate::ast::Span::new(word.span.end(), word.span.end());
            let plain = word.raw == text;
            let finding = finding.help(format!("write: {text}/"));
            if plain && !word.raw.contains('"') && view.source.slice(word.span) == word.raw {
                finding.fix(end, "/");
            }
        }
    }
}
