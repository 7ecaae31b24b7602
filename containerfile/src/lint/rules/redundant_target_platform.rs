//! RedundantTargetPlatform: `--platform=$TARGETPLATFORM`.

use super::prelude::*;
use crate::ast::Span;
use crate::source::Source;

pub(super) const RULE: Rule = Rule {
    id: "RedundantTargetPlatform",
    aliases: &["DL3065"],
    severity: Severity::Warning,
    title: "FROM --platform=$TARGETPLATFORM",
    why: "That is what FROM does anyway.",
    bad: "FROM --platform=$TARGETPLATFORM scratch\nUSER 65532:65532\n",
    good: "FROM scratch\nUSER 65532:65532\n",
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    for stage in &view.file.stages {
        let Some(platform) = &stage.from.platform else {
            continue;
        };
        if matches!(
            platform.raw.as_str(),
            "$TARGETPLATFORM" | "${TARGETPLATFORM}"
        ) {
            let message = "$TARGETPLATFORM is the platform without the flag too";
            let finding = found
                .add(platform.span, message)
                .help("leave --platform out");
            if let Some(flag) = whole_flag(view.source, platform.span) {
                finding.fix(flag, "");
            }
        }
    }
}

/// The flag of a value, and the blanks behind it.
fn whole_flag(source: &Source, value: Span) -> Option<Span> {
    const NAME: &str = "--platform=";
    let start = value.start().checked_sub(NAME.len())?;
    let rest = source.text().get(value.end()..)?;
    let blanks = rest.len() - rest.trim_start_matches([' ', '\t']).len();
    let written = source.slice(Span::new(start, value.start())) == NAME;
    written.then(|| Span::new(start, value.end() + blanks))
}
