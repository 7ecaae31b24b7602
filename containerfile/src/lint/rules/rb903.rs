//! RB903: more privilege than most programs need.

use super::prelude::*;
use crate::lint::quadlet::Unit;

pub(super) const RULE: Rule = Rule {
    id: "RB903",
    aliases: &[],
    severity: Severity::Info,
    title: "a container keeps privileges that most programs do not need",
    why: "Three lines take away what an attacker would use first: setuid programs (`NoNewPrivileges=true`), capabilities \
(`DropCapability=all`, then `AddCapability=` for what is needed), and the files of the image (`ReadOnly=true`, with volumes for what is written). \
An image that runs without root on scratch mostly needs none of them.",
    bad: "[Container]\nImage=registry.example/team/app:1\nReadOnly=true\n\n[Install]\nWantedBy=default.target\n",
    good: unit!("Environment=MODE=quiet"),
    check: None,
};

pub(super) fn check_unit(unit: &Unit<'_>, found: &mut Findings) {
    let Some(section) = unit.own().filter(|_| unit.kind == "Container") else {
        return;
    };
    let told = |words: &[&str]| unit.podman_is_told(words);
    let privileged = told(&["--privileged"]);
    let all = unit
        .all(unit.kind, "DropCapability")
        .into_iter()
        .flat_map(|entry| entry.words())
        .any(|word| word.value.eq_ignore_ascii_case("all"));
    let no_new = unit.is_set("NoNewPrivileges")
        || told(&[
            "--security-opt=no-new-privileges",
            "no-new-privileges",
            "no-new-privileges:true",
        ]);
    let drops = all || told(&["--cap-drop=all", "--cap-drop=ALL", "all", "ALL"]);
    let read_only = unit.is_set("ReadOnly") || told(&["--read-only", "--read-only=true"]);
    let lines = [
        (no_new, "NoNewPrivileges=true"),
        (drops, "DropCapability=all"),
        (read_only, "ReadOnly=true"),
    ];
    let missing: Vec<&str> = lines
        .into_iter()
        .filter(|(there, _)| !there && !privileged)
        .map(|(_, line)| line)
        .collect();
    if !missing.is_empty() {
        let message = format!("the container is started without {}", missing.join(", "));
        found
            .add(section.header.span, message)
            .help("add what the program can live with");
    }
}
