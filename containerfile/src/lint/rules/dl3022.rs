//! DL3022: the name of a stage, misspelt or too early.

use super::prelude::*;
use crate::suggest::suggestion;

pub(super) const RULE: Rule = Rule {
    id: "DL3022",
    aliases: &[],
    severity: Severity::Warning,
    title: "COPY --from names something that looks like a stage and is none",
    why: "What is no stage before this one is an image, which then is fetched from a registry: somebody else's, or none. Names that are like \
no stage of the file may well be images or named contexts, and are left alone.",
    bad: concat!(
        "FROM ",
        pinned!(),
        " AS build\nRUN make\nFROM scratch\nCOPY --from=biuld /app /app\nUSER 65532:65532\n"
    ),
    good: in_build!("RUN make"),
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    if view.huge {
        return;
    }
    for (index, step) in view.steps() {
        let Some(from) = step.copying().and_then(|copying| copying.from) else {
            continue;
        };
        let name = from.value.as_str();
        if name.contains(['/', ':', '@', '$', '.']) || view.stage_named(name, index).is_some() {
            continue;
        }
        let names = |stages: std::ops::Range<usize>| {
            view.stages[stages]
                .iter()
                .filter_map(|stage| stage.stage.from.name.as_ref())
                .map(|name| name.value.as_str())
        };
        // Its own name is DL3023.
        let after = index + 1..view.stages.len();
        if names(after).any(|later| later.eq_ignore_ascii_case(name)) {
            found
                .add(from.span, format!("the stage {name} comes after this one"))
                .help("move it in front of this stage; here, the name means an image");
        } else if names(index..index + 1).all(|own| !own.eq_ignore_ascii_case(name))
            && let Some(near) = suggestion(name, names(0..index)).filter(|_| name.len() > 3)
        {
            found
                .add(from.span, format!("no stage is called {name}"))
                .help(format!(
                    "did you mean {near}? Otherwise it is an image: write its whole name"
                ))
                .fix(from.span, near);
        }
    }
}
