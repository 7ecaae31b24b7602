//! RB706: packages that are another version tomorrow, or gone.

use super::prelude::*;

pub(super) const RULE: Rule = Rule {
    id: "RB706",
    aliases: &["DL3035"],
    severity: Severity::Info,
    title: "upgrade, or exact package versions without a snapshot archive",
    why: "An upgrade installs whatever is new today. An exact version does the opposite and fails as soon as the archive has a newer one, \
since distributions keep only the last. A dated archive (snapshot.debian.org, snapshot.ubuntu.com) gives the same packages always.",
    bad: in_build!("RUN apt-get update && apt-get --yes upgrade && make"),
    good: in_build!("RUN make"),
    check: Some(check),
};

/// What a file mentions that installs from more than the distribution's archive.
const OTHER_ARCHIVES: [&str; 5] = [
    "sources.list",
    ".sources",
    "add-apt-repository",
    "/etc/apk/repositories",
    "--repository",
];

fn check(view: &View<'_>, found: &mut Findings) {
    let text = view.source.text();
    let snapshot = text.contains("snapshot");
    // An archive of somebody else's may keep what it had.
    let others = OTHER_ARCHIVES.iter().any(|word| text.contains(word));
    for (_, _, program) in view.programs() {
        let (verbs, installs): (&[&str], &[&str]) = match program.name() {
            "apt-get" | "apt" => (&["upgrade", "dist-upgrade", "full-upgrade"], &["install"]),
            "apk" => (&["upgrade"], &["add"]),
            "dnf" | "yum" | "microdnf" => (&["upgrade", "update"], &[]),
            "zypper" => (&["dist-upgrade", "dup", "update", "up"], &[]),
            _ => continue,
        };
        if snapshot {
            continue;
        }
        let verb = program.verb();
        if verbs.contains(&verb) {
            let message = "an upgrade installs whatever is new on the day of the build";
            found
                .add(program.words[0].span, message)
                .help("take a newer base image, by digest");
        }
        if installs.contains(&verb) && !others {
            let pinned = |word: &&ShellWord| {
                let split = word.text.split_once('=');
                split.is_some_and(|(name, version)| {
                    !name.is_empty()
                        && !name.starts_with('-')
                        && !name.ends_with(['~', '>', '<'])
                        && !version.is_empty()
                        && !version.contains('*')
                })
            };
            if let Some(word) = program.arguments().iter().find(pinned) {
                let message =
                    "this version is gone from the archive as soon as there is a newer one";
                found.add(word.span, message).help("leave the version out and take the base image by digest, or use a snapshot archive");
            }
        }
    }
}
