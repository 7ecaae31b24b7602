//! RB705: downloads that nothing checks.

use super::prelude::*;
use crate::ast::RunCommand;
use crate::lint::shell::Program;

pub(super) const RULE: Rule = Rule {
    id: "RB705",
    aliases: &[],
    severity: Severity::Warning,
    title: "a download without a checksum",
    why: "What a URL gives can be replaced, by its owner or by somebody on the way, and then it runs in your image. A checksum in the \
Containerfile makes the build fail instead. Package managers that check signatures themselves are not meant.",
    bad: in_build!("ADD https://example.com/tool.tar.gz /src/"),
    good: in_build!(
        "ADD --checksum=sha256:01a723bf5bfb21b9dda0c9a33e0538106e4d02cce8f557e118dd61259553d598 https://example.com/tool.tar.gz /src/"
    ),
    check: Some(check),
};

/// Programs that tell whether a file is the right one.
const VERIFIERS: [&str; 15] = [
    "sha256sum",
    "sha512sum",
    "sha384sum",
    "sha224sum",
    "sha1sum",
    "b2sum",
    "shasum",
    "md5sum",
    "gpg",
    "gpgv",
    "cosign",
    "minisign",
    "openssl",
    "signify",
    "cksum",
];

fn check(view: &View<'_>, found: &mut Findings) {
    for (_, step) in view.steps() {
        match step.inner() {
            InstructionKind::Add(add) if add.checksum.is_none() => {
                for source in step.copying().iter().flat_map(|copying| copying.paths()) {
                    let value = step.value(source);
                    let url = value.known().is_some_and(|url| {
                        url.starts_with("http://") || url.starts_with("https://")
                    });
                    if url && !value.text.ends_with(".git") && !value.text.contains(".git#") {
                        found
                            .add(source.span, "nothing checks what this URL gives")
                            .help("add --checksum=sha256:DIGEST");
                    }
                }
            }
            _ => {}
        }
    }
    for (index, stage) in view.stages.iter().enumerate() {
        // Whatever verifies in this stage may verify this download.
        let verifies = |step: &Step<'_>| {
            step.programs()
                .iter()
                .any(|program| VERIFIERS.contains(&program.name()))
                || matches!(step.inner(), InstructionKind::Run(run) if mentions_verifier(&run.command))
        };
        if stage.steps.iter().any(verifies) {
            continue;
        }
        for program in view.stages[index].steps.iter().flat_map(downloads) {
            let url = program.arguments().iter().find(|word| is_url(&word.text));
            if let Some(url) = url {
                found
                    .add(url.span, "nothing checks what this URL gives")
                    .help("fetch it with ADD --checksum=sha256:DIGEST, or pipe a known sum into sha256sum --check");
            }
        }
    }
}

/// A script may call one through a variable, or in a way that is not understood.
fn mentions_verifier(command: &RunCommand) -> bool {
    let text = command.shell_text().unwrap_or_default();
    VERIFIERS.iter().any(|name| text.contains(name))
        || text.contains("checksum")
        || text.contains("sha256")
}

/// The programs of a step that keep what they fetch.
fn downloads(step: &Step<'_>) -> Vec<Program> {
    let programs = step.programs();
    let kept = programs.iter().enumerate().filter(|(at, program)| {
        let piped = programs.get(at + 1).is_some_and(|next| next.piped);
        let short = |letter: char| {
            let options = program
                .arguments()
                .iter()
                .filter(|word| word.text.starts_with('-') && !word.text.starts_with("--"));
            options.into_iter().any(|word| word.text.contains(letter))
        };
        match program.name() {
            "wget" => !program.has("--spider"),
            "curl" => {
                piped
                    || program.redirected
                    || short('o')
                    || short('O')
                    || program.has("--output")
                    || program.has("--remote-name")
            }
            _ => false,
        }
    });
    kept.map(|(_, program)| program.clone()).collect()
}

fn is_url(text: &str) -> bool {
    let host = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    host.is_some_and(|host| {
        !["localhost", "127.", "[::1]", "0.0.0.0"]
            .iter()
            .any(|own| host.starts_with(own))
    })
}
