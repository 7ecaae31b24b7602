//! DL3020: ADD where COPY is meant.

use super::prelude::*;
use crate::glob;

pub(super) const RULE: Rule = Rule {
    id: "DL3020",
    aliases: &[],
    severity: Severity::Info,
    title: "ADD of a plain file",
    why: "ADD fetches URLs and unpacks archives; for anything else COPY says what happens. Archives, patterns and variables are left alone.",
    bad: "FROM scratch\nADD app.conf /etc/app.conf\nUSER 65532:65532\n",
    good: "FROM scratch\nCOPY app.conf /etc/app.conf\nUSER 65532:65532\n",
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    for (_, step) in view.steps() {
        let InstructionKind::Add(add) = step.inner() else {
            continue;
        };
        let Some(copying) = step.copying() else {
            continue;
        };
        let flags = add.checksum.is_some() || add.keep_git_dir.is_some() || add.unpack.is_some();
        let plain = |text: &str| {
            // A file of any name may be an archive; those that say what they are, are not.
            let ends = [
                ".conf",
                ".cfg",
                ".ini",
                ".json",
                ".yaml",
                ".yml",
                ".toml",
                ".xml",
                ".txt",
                ".md",
                ".sh",
                ".py",
                ".js",
                ".ts",
                ".rb",
                ".php",
                ".html",
                ".css",
                ".sql",
                ".env",
                ".properties",
                ".c",
                ".h",
                ".go",
                ".rs",
                ".java",
                ".zip",
                ".jar",
                ".war",
            ];
            let directory = text == "." || text == "./" || text.ends_with('/');
            (directory || ends.iter().any(|end| text.ends_with(end)))
                && !text.contains(':')
                && !glob::has_wildcards(text)
        };
        let all = copying
            .paths()
            .all(|source| step.value(source).known().is_some_and(plain));
        if all && !flags && copying.is_add && copying.paths().next().is_some() {
            let keyword = match &step.instruction.kind {
                InstructionKind::Onbuild(onbuild) => onbuild.inner.keyword,
                _ => step.instruction.keyword,
            };
            found
                .add(keyword, "ADD is for URLs and archives")
                .help("write COPY")
                .fix(keyword, "COPY");
        }
    }
}
