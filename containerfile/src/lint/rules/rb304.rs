//! RB304: a certificate authority of one's own that is lost with its stage.

use super::prelude::*;
use crate::path;

pub(super) const RULE: Rule = Rule {
    id: "RB304",
    aliases: &[],
    severity: Severity::Info,
    title: "a certificate authority is added in a stage whose trust store does not reach the final image",
    why: "update-ca-certificates changes the files of its own stage. The final image starts with others or with none, so the program meets \
\"unknown authority\" where the build did not. What only the build needs is fine: ignore it there.",
    bad: in_build!(
        "COPY corp.crt /usr/local/share/ca-certificates/\nRUN update-ca-certificates && make"
    ),
    good: in_build!("RUN make"),
    check: Some(check),
};

/// Where Debian, Alpine and Red Hat take additional authorities from.
const ANCHORS: [&str; 3] = [
    "/usr/local/share/ca-certificates",
    "/etc/pki/ca-trust/source/anchors",
    "/usr/share/pki/trust/anchors",
];

fn check(view: &View<'_>, found: &mut Findings) {
    let shipped = view.shipped();
    if view.huge || final_has_a_store(view) {
        return;
    }
    for (index, stage) in view.stages.iter().enumerate() {
        if shipped.contains(&index) {
            continue;
        }
        let added = stage.steps.iter().find(|step| {
            let made = step
                .copying()
                .and_then(|copying| step.path(&copying.transfer.destination));
            made.is_some_and(|made| {
                ANCHORS
                    .iter()
                    .any(|anchor| made == *anchor || path::below(&made, anchor).is_some())
            })
        });
        let updates = stage.steps.iter().any(|step| {
            let names = ["update-ca-certificates", "update-ca-trust"];
            step.programs()
                .iter()
                .any(|program| names.contains(&program.name()))
        });
        let Some(copying) = added.filter(|_| updates).and_then(Step::copying) else {
            continue;
        };
        found
            .add(
                copying.transfer.destination.span,
                "this authority stays in its stage: the final image does not know it",
            )
            .help("COPY --from this stage /etc/ssl/certs/ca-certificates.crt into the final one");
    }
}

/// Whether the final image may get certificates from somewhere.
fn final_has_a_store(view: &View<'_>) -> bool {
    view.shipped_steps().any(|step| {
        let words = |text: &str| {
            ["cert", "ssl", "pki", "ca-bundle"]
                .iter()
                .any(|part| text.contains(part))
        };
        let whole = step.copying().is_some_and(|copying| {
            let whole =
                |path: &str| matches!(path.trim_matches('/'), "" | "etc" | "." | "rootfs" | "usr");
            copying
                .paths()
                .any(|source| step.value(source).known().is_none_or(whole))
        });
        let copies = step.copying().is_some() && words(&step.instruction.text);
        whole || copies || matches!(step.instruction.kind, InstructionKind::Run(_))
    })
}
