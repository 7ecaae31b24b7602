//! ExposeProtoCasing: a protocol with capitals.

use super::prelude::*;

pub(super) const RULE: Rule = Rule {
    id: "ExposeProtoCasing",
    aliases: &[],
    severity: Severity::Warning,
    title: "EXPOSE with a protocol that is not in lower case",
    why: "Configurations hold it in lower case; written so, it is found.",
    bad: service!("EXPOSE 8080/TCP"),
    good: service!("EXPOSE 8080/tcp"),
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    for (_, step) in view.steps() {
        let InstructionKind::Expose(words) = step.inner() else {
            continue;
        };
        for word in words {
            let protocol = word.raw.rsplit_once('/').map(|(_, protocol)| protocol);
            let named = protocol.filter(|protocol| {
                ["tcp", "udp", "sctp"]
                    .iter()
                    .any(|known| known.eq_ignore_ascii_case(protocol))
            });
            if let Some(protocol) =
                named.filter(|protocol| protocol.bytes().any(|byte| byte.is_ascii_uppercase()))
            {
                let start = word.span.end() - protocol.len();
                let place = crate::ast::Span::new(start, word.span.end());
                let lower = protocol.to_ascii_lowercase();
                found
                    .add(
                        place,
                        format!("the protocol {protocol:?} should be in lower case"),
                    )
                    .fix(place, lower);
            }
        }
    }
}
