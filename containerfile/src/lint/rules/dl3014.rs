//! DL3014: a question that nobody answers.

use super::prelude::*;

pub(super) const RULE: Rule = Rule {
    id: "DL3014",
    aliases: &["DL3030", "DL3034", "DL3038"],
    severity: Severity::Warning,
    title: "a package manager asks, and nobody answers: apt-get, dnf, yum or zypper install without --yes",
    why: "It asks whether to go on, nobody answers, and the step fails.",
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
            let place =
                crate::ast::Span::new(program.words[0].span.end(), program.words[0].span.end());
            finding.help("add --yes").fix(place, " --yes");
        }
    }
    others(view, found);
}

/// The same for dnf, yum, microdnf and zypper.
fn others(view: &View<'_>, found: &mut Findings) {
    let text = view.source.text();
    let configured = text.contains("assumeyes") || text.contains("ZYPP_");
    for (_, step, program) in view.programs() {
        let name = program.name();
        let (verbs, flag): (&[&str], &str) = match name {
            "dnf" | "yum" | "microdnf" => (&["install", "update", "upgrade", "remove"], " -y"),
            "zypper" => (&["install", "in", "update", "up"], " --non-interactive"),
            _ => continue,
        };
        let says = |word: &ShellWord| {
            let text = word.text.as_str();
            let short = text.starts_with('-') && !text.starts_with("--");
            let long = [
                "--assumeyes",
                "--assumeno",
                "--non-interactive",
                "--no-confirm",
                "--downloadonly",
            ];
            word.dynamic
                || long.contains(&text)
                || (short && (text.contains('y') || (name == "zypper" && text.contains('n'))))
        };
        let verb = program
            .arguments()
            .iter()
            .any(|word| verbs.contains(&word.text.as_str()));
        let answered = program.piped || program.arguments().iter().any(says);
        if verb && !answered && !configured && !step.instruction.text.contains("yes |") {
            let end = program.words[0].span.end();
            found
                .add(
                    program.span(),
                    format!("{name} asks whether to go on, and nobody answers"),
                )
                .help(format!("add{flag}"))
                .fix(crate::ast::Span::new(end, end), flag);
        }
    }
}
