//! FromPlatformFlagConstDisallowed: one platform for all builds.

use super::prelude::*;

pub(super) const RULE: Rule = Rule {
    id: "FromPlatformFlagConstDisallowed",
    aliases: &["DL3029"],
    severity: Severity::Warning,
    title: "FROM --platform with a constant",
    why: "The stage has that platform whatever is built: an image for another one gets the wrong programs. A stage for one platform that \
others choose by name, such as `build-amd64`, is fine.",
    bad: "FROM --platform=linux/amd64 scratch\nUSER 65532:65532\n",
    good: "FROM scratch\nUSER 65532:65532\n",
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    for stage in &view.file.stages {
        let Some(platform) = stage
            .from
            .platform
            .as_ref()
            .filter(|platform| !platform.mentions_variable())
        else {
            continue;
        };
        let mut parts = platform.raw.split('/').filter(|part| !part.is_empty());
        let chosen = stage
            .from
            .name
            .as_ref()
            .is_some_and(|name| parts.any(|part| name.value.contains(part)));
        if !chosen {
            let message = format!("this stage is for {} whatever is built", platform.raw);
            found
                .add(platform.span, message)
                .help("leave --platform out, or use $BUILDPLATFORM for a stage that only builds");
        }
    }
}
