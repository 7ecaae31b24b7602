//! DL3015: packages that nobody asked for.

use super::prelude::*;

pub(super) const RULE: Rule = Rule {
    id: "DL3015",
    aliases: &[],
    severity: Severity::Info,
    title: "apt-get install without --no-install-recommends",
    why: "What is recommended is often several times what was asked for. Only stages that are part of the final image are examined.",
    bad: on_debian!(
        "RUN apt-get update && apt-get install --yes git && rm -rf /var/lib/apt/lists/*\nUSER 65532:65532"
    ),
    good: on_debian!(
        "RUN apt-get update && apt-get install --yes --no-install-recommends git && rm -rf /var/lib/apt/lists/*\nUSER 65532:65532"
    ),
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    let configured = view.source.text().contains("Install-Recommends");
    for step in view.shipped_steps() {
        for program in &*step.programs() {
            let installs = matches!(program.name(), "apt-get" | "apt")
                && program.verb() == "install"
                && program.words.len() > 2;
            let says = program.arguments().iter().any(|word| {
                word.dynamic && word.text.starts_with('$') || word.text == "--no-install-recommends"
            });
            if installs && !says && !configured {
                found
                    .add(program.span(), "recommended packages are installed too")
                    .help("add --no-install-recommends, and name what is really needed");
            }
        }
    }
}
