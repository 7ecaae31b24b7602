//! DL4005: another /bin/sh.

use super::prelude::*;

pub(super) const RULE: Rule = Rule {
    id: "DL4005",
    aliases: &[],
    severity: Severity::Warning,
    title: "/bin/sh is replaced",
    why: "The packages' own scripts are written for the shell that the distribution has there, and whoever reads the file expects it. SHELL \
says what runs the RUN steps.",
    bad: in_build!("RUN ln -sf /bin/bash /bin/sh\nRUN make"),
    good: in_build!("SHELL [\"/bin/bash\", \"-c\"]\nRUN make"),
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    for (_, _, program) in view.programs() {
        let last = program.arguments().last().map(|word| word.text.as_str());
        let replaced = program.name() == "ln"
            && program.words.len() > 2
            && matches!(last, Some("/bin/sh" | "/usr/bin/sh"));
        if replaced {
            found
                .add(program.span(), "this replaces the shell of the whole image")
                .help("write SHELL [\"/bin/bash\", \"-c\"]");
        }
    }
}
