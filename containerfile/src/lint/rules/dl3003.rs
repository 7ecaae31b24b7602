//! DL3003: a change of directory that nothing uses.

use super::prelude::*;

pub(super) const RULE: Rule = Rule {
    id: "DL3003",
    aliases: &[],
    severity: Severity::Warning,
    title: "RUN ends with cd",
    why: "Each RUN begins in the directory of the last WORKDIR, so a `cd` at the end changes nothing. One in the middle of a RUN is fine.",
    bad: in_build!("RUN cd /src\nRUN make"),
    good: in_build!("WORKDIR /src\nRUN make"),
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    for (_, step) in view.steps() {
        let programs = step.programs();
        let Some(last) = programs.last().filter(|last| last.name() == "cd") else {
            continue;
        };
        // A directory that is looked for, and the last word of a group, are something else.
        let alone = programs.len() == 1 || programs.iter().all(|one| one.name() != "");
        let text = step.instruction.text.trim_end();
        let ends = text.ends_with(last.words.last().map_or("", |word| word.text.as_str()));
        let guarded = text.contains("||") || text.contains('(');
        if alone && ends && !guarded && last.words.len() == 2 {
            let directory = &last.words[1].text;
            found
                .add(last.span(), "this is forgotten when the step ends")
                .help(format!("write WORKDIR {directory}"));
        }
    }
}
