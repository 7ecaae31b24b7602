//! DL3010: an archive that stays in the image.

use super::prelude::*;

pub(super) const RULE: Rule = Rule {
    id: "DL3010",
    aliases: &[],
    severity: Severity::Info,
    title: "COPY of an archive that a RUN then extracts",
    why: "The archive stays in its layer beside what was in it. ADD extracts a tar of the context at once. Only stages that are part of the \
final image are examined.",
    bad: on_debian!(
        "COPY app.tar.gz /tmp/\nRUN tar -xzf /tmp/app.tar.gz -C /opt\nUSER 65532:65532"
    ),
    good: on_debian!("ADD app.tar.gz /opt/\nUSER 65532:65532"),
    check: Some(check),
};

/// What ADD extracts.
const SUFFIXES: [&str; 9] = [
    ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst",
];

fn check(view: &View<'_>, found: &mut Findings) {
    if view.huge {
        return;
    }
    for index in view.shipped() {
        let steps = &view.stages[index].steps;
        for (at, step) in steps.iter().enumerate() {
            let InstructionKind::Copy(copy) = &step.instruction.kind else {
                continue;
            };
            for source in step.copying().iter().flat_map(|copying| copying.paths()) {
                let value = step.value(source);
                let name = value.text.rsplit('/').next().unwrap_or_default();
                let archive = SUFFIXES.iter().any(|suffix| name.ends_with(suffix));
                let destination = step.value(&copy.transfer.destination);
                let renamed = destination.text.rsplit('/').next().unwrap_or_default();
                let extracts = |later: &Step<'_>| {
                    later.programs().iter().any(|program| {
                        matches!(program.name(), "tar" | "bsdtar")
                            && program.words.iter().any(|word| {
                                let last = word.text.rsplit('/').next().unwrap_or_default();
                                last == name || (last == renamed && !last.is_empty())
                            })
                            && extracts(program.arguments())
                    })
                };
                let plain = copy.from.is_none() && value.known().is_some() && !name.contains('*');
                if archive && plain && steps[at + 1..].iter().any(extracts) {
                    found
                        .add(
                            source.span,
                            "this archive stays in the image beside its files",
                        )
                        .help("write ADD with the directory to extract it to, and no tar");
                }
            }
        }
    }
}

fn extracts(arguments: &[ShellWord]) -> bool {
    arguments.iter().enumerate().any(|(at, word)| {
        let text = word.text.as_str();
        let short = (at == 0 || text.starts_with('-')) && !text.starts_with("--");
        matches!(text, "--extract" | "--get") || (short && text.contains('x'))
    })
}
