//! RB708: a creation date that nothing can read.

use super::prelude::*;

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

/// `YYYY-MM-DDThh:mm:ss[.fraction](Z|±hh:mm)`.
fn is_date(text: &str) -> bool {
    let shape = |text: &str, pattern: &str| {
        text.len() == pattern.len()
            && text
                .bytes()
                .zip(pattern.bytes())
                .all(|(byte, wanted)| match wanted {
                    b'0' => byte.is_ascii_digit(),
                    _ => byte.eq_ignore_ascii_case(&wanted),
                })
    };
    let Some((front, rest)) = text.split_at_checked(19) else {
        return false;
    };
    let fraction = rest
        .strip_prefix('.')
        .map(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit()));
    let zone = fraction.unwrap_or(rest);
    let zoned = shape(zone, "z") || shape(zone, "+00:00") || shape(zone, "-00:00");
    (shape(front, "0000-00-00t00:00:00") || shape(front, "0000-00-00 00:00:00")) && zoned
}
