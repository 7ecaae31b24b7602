//! RB503: a health check in a format that has none.

use super::prelude::*;
use crate::ast::Healthcheck;

pub(super) const RULE: Rule = Rule {
    id: "RB503",
    aliases: &[],
    severity: Severity::Warning,
    title: "HEALTHCHECK in a file that is built into OCI images by Podman or Buildah",
    why: "The OCI image format has no health checks: Buildah and Podman, whose default it is, leave it out of the image. Said where a script \
or a CI file beside the Containerfile calls one of them without `--format docker`. rbuild keeps it.",
    bad: service!("HEALTHCHECK CMD [\"/app\", \"health\"]"),
    good: service!("HEALTHCHECK NONE"),
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    let checks = view.shipped_steps().filter(|step| {
        matches!(
            step.instruction.kind,
            InstructionKind::Healthcheck(Healthcheck::Check(_))
        )
    });
    let Some(step) = checks.last().filter(|step| step.fired_by.is_none()) else {
        return;
    };
    for file in &view.options.neighbours {
        // A variable or a flag elsewhere may choose the format.
        if file.text.contains("BUILDAH_FORMAT") || file.text.contains("--format") {
            continue;
        }
        if let Some(line) = file.text.lines().position(builds_oci) {
            let message = format!(
                "{}:{} builds an OCI image, which has no health check",
                file.name,
                line + 1
            );
            found
                .add(step.instruction.keyword, message)
                .help("add --format docker there, or give the check to what starts the container: HealthCmd= of Quadlet");
            return;
        }
    }
}

fn builds_oci(line: &str) -> bool {
    let line = line.trim_start();
    let builders = ["podman build ", "buildah build ", "buildah bud "];
    !line.starts_with('#') && builders.iter().any(|builder| line.contains(builder))
}
