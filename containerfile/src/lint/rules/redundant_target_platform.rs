//! RedundantTargetPlatform: `--platform=$TARGETPLATFORM`.

use super::prelude::*;
use crate::ast::Span;

pub(super) const RULE: Rule = Rule {
    id: "RedundantTargetPlatform",
    aliases: &[],
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
            // From behind FROM to behind the value: the flag is the only one.
            let flag = Span::new(stage.from.keyword.end, platform.span.end);
            let message = "$TARGETPLATFORM is the platform without the flag too";
            found
                .add(platform.span, message)
                .help("leave --platform out")
                .fix(flag, "");
        }
    }
}
