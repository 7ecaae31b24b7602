//! What is wrong with the image's files and configuration, before anything runs. The invariant: the judgements are the linter's, so
//! both say the same.

use std::collections::BTreeMap;

use containerfile::Severity;
use containerfile::lint::{self, ImageFacts, Options};

use super::Subject;
use crate::commands::test::report::{Check, Verdict};

/// Which rules belong to which area, and what is said where none has anything to say.
const AREAS: [(&str, &str, &[&str], &str); 5] = [
    (
        "missing",
        "what programs need",
        &["RB202", "RB203", "RB208", "RB209", "RB210", "RB211"],
        "interpreters, libraries and their versions are there",
    ),
    (
        "tls",
        "certificates",
        &["RB301", "RB302", "RB303"],
        "what speaks TLS finds certificates, or nothing does",
    ),
    (
        "files",
        "owners and volumes",
        &[
            "RB112", "RB602", "RB603", "RB605", "RB607", "RB608", "RB609",
        ],
        "nothing that a user without privileges cannot unpack or own",
    ),
    (
        "accounts",
        "USER, home and /tmp",
        &["RB101", "RB102", "RB103", "RB212"],
        "USER is numeric, and has a home and a /tmp",
    ),
    (
        "config",
        "ports and health check",
        &["RB401", "RB502"],
        "ports are from 1024 on, and the health check's program is there",
    ),
];

/// A check for each area, and one for names.
pub(super) fn checks(subject: &Subject<'_>) -> Vec<Check> {
    let (_, report) = lint::lint_image(&subject.facts, &Options::default());
    let mut checks = Vec::new();
    for (area, name, rules, fine) in AREAS {
        let found = report.findings.iter();
        let found = found.filter(|found| found.rule.is_some_and(|rule| rules.contains(&rule)));
        let mut check = Check::new(area, name, Verdict::Passed);
        for finding in found {
            check.verdict = match (finding.severity, check.verdict) {
                (Severity::Error, _) | (_, Verdict::Failed) => Verdict::Failed,
                _ => Verdict::Warned,
            };
            let rule = finding.rule.unwrap_or_default();
            check = check.says(format!("{} ({rule})", finding.message));
            if let Some(help) = &finding.help {
                check = check.remedy(help.as_str());
            }
        }
        if check.said.is_empty() {
            check = check.says(fine);
        }
        checks.push(check);
    }
    checks.push(names(&subject.facts, &read(subject, "/etc/nsswitch.conf")));
    checks
}

fn read(subject: &Subject<'_>, path: &str) -> Option<String> {
    let tree: &dyn rootfs::Tree = &subject.opened.view;
    let path = rootfs::TreePath::clamped(path).ok()?;
    let (path, _) = tree.lookup(&path).ok()??;
    let bytes = tree.read_at(&path, 0, 64 << 10).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Name services that glibc has in itself (since 2.34), or that every answer can do without.
const WITHIN: [&str; 2] = ["files", "dns"];

/// Whether glibc finds the modules that nsswitch.conf names (nsswitch.conf(5)).
fn names(facts: &ImageFacts, nsswitch: &Option<String>) -> Check {
    let new = |verdict| Check::new("names", "name services", verdict);
    let file = |wanted: &str| {
        facts
            .files
            .keys()
            .any(|path| path.rsplit('/').next() == Some(wanted))
    };
    if !file("libc.so.6") {
        return new(Verdict::Passed).says("no glibc: names need no modules");
    }
    let Some(text) = nsswitch else {
        return new(Verdict::Passed)
            .says("without nsswitch.conf glibc takes files and dns, which are in itself");
    };
    let mut absent: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let Some((base, services)) = line.split_once(':') else {
            continue;
        };
        let services = services
            .split_whitespace()
            .filter(|word| !word.starts_with('['));
        for service in services.filter(|service| !WITHIN.contains(service)) {
            if !file(&format!("libnss_{service}.so.2")) {
                absent
                    .entry(service.to_owned())
                    .or_default()
                    .push(base.trim().to_owned());
            }
        }
    }
    if absent.is_empty() {
        return new(Verdict::Passed).says("the modules that nsswitch.conf names are there");
    }
    let check = absent
        .iter()
        .fold(new(Verdict::Warned), |check, (service, bases)| {
            check.says(format!(
                "{}: {service} needs libnss_{service}, which is absent",
                bases.join(", ")
            ))
        });
    check.remedy("write files and dns alone in /etc/nsswitch.conf, or # rbuild:accounts")
}

#[cfg(test)]
mod tests {
    use containerfile::lint::{FileFact, FileKind};

    use super::*;

    fn facts(paths: &[&str]) -> ImageFacts {
        let fact = FileFact {
            kind: FileKind::File,
            mode: 0o644,
            uid: 0,
            gid: 0,
            capabilities: false,
        };
        ImageFacts {
            files: paths
                .iter()
                .map(|path| ((*path).to_owned(), fact.clone()))
                .collect(),
            ..ImageFacts::default()
        }
    }

    #[test]
    fn modules_that_nsswitch_names_must_be_there() {
        let text =
            Some("passwd: compat [NOTFOUND=return] files # x\nhosts: files dns\n".to_owned());
        let glibc = facts(&["/lib/libc.so.6"]);
        let check = names(&glibc, &text);
        assert_eq!(check.verdict, Verdict::Warned);
        assert_eq!(
            check.said,
            ["passwd: compat needs libnss_compat, which is absent"]
        );
        let with = facts(&["/lib/libc.so.6", "/lib/libnss_compat.so.2"]);
        assert_eq!(names(&with, &text).verdict, Verdict::Passed);
        assert_eq!(names(&facts(&[]), &text).verdict, Verdict::Passed);
    }
}
