//! DL4006: a download whose failure is lost in a pipe.

use super::prelude::*;

pub(super) const RULE: Rule = Rule {
    id: "DL4006",
    aliases: &[],
    severity: Severity::Warning,
    title: "a download into a pipe without pipefail",
    why: "A pipe succeeds when its last program does: a download that fails half-way gives a smaller file, and the build goes on.",
    bad: in_build!("RUN wget -O - https://example.com/list | sha256sum -c list.sum"),
    good: in_build!(
        "SHELL [\"/bin/bash\", \"-o\", \"pipefail\", \"-c\"]\nRUN wget -O - https://example.com/list | sha256sum -c list.sum"
    ),
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    for (_, step) in view.steps() {
        let InstructionKind::Run(run) = step.inner() else {
            continue;
        };
        let shell = step
            .at
            .shell
            .is_some_and(|words| words.iter().any(|word| word.value.contains("pipefail")));
        let script = run
            .command
            .shell_text()
            .is_some_and(|text| text.contains("pipefail"));
        if shell || script {
            continue;
        }
        let programs = step.programs();
        for (at, program) in programs.iter().enumerate() {
            let into_pipe = programs.get(at + 1).is_some_and(|next| next.piped);
            if into_pipe && matches!(program.name(), "curl" | "wget") && program.words.len() > 1 {
                let message = format!("the pipe hides that {} failed", program.name());
                found
                    .add(program.words[0].span, message)
                    .help("write the file first, or set SHELL [\"/bin/bash\", \"-o\", \"pipefail\", \"-c\"]");
            }
        }
    }
}
