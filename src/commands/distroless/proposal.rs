//! The text: the final stage becomes a build stage, and one from scratch comes behind it. The invariant: what it is made of is edits,
//! so what is not edited stays as it was written, to the byte.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use containerfile::ast::{Containerfile, Healthcheck, Instruction, InstructionKind, Stage};
use containerfile::{Diagnostic, Source, Span};

use super::whole::{PATH, Whole};
use crate::failure::Failure;

/// The text up to where the base image of the final stage is named, which builds into that base.
pub(super) fn base_text(source: &Source, file: &Containerfile) -> Result<String, Failure> {
    let lowest = *chain(file).last().ok_or_else(no_stage)?;
    let from = &file.stages[lowest].from;
    if from.image.raw == "scratch" {
        let name = super::located(source);
        return Err(Failure::failed(format!(
            "change {name}: its image is made from scratch already"
        )));
    }
    Ok(format!("{}\n", &source.text()[..from.span.end()]))
}

fn no_stage() -> Failure {
    Failure::failed("find a stage: the Containerfile has none")
}

/// The final stage and those below it, itself first.
fn chain(file: &Containerfile) -> Vec<usize> {
    let named = |name: &str, before: usize| {
        (0..before).rev().find(|index| {
            let own = file.stages[*index].from.name.as_ref();
            own.is_some_and(|own| own.value.eq_ignore_ascii_case(name))
        })
    };
    let last = file.stages.len().checked_sub(1);
    std::iter::successors(last, |index| {
        named(&file.stages[*index].from.image.raw, *index)
    })
    .collect()
}

/// The edits that make the proposal of the file.
pub(super) fn propose(
    source: &Source,
    file: &Containerfile,
    whole: &Whole,
) -> Result<Vec<Diagnostic>, Failure> {
    let chain = chain(file);
    let last = &file.stages[*chain.first().ok_or_else(no_stage)?];
    let edit = |span: Span, text: String| Diagnostic::error(span, "").with_fix(span, text);
    let mut edits = Vec::new();
    let name = match &last.from.name {
        Some(name) => name.value.clone(),
        None => {
            let name = free_name(file);
            let behind = Span::new(last.from.image.span.end(), last.from.image.span.end());
            edits.push(edit(behind, format!(" AS {name}")));
            name
        }
    };
    let moved = last.instructions.iter().filter(|one| is_moved(&one.kind));
    edits.extend(moved.map(|one| edit(whole_lines(source, one.span), String::new())));
    let stages: Vec<&Stage> = chain
        .iter()
        .rev()
        .map(|index| &file.stages[*index])
        .collect();
    let stage = final_stage(source, &stages, &name, whole);
    let text = source.text();
    // The edit of the last line is that of the end, too: there is no line behind it that could be changed.
    let at_end = edits.iter_mut().filter_map(|edit| edit.fix.as_mut());
    match at_end.last().filter(|fix| fix.span.end() == text.len()) {
        Some(last) => last.replacement = format!("\n{stage}"),
        None => {
            let kept = text.trim_end_matches('\n').len();
            edits.push(edit(Span::new(kept, text.len()), format!("\n\n{stage}")));
        }
    }
    Ok(edits)
}

/// What only the image that is started has.
fn is_moved(kind: &InstructionKind) -> bool {
    matches!(
        kind,
        InstructionKind::Cmd(_)
            | InstructionKind::Entrypoint(_)
            | InstructionKind::Expose(_)
            | InstructionKind::Healthcheck(_)
            | InstructionKind::Label(_)
            | InstructionKind::Stopsignal(_)
            | InstructionKind::Volume(_)
    )
}

/// What holds for the stage from scratch as well.
fn is_repeated(kind: &InstructionKind) -> bool {
    matches!(
        kind,
        InstructionKind::Arg(_) | InstructionKind::Env(_) | InstructionKind::Workdir(_)
    )
}

fn whole_lines(source: &Source, span: Span) -> Span {
    let text = source.text();
    let start = text[..span.start()].rfind('\n').map_or(0, |at| at + 1);
    let end = text[span.end()..]
        .find('\n')
        .map_or(text.len(), |at| span.end() + at + 1);
    Span::new(start, end)
}

fn free_name(file: &Containerfile) -> String {
    let taken: BTreeSet<&str> = file
        .stages
        .iter()
        .filter_map(|stage| stage.from.name.as_ref())
        .map(|name| name.value.as_str())
        .collect();
    let names = std::iter::once("whole".to_owned()).chain((2..).map(|n| format!("whole{n}")));
    let mut names = names.filter(|name| !taken.contains(name.as_str()));
    names.next().unwrap_or_default()
}

fn final_stage(source: &Source, stages: &[&Stage], name: &str, whole: &Whole) -> String {
    let mut text = "FROM scratch\n".to_owned();
    // Writing to a String cannot fail.
    for path in &whole.copies {
        let _ = writeln!(text, "# rbuild:closure\nCOPY --from={name} {path} {path}");
    }
    if whole.trusts {
        let _ = writeln!(text, "# rbuild:ca-certificates from={name}");
    }
    let account = whole.name.as_ref().map(|name| format!(" name={name}"));
    let _ = writeln!(text, "# rbuild:accounts{}", account.unwrap_or_default());
    inherited(stages, whole, &mut text);
    for one in stages.iter().flat_map(|stage| &stage.instructions) {
        match &one.kind {
            InstructionKind::Healthcheck(check) => health(check, one, whole, &mut text),
            InstructionKind::Cmd(_) | InstructionKind::Entrypoint(_) => {}
            kind if is_moved(kind) || is_repeated(kind) => {
                let _ = writeln!(text, "{}", source.slice(one.span));
            }
            _ => {}
        }
    }
    let _ = writeln!(text, "USER {}:{}", whole.uid, whole.gid);
    for (keyword, words) in [("ENTRYPOINT", &whole.entrypoint), ("CMD", &whole.cmd)] {
        if !words.is_empty() {
            let _ = writeln!(text, "{keyword} {}", exec_form(words));
        }
    }
    text
}

/// What the base image gives and no instruction says.
fn inherited(stages: &[&Stage], whole: &Whole, text: &mut String) {
    let instructions = || stages.iter().flat_map(|stage| &stage.instructions);
    let mut set: BTreeSet<&str> = BTreeSet::new();
    for one in instructions() {
        if let InstructionKind::Env(pairs) = &one.kind {
            set.extend(pairs.pairs.iter().map(|pair| pair.name.raw.as_str()));
        }
    }
    for (name, value) in &whole.env {
        let usual = name == "PATH" && value == PATH;
        if !usual && !set.contains(name.as_str()) {
            let quoted = value
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('$', "\\$");
            let _ = writeln!(text, "ENV {name}=\"{quoted}\"");
        }
    }
    let has_workdir = instructions().any(|one| matches!(one.kind, InstructionKind::Workdir(_)));
    if !has_workdir && !matches!(whole.workdir.as_str(), "" | "/") {
        let _ = writeln!(text, "WORKDIR {}", whole.workdir);
    }
}

/// The check with its own flags, and its command in exec form.
fn health(check: &Healthcheck, one: &Instruction, whole: &Whole, text: &mut String) {
    match (check, &whole.health) {
        (Healthcheck::Check(_), Some(words)) => {
            let flags = one.text.split("CMD").next().unwrap_or("HEALTHCHECK ");
            let _ = writeln!(text, "{} CMD {}", flags.trim_end(), exec_form(words));
        }
        _ => text.push_str("HEALTHCHECK NONE\n"),
    }
}

fn exec_form(words: &[String]) -> String {
    let words: Vec<String> = words
        .iter()
        .map(|word| serde_json::Value::from(word.as_str()).to_string())
        .collect();
    format!("[{}]", words.join(", "))
}
