//! DL3014: a question that nobody answers.

use super::prelude::*;

pub(super) const RULE: Rule = Rule {
    id: "DL3014",
    aliases: &[],
    severity: Severity::Warning,
    title: "apt-get install without --yes",
    why: "apt-get asks whether to go on, nobody answers, and the step fails.",
    bad: in_build!("RUN apt-get update && apt-get install make"),
    good: in_build!("RUN apt-get update && apt-get install --yes make"),
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    // A file of apt's configuration may say it for all.
    let configured =
        view.source.text().contains("Assume-Yes") || view.source.text().contains("assume-yes");
    for (_, step, program) in view.programs() {
        let says = |word: &ShellWord| {
            let text = word.text.as_str();
            let short = text.starts_with('-') && !text.starts_with("--");
            word.dynamic
                || matches!(
                    text,
                    "--yes"
                        | "--quiet=2"
                        | "--force-yes"
                        | "--simulate"
                        | "--dry-run"
                        | "--print-uris"
                )
                || (short
                    && (text.contains('y')
                        || text.contains('s')
                        || text.contains("qq")
                        || text.contains("q=2")))
        };
        let quiet = program
            .arguments()
            .iter()
            .filter(|word| matches!(word.text.as_str(), "-q" | "--quiet"))
            .count()
            > 1;
        let answered = program.piped || quiet || program.arguments().iter().any(says);
        let installs =
            program.name() == "apt-get" && program.verb() == "install" && program.words.len() > 2;
        if installs && !answered && !configured && !step.instruction.text.contains("yes |") {
            let finding = found.add(
                program.span(),
                "apt-get asks whether to go on, and nobody answers",
            );
            let place = crate::ast::Span::new(program.words[0].span.end, program.words[0].span.end);
            finding.help("add --yes").fix(place, " --yes");
        }
    }
}
