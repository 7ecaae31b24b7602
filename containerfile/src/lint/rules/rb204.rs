//! RB204: shared libraries copied one by one.

use super::prelude::*;

pub(super) const RULE: Rule = Rule {
    id: "RB204",
    aliases: &[],
    severity: Severity::Warning,
    title: "shared libraries are copied by hand",
    why: "Paths with a triplet fit one processor, links and the loader are forgotten, and what a library loads at run time is in no list: \
the image starts on the machine where it was made, and not on the next.",
    bad: concat!(
        "FROM ",
        pinned!(),
        " AS build\nRUN make\nFROM scratch\nCOPY --from=build /usr/lib/x86_64-linux-gnu/libz.so.1 /usr/lib/\n",
        "COPY --from=build /app /app\nUSER 65532:65532\n"
    ),
    good: in_build!("RUN make LDFLAGS=-static"),
    check: Some(check),
};

const COPIES: [&str; 4] = ["cp", "install", "rsync", "mv"];

fn check(view: &View<'_>, found: &mut Findings) {
    let Some(last) = view.stages.len().checked_sub(1) else {
        return;
    };
    let bare = view.is_from_scratch(last)
        || view
            .root_image(last)
            .is_some_and(|image| image.is_without_shell());
    if !bare {
        return;
    }
    let help =
        "link the program statically, or copy the whole directory tree that it is installed in";
    for (_, step) in view.steps() {
        let programs = step.programs();
        for (at, program) in programs.iter().enumerate() {
            if program.name() == "ldd" {
                let rest = programs[at + 1..]
                    .iter()
                    .take(16)
                    .take_while(|next| next.piped);
                if rest.into_iter().any(|next| COPIES.contains(&next.name())) {
                    let message = "libraries are copied as ldd lists them: what is loaded later, and the loader's links, are missing";
                    found.add(program.words[0].span, message).help(help);
                }
            } else if COPIES.contains(&program.name()) {
                let sources = &program.arguments()[..program.arguments().len().saturating_sub(1)];
                if let Some(word) = sources.iter().find(|word| is_library(&word.text)) {
                    found
                        .add(
                            word.span,
                            "a shared library is copied by its path for one processor",
                        )
                        .help(help);
                }
            }
        }
        let Some(copying) = step.copying().filter(|copying| copying.from.is_some()) else {
            continue;
        };
        let library = copying.paths().find(|source| is_library(&source.raw));
        if let Some(word) = library {
            found
                .add(
                    word.span,
                    "a shared library is copied by its path for one processor",
                )
                .help(help);
        }
    }
}

/// Whether a path is that of a library in a directory for one architecture.
fn is_library(path: &str) -> bool {
    let Some((directory, file)) = path.rsplit_once('/') else {
        return false;
    };
    let system = ["/lib/", "/usr/lib/", "/lib64", "/usr/lib64"]
        .iter()
        .any(|start| path.starts_with(start));
    let triplet = directory.split('/').any(|part| {
        part.contains("-linux-gnu")
            || part.contains("-linux-musl")
            || part.contains("TRIPLET")
            || part.contains("MULTIARCH")
    });
    system && triplet && file.contains(".so")
}
