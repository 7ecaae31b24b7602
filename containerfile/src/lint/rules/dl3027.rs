//! DL3027: apt in scripts.

use super::prelude::*;

pub(super) const RULE: Rule = Rule {
    id: "DL3027",
    aliases: &[],
    severity: Severity::Info,
    title: "apt instead of apt-get",
    why: "apt is for people: it warns in every build that its command line is not stable, and may ask.",
    bad: in_build!("RUN apt update && make"),
    good: in_build!("RUN apt-get update && make"),
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    for (_, _, program) in view.programs() {
        let same = [
            "update",
            "install",
            "upgrade",
            "remove",
            "purge",
            "autoremove",
            "clean",
        ];
        if program.name() == "apt" && same.contains(&program.verb()) {
            let place = program.words[0].span;
            let finding = found
                .add(place, "apt has no stable command line")
                .help("write apt-get");
            if program.words[0].text == "apt" && view.source.slice(place) == "apt" {
                finding.fix(place, "apt-get");
            }
        }
    }
}
