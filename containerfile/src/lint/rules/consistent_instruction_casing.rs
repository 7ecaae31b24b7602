//! ConsistentInstructionCasing: keywords in another case than most.

use super::prelude::*;
use crate::ast::Span;

pub(super) const RULE: Rule = Rule {
    id: "ConsistentInstructionCasing",
    aliases: &[],
    severity: Severity::Warning,
    title: "an instruction in another case than most of the file",
    why: "One case for one file reads better; upper case is the custom.",
    bad: "FROM scratch\ncopy app /app\nUSER 65532:65532\n",
    good: "FROM scratch\nCOPY app /app\nUSER 65532:65532\n",
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    let places = keywords(view);
    let is =
        |span: &Span, case: fn(&u8) -> bool| view.source.slice(*span).as_bytes().iter().all(case);
    let lower = places
        .iter()
        .filter(|span| is(span, u8::is_ascii_lowercase))
        .count();
    let upper = places
        .iter()
        .filter(|span| is(span, u8::is_ascii_uppercase))
        .count();
    let mostly_lower = lower > upper;
    for span in places {
        let written = view.source.slice(span);
        let (wanted, case) = match mostly_lower {
            true => (written.to_ascii_lowercase(), "lower"),
            false => (written.to_ascii_uppercase(), "upper"),
        };
        if wanted != written {
            let message = format!("{written:?} is not in {case} case as most of the file is");
            found
                .add(span, message)
                .help(format!("write: {wanted}"))
                .fix(span, wanted);
        }
    }
}

fn keywords(view: &View<'_>) -> Vec<Span> {
    let first = |span: Span| {
        let text = view.source.slice(span);
        let end = text
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(text.len());
        Span::new(span.start(), span.start() + end)
    };
    let globals = view.file.global_args.iter().map(|arg| first(arg.span));
    let stages = view.file.stages.iter().flat_map(|stage| {
        let keywords = stage
            .instructions
            .iter()
            .map(|instruction| instruction.keyword);
        std::iter::once(stage.from.keyword).chain(keywords)
    });
    globals.chain(stages).collect()
}
