//! RB211: a whole root file system copied over another one.

use super::prelude::*;
use crate::ast::Word;
use crate::lint::view::Copying;

pub(super) const RULE: Rule = Rule {
    id: "RB211",
    aliases: &["DL3067"],
    severity: Severity::Warning,
    title: "COPY of a whole root, or of a tree with its own /bin or /lib",
    why: "`/bin` and `/lib` are links in most distributions: a tree in which they are directories takes their place or lies beside them, and \
the loader is not found any more. A whole root brings the shell and the package manager along, which scratch was meant to leave behind.",
    bad: concat!(
        "FROM ",
        pinned!(),
        " AS build\nRUN make\nFROM scratch\nCOPY --from=build / /\nUSER 65532:65532\n"
    ),
    good: in_build!("RUN make"),
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    let Some(last) = view.stages.len().checked_sub(1).filter(|_| !view.huge) else {
        return;
    };
    for step in &view.stages[last].steps {
        let Some(copying) = step.copying().filter(|copying| copying.from.is_some()) else {
            continue;
        };
        if step.fired_by.is_some()
            || step.path(&copying.transfer.destination).as_deref() != Some("/")
        {
            continue;
        }
        for source in copying.paths() {
            copied(view, last, step, &copying, source, found);
        }
    }
}

fn copied(
    view: &View<'_>,
    last: usize,
    step: &Step<'_>,
    copying: &Copying<'_>,
    source: &Word,
    found: &mut Findings,
) {
    let value = step.value(source);
    let Some(tree) = value.known().map(|text| crate::path::join("/", text)) else {
        return;
    };
    if tree == "/" {
        let message =
            "a whole root file system is copied: its shell and package manager come along";
        found
            .add(source.span, message)
            .help("copy the program and what it needs");
        return;
    }
    let from = copying
        .from
        .and_then(|from| view.stage_named(&from.value, last));
    let Some(from) = from else {
        return;
    };
    let directories = ["bin", "sbin", "lib", "lib64"].map(|name| format!("{tree}/{name}"));
    let makes = |word: &ShellWord| {
        let path = word.text.trim_end_matches('/');
        directories
            .iter()
            .find(|directory| path == *directory || crate::path::below(path, directory).is_some())
    };
    let steps = view
        .chain(from)
        .into_iter()
        .flat_map(|index| &view.stages[index].steps);
    let mut programs = steps
        .flat_map(|step| step.programs().into_owned())
        .filter(|program| matches!(program.name(), "mkdir" | "cp" | "install"));
    let made = programs.find_map(|program| program.arguments().iter().find_map(&makes));
    if let Some(made) = made {
        let name = made.rsplit('/').next().unwrap_or_default();
        let message = format!(
            "the tree has a directory /{name} of its own, which is a link into /usr elsewhere"
        );
        found.add(source.span, message).help(format!(
            "put its files into usr/{name} and copy that to /usr/{name}"
        ));
    }
}
