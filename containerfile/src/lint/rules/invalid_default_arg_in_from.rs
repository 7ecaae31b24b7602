//! InvalidDefaultArgInFrom: FROM that has no image unless an argument is given.

use super::prelude::*;

pub(super) const RULE: Rule = Rule {
    id: "InvalidDefaultArgInFrom",
    aliases: &[],
    severity: Severity::Warning,
    title: "FROM names no image when no build argument is given",
    why: "`rbuild build` without the right `--build-arg` fails. A default shows what is meant, and lets everybody build.",
    bad: "ARG TAG\nFROM docker.io/library/busybox:${TAG} AS tools\nFROM scratch\nUSER 65532:65532\n",
    good: concat!(
        "ARG BASE=",
        pinned!(),
        "\nFROM ${BASE} AS tools\nFROM scratch\nUSER 65532:65532\n"
    ),
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    for stage in view
        .stages
        .iter()
        .filter(|stage| stage.image.certainty == Certainty::Argument)
    {
        let name = &stage.image.text;
        let broken = name.is_empty()
            || name.ends_with([':', '@', '/', '-', '.'])
            || name.starts_with([':', '@', '/', '-', '.'])
            || ["//", ":@", "/:", "/@"]
                .iter()
                .any(|gap| name.contains(gap));
        if broken {
            let message = format!(
                "without --build-arg for {}, FROM names no image",
                stage.image.unset_names()
            );
            found
                .add(stage.stage.from.image.span, message)
                .help("give the ARG a default");
        }
    }
}
