//! RB208: an image that cannot start what it says.

use super::prelude::*;
use crate::ast::{Command, Span};
use crate::lint::view::PATH;
use crate::mode::Mode;
use crate::path;

pub(super) const RULE: Rule = Rule {
    id: "RB208",
    aliases: &[],
    severity: Severity::Error,
    title: "the program that the image starts is missing, not executable, or a script without its interpreter",
    why: "The container ends before it begins: \"no such file or directory\", also for a file that is there when its interpreter is not, or \
\"permission denied\". A heredoc makes files of mode 644. Said only where the whole content of the image is known from the file.",
    bad: service!("COPY --chmod=444 tool /tool\nENTRYPOINT [\"/tool\"]\nHEALTHCHECK NONE"),
    good: service!("COPY --chmod=555 tool /tool\nENTRYPOINT [\"/tool\"]\nHEALTHCHECK NONE"),
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    let Some(Command::Exec(words)) = view.started() else {
        return;
    };
    let Some(program) = words.first().filter(|word| !word.value.is_empty()) else {
        return;
    };
    let name = program.value.as_str();
    if !name.starts_with('/') {
        let missing = !name.contains('/') && !sets_path(view) && is_nowhere(view, name);
        if missing {
            let message = format!("{name} is in no directory of PATH");
            found
                .add(program.span, message)
                .help("copy it there, or write the path that it has");
        }
        return;
    }
    let file = path::clean(name);
    if !view.may_contain(&file) {
        let message = format!("nothing puts {name} into the image");
        found.add(program.span, message).help("copy it there");
        return;
    }
    let Some(made) = view.made(&file) else {
        return;
    };
    let span = made.transfer.destination.span;
    let mode = match &made.transfer.chmod {
        None => made.content.map(|_| 0o644),
        Some(word) => {
            let mode = made.step.value(word).known().map(str::parse::<Mode>);
            mode.and_then(Result::ok)
                .map(|mode| mode.apply(0o644, false))
        }
    };
    if mode.is_some_and(|mode| mode & 0o111 == 0) {
        let finding = found.add(span, format!("{name} is started, and not executable"));
        match &made.transfer.chmod {
            None => {
                let end = made.step.instruction.keyword.end();
                finding
                    .help("add --chmod=555")
                    .fix(Span::new(end, end), " --chmod=555")
            }
            Some(word) => finding.help("write --chmod=555").fix(word.span, "555"),
        };
    }
    let content = made.content.map(|heredoc| heredoc.content());
    if let Some(line) = content.as_deref().and_then(|text| text.strip_prefix("#!")) {
        interpreter(view, line.lines().next().unwrap_or_default(), span, found);
    }
}

fn interpreter(view: &View<'_>, line: &str, span: Span, found: &mut Findings) {
    let mut words = line.split_whitespace();
    let Some(first) = words.next().filter(|path| path.starts_with('/')) else {
        return;
    };
    let missing = if !view.may_contain(&path::clean(first)) {
        first
    } else {
        match words.next() {
            Some(name)
                if first.ends_with("/env")
                    && !name.starts_with('-')
                    && !sets_path(view)
                    && is_nowhere(view, name) =>
            {
                name
            }
            _ => return,
        }
    };
    let message = format!("the script needs {missing}, which is not in the image");
    found
        .add(span, message)
        .help("start a program instead, or copy the interpreter and what it needs");
}

fn is_nowhere(view: &View<'_>, name: &str) -> bool {
    PATH.iter()
        .all(|directory| !view.may_contain(&format!("{directory}/{name}")))
}

fn sets_path(view: &View<'_>) -> bool {
    view.shipped_steps()
        .any(|step| match &step.instruction.kind {
            InstructionKind::Env(pairs) => pairs.pairs.iter().any(|pair| pair.name.raw == "PATH"),
            _ => false,
        })
}
