//! RB708: a creation date that nothing can read.

use super::prelude::*;
use crate::lint::labels::is_date;

pub(super) const RULE: Rule = Rule {
    id: "RB708",
    aliases: &["DL3053"],
    severity: Severity::Warning,
    title: "org.opencontainers.image.created is no date with a zone (RFC 3339)",
    why: "The OCI specification wants RFC 3339, and tools that sort images by it fail on anything else.",
    bad: "FROM scratch\nLABEL org.opencontainers.image.created=\"24 Nov 2026\"\nUSER 65532:65532\n",
    good: "FROM scratch\nLABEL org.opencontainers.image.created=2026-11-24T00:00:00Z\nUSER 65532:65532\n",
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    for (_, step) in view.steps() {
        let InstructionKind::Label(pairs) = step.inner() else {
            continue;
        };
        for pair in pairs
            .pairs
            .iter()
            .filter(|pair| pair.name.raw.trim_matches('"') == "org.opencontainers.image.created")
        {
            let value = step.value(&pair.value);
            if value.known().is_some_and(|text| !is_date(text)) {
                let message = format!("{:?} is no date of RFC 3339", value.text);
                found.add(pair.value.span, message).help("write it like 2026-11-24T00:00:00Z; `rbuild build` needs none, it takes the time of the commit");
            }
        }
    }
}
