//! RB201: the final image is built on a whole distribution.

use super::prelude::*;

pub(super) const RULE: Rule = Rule {
    id: "RB201",
    aliases: &[],
    severity: Severity::Info,
    title: "the final image is a whole distribution",
    why: "Its shell, package manager and hundreds of files stay in the image: they are what an attacker uses, and what scanners report. Build \
on the distribution, and copy the result onto scratch or a distroless base.",
    bad: concat!(
        "FROM ",
        pinned!(),
        "\nCOPY --chmod=555 app /app\nUSER 65532:65532\n"
    ),
    good: in_build!("RUN make"),
    check: Some(check),
};

const PACKAGE_MANAGERS: [&str; 7] = [
    "/usr/bin/apt-get",
    "/sbin/apk",
    "/usr/bin/dnf",
    "/usr/bin/microdnf",
    "/usr/bin/yum",
    "/usr/bin/zypper",
    "/usr/bin/pacman",
];

fn check(view: &View<'_>, found: &mut Findings) {
    let Some(last) = view.last() else {
        return;
    };
    let image = view.root_image(view.stages.len() - 1);
    if let Some(facts) = view.final_facts() {
        let manager = PACKAGE_MANAGERS
            .iter()
            .find(|path| facts.find(path).is_some());
        if let Some(manager) = manager.filter(|_| facts.find("/bin/sh").is_some()) {
            let message = format!(
                "the final image keeps the shell and the package manager of its base ({manager})"
            );
            found.add(last.stage.from.image.span, message).help(
                "make this a build stage, and COPY --from it onto scratch or a distroless image",
            );
        }
        return;
    }
    if let Some(image) = image.filter(|image| image.is_distribution()) {
        let message = format!(
            "the final image keeps the shell and the package manager of {}",
            image.path
        );
        found
            .add(last.stage.from.image.span, message)
            .help("make this a build stage, and COPY --from it onto scratch or a distroless image");
    }
}
