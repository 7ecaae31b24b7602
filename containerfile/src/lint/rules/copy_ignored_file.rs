//! CopyIgnoredFile: COPY of what the ignore file keeps out.

use super::prelude::*;
use crate::ignore::IgnoreFile;
use crate::{glob, path};

pub(super) const RULE: Rule = Rule {
    id: "CopyIgnoredFile",
    aliases: &[],
    severity: Severity::Warning,
    title: "COPY or ADD of a file that the ignore file keeps out of the context",
    why: "The build does not find it. `rbuild lint` reads the ignore file beside the Containerfile, as a build with that directory as its \
context does.",
    bad: "FROM scratch\nCOPY secret.txt /\nUSER 65532:65532\n",
    good: "FROM scratch\nCOPY public.txt /\nUSER 65532:65532\n",
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    let Some(ignore) = view
        .options
        .ignore
        .as_ref()
        .filter(|ignore| !ignore.is_empty())
    else {
        return;
    };
    for (_, step) in view.steps() {
        let Some(copying) = step.copying().filter(|copying| copying.from.is_none()) else {
            continue;
        };
        for source in copying.paths() {
            let value = step.value(source);
            let Some(written) = value
                .known()
                .filter(|text| !text.contains("://") && !glob::has_wildcards(text))
            else {
                continue;
            };
            let file = path::join("/", written);
            let file = file.trim_start_matches('/');
            if !file.is_empty() && is_kept_out(ignore, file) {
                let message = format!("{file} is kept out of the build context by the ignore file");
                found
                    .add(source.span, message)
                    .help("take it out of the ignore file, or do not copy it");
            }
        }
    }
}

/// Whether neither the path nor anything below it is in the context.
fn is_kept_out(ignore: &IgnoreFile, path: &str) -> bool {
    let mut directory = ignore.root();
    let mut kept_out = false;
    for name in path.split('/') {
        let entered = ignore.enter(&directory, name);
        kept_out = entered.ignored && !entered.descend;
        directory = entered.directory;
    }
    kept_out
}
