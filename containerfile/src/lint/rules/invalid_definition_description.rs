//! InvalidDefinitionDescription: a comment above FROM or ARG that describes something else.

use super::prelude::*;
use crate::ast::Span;
use crate::outline;

pub(super) const RULE: Rule = Rule {
    id: "InvalidDefinitionDescription",
    aliases: &[],
    severity: Severity::Warning,
    title: "the comment above a stage or an argument does not begin with its name",
    why: "`rbuild outline` shows the comment right above a stage or an argument as its description if it begins with the name. Experimental as \
in BuildKit: only with `# check=experimental=InvalidDefinitionDescription`.",
    bad: "# check=experimental=InvalidDefinitionDescription\n\n# what is released\nFROM scratch AS release\nUSER 65532:65532\n",
    good: "# check=experimental=InvalidDefinitionDescription\n\n# release is what is released\nFROM scratch AS release\nUSER 65532:65532\n",
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    let wanted = view.file.directives.check.as_ref().is_some_and(|check| {
        check
            .value
            .experimental
            .iter()
            .any(|name| name == RULE.id || name == "all")
    });
    if !wanted {
        return;
    }
    let mut described = |span: Span, name: &str| {
        let comments = outline::comments(view.source, span);
        let says = comments.iter().any(|line| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        });
        let directive = comments.iter().any(|line| {
            line.starts_with("check=")
                || line.starts_with("syntax=")
                || line.starts_with("rbuild ignore=")
        });
        if !comments.is_empty() && !says && !directive {
            let message = format!("the comment above does not begin with {name:?}");
            found.add(span, message).help(format!(
                "begin it with {name}, or leave a blank line below it"
            ));
        }
    };
    for arg in &view.file.global_args {
        if let [entry] = arg.value.entries.as_slice() {
            described(arg.span, &entry.name.raw);
        }
    }
    for stage in &view.file.stages {
        if let Some(name) = &stage.from.name {
            described(stage.from.span, view.source.slice(name.span));
        }
        for instruction in &stage.instructions {
            if let InstructionKind::Arg(arg) = &instruction.kind
                && let [entry] = arg.entries.as_slice()
            {
                described(instruction.span, &entry.name.raw);
            }
        }
    }
}
