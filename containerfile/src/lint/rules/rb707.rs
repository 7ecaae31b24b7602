//! RB707: a commit looked for in a shallow clone.

use super::prelude::*;

pub(super) const RULE: Rule = Rule {
    id: "RB707",
    aliases: &[],
    severity: Severity::Warning,
    title: "a shallow clone, then checkout of a commit",
    why: "A shallow clone has the newest commit of a branch only. The build works until somebody pushes to it.",
    bad: in_build!(
        "RUN git clone --depth 1 https://example.com/tool.git && cd tool && git checkout 4f1c2b3a9d8e7f60512233445566778899aabbcc && make"
    ),
    good: in_build!(
        "ADD https://example.com/tool.git#4f1c2b3a9d8e7f60512233445566778899aabbcc /src/\nRUN make"
    ),
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    for (_, step) in view.steps() {
        let mut shallow = false;
        for program in step
            .programs()
            .iter()
            .filter(|program| program.name() == "git")
        {
            let depth = program
                .arguments()
                .iter()
                .any(|word| word.text.starts_with("--depth"));
            // What is fetched by its own name is there, however shallow.
            shallow = (shallow || (program.has("clone") && depth)) && !program.has("fetch");
            let is_commit = |word: &&ShellWord| {
                word.text.len() == 40 && word.text.bytes().all(|byte| byte.is_ascii_hexdigit())
            };
            let commit = program.arguments().iter().find(is_commit);
            if let Some(word) =
                commit.filter(|_| shallow && (program.has("checkout") || program.has("reset")))
            {
                let message =
                    "a shallow clone has this commit only as long as it is the newest one";
                found.add(word.span, message).help(
                    "fetch the commit itself: git fetch --depth 1 origin COMMIT, or ADD URL#COMMIT",
                );
            }
        }
    }
}
