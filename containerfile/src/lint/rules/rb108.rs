//! RB108: RUN as an ordinary user in a directory of root's.

use super::prelude::*;
use crate::lint::shell::Program;
use crate::lint::view::USUAL;
use crate::path;
use crate::user::Id;

pub(super) const RULE: Rule = Rule {
    id: "RB108",
    aliases: &[],
    severity: Severity::Warning,
    title: "RUN as an ordinary user writes to a directory that belongs to root",
    why: "What WORKDIR and COPY make before USER is root's, so the step is not permitted to write there. WORKDIR after USER makes a directory \
of that user, COPY --chown copies for it. Said only where nothing of the file, and nothing that the base is known for, can have given the directory away.",
    bad: concat!(
        "FROM ",
        pinned!(),
        " AS build\nWORKDIR /work\nUSER 1000:1000\nRUN mkdir out\nFROM scratch\nCOPY --from=build /work/out /out\nUSER 65532:65532\n"
    ),
    good: concat!(
        "FROM ",
        pinned!(),
        " AS build\nUSER 1000:1000\nWORKDIR /work\nRUN mkdir out\nFROM scratch\nCOPY --from=build /work/out /out\nUSER 65532:65532\n"
    ),
    check: Some(check),
};

/// Programs that give nothing away, unless they are told the directory.
const HARMLESS: [&str; 24] = [
    "addgroup",
    "adduser",
    "apk",
    "apt",
    "apt-get",
    "cargo",
    "cat",
    "curl",
    "dnf",
    "echo",
    "go",
    "groupadd",
    "ls",
    "microdnf",
    "mkdir",
    "npm",
    "pip",
    "pip3",
    "rm",
    "set",
    "update-ca-certificates",
    "useradd",
    "wget",
    "yum",
];

fn check(view: &View<'_>, found: &mut Findings) {
    if view.huge {
        return;
    }
    for (index, step, program) in view.programs() {
        let ordinary = view.user(step.at.user).filter(|user| {
            user.value
                .known()
                .is_some_and(|_| is_ordinary(user.parts().0))
        });
        let Some(user) = ordinary else {
            continue;
        };
        let mounts = matches!(step.inner(), InstructionKind::Run(run) if !run.mounts.is_empty());
        if mounts || matches!(step.instruction.kind, InstructionKind::Onbuild(_)) {
            continue;
        }
        let Some(directory) = written(step, &program) else {
            continue;
        };
        if belongs_to_root(view, index, step, &directory) {
            let user = user.value.text;
            let message = format!("USER {user} cannot write to {directory}, which belongs to root");
            found.add(program.words[0].span, message).help(format!(
                "write WORKDIR {directory} after USER, or chown it before"
            ));
            return;
        }
    }
}

fn is_ordinary(user: &str) -> bool {
    match Id::parse(user) {
        Id::Number(number) => number > 0,
        Id::Name => user != "root",
        Id::Malformed => false,
    }
}

/// The directory in which a program surely makes something.
fn written(step: &Step<'_>, program: &Program) -> Option<String> {
    let moved = step.programs().iter().any(|other| {
        matches!(
            other.name(),
            "cd" | "pushd" | "sudo" | "doas" | "su" | "gosu" | ""
        )
    });
    let workdir = step.at.workdir.as_deref().filter(|_| !moved)?;
    let elsewhere = program.arguments().iter().any(|word| {
        word.dynamic
            || ["-g", "-C", "--global", "--help", "--version"].contains(&word.text.as_str())
            || ["--prefix", "--dir", "--cwd", "--target-dir", "--location"]
                .iter()
                .any(|option| word.text.starts_with(option))
    });
    if elsewhere {
        return None;
    }
    let here = || Some(path::clean(workdir));
    match (program.name(), program.verb()) {
        ("npm", "install" | "ci" | "i") | ("pnpm", "install" | "i") => here(),
        ("yarn", "" | "install") | ("composer", "install") => here(),
        ("mkdir" | "touch", made) if !made.is_empty() && program.arguments().len() == 1 => {
            let made = path::join(workdir, made);
            let (parent, _) = made.rsplit_once('/')?;
            (!parent.is_empty()).then(|| parent.to_owned())
        }
        _ => None,
    }
}

/// Whether a directory was made by root in this file, and nothing after that can have given it away.
fn belongs_to_root(view: &View<'_>, index: usize, until: &Step<'_>, directory: &str) -> bool {
    let fresh = directory
        .split('/')
        .nth(1)
        .is_some_and(|first| !USUAL.contains(&first))
        || ["/usr/src/", "/opt/", "/srv/"]
            .iter()
            .any(|above| directory.starts_with(above));
    let known = view
        .root_image(index)
        .is_some_and(|image| image.is_distribution() || image.is_language());
    if !fresh || !known {
        return false;
    }
    let chain = view.chain(index);
    let steps = chain
        .iter()
        .rev()
        .flat_map(|index| view.stages[*index].steps.iter());
    let mut is_roots = false;
    for step in steps.take_while(|step| !std::ptr::eq(*step, until)) {
        let root = view.user(step.at.user).is_none_or(|user| {
            user.value.known().is_some() && matches!(user.parts().0, "root" | "0")
        });
        match &step.instruction.kind {
            InstructionKind::Run(_) if root && !is_harmless(step, directory) => return false,
            InstructionKind::Workdir(word) => match step.path(word) {
                Some(made) if made == directory && !root => return false,
                Some(made) => is_roots |= made == directory,
                None => return false,
            },
            _ => {
                let Some(copying) = step.copying() else {
                    continue;
                };
                let Some(made) = step.path(&copying.transfer.destination) else {
                    return false;
                };
                let around = made == directory || path::below(directory, &made).is_some();
                if around && copying.transfer.chown.is_some() {
                    return false;
                }
            }
        }
    }
    is_roots
}

fn is_harmless(step: &Step<'_>, directory: &str) -> bool {
    let name = directory.rsplit('/').next().unwrap_or_default();
    let harmless = |program: &Program| {
        HARMLESS.contains(&program.name())
            && !program.words.iter().any(|word| word.text.contains(name))
    };
    !step.programs().is_empty() && step.programs().iter().all(harmless)
}
