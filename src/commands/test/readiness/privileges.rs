//! Capabilities and ports. The invariant: the set that is named was found by trying: with it the program works, and without any one of
//! it the program does not.

use sandbox::Errno;
use sandbox::trial::{Ended, Record};

use super::{First, Subject, works};
use crate::commands::test::containers::Ran;
use crate::commands::test::report::{Check, Verdict};
use crate::failure::Failure;

/// What Podman gives a container (containers/container-libs, default_capabilities of containers.conf).
const PODMANS: [&str; 11] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Whether anything was refused that a capability would allow.
pub(super) fn may_help(record: &Record) -> bool {
    let is_refusal = |errno| errno == Errno::EPERM as i32 || errno == Errno::EACCES as i32;
    let refused = record.observed.iter().any(|one| is_refusal(one.errno));
    refused || record.blind.is_some()
}

/// The fewest capabilities with which the program works, and what came of it then; `None` where all of Podman's are not enough.
pub(super) fn fewest(
    subject: &Subject<'_>,
) -> Result<Option<(Vec<&'static str>, Record)>, Failure> {
    let run = |names: &[&'static str]| -> Result<Option<Record>, Failure> {
        let flags = names
            .iter()
            .flat_map(|name| ["--cap-add".to_owned(), (*name).to_owned()]);
        let flags: Vec<String> = flags.collect();
        let script = subject.whole(&subject.exposed());
        Ok(match subject.containers.perform(&flags, &script)? {
            Ran::Performed(record) if works(&record) => Some(*record),
            _ => None,
        })
    };
    let mut needed = PODMANS.to_vec();
    let Some(mut record) = run(&needed)? else {
        return Ok(None);
    };
    for name in PODMANS {
        let without: Vec<&str> = needed.iter().copied().filter(|own| *own != name).collect();
        if let Some(worked) = run(&without)? {
            (needed, record) = (without, worked);
        }
    }
    Ok(Some((needed, record)))
}

/// What it needs.
pub(super) fn capabilities(first: &First) -> Check {
    let needed = &first.capabilities;
    if needed.is_empty() {
        let (verdict, said) = match works(&first.record) {
            true => (Verdict::Passed, "needs none"),
            false => (Verdict::Skipped, "none of Podman's eleven makes it work"),
        };
        return Check::new("privileges", "capabilities", verdict).says(said);
    }
    let names = needed.join(", ");
    Check::new("privileges", "capabilities", Verdict::Warned)
        .says(format!(
            "needs {names}: with these it works, and without any of them it does not"
        ))
        .remedy(format!(
            "AddCapability={}",
            needed
                .iter()
                .map(|name| format!("CAP_{name}"))
                .collect::<Vec<_>>()
                .join(" ")
        ))
}

/// Where it listens.
pub(super) fn ports(subject: &Subject<'_>, first: &First) -> Check {
    let listening = &first.settled().listening;
    let exposed = subject.exposed();
    let mut verdict = Verdict::Passed;
    let mut said = Vec::new();
    let mut remedies = Vec::new();
    for one in listening
        .iter()
        .filter(|one| one.port < first.record.identity.first_port)
    {
        verdict = Verdict::Warned;
        said.push(format!(
            "listens at port {}, below {}: that needs NET_BIND_SERVICE",
            one.port, first.record.identity.first_port
        ));
        remedies.push(format!(
            "let it listen at {0} and publish that: PublishPort={1}:{0}",
            8000 + u32::from(one.port),
            one.port
        ));
    }
    let refused = first
        .record
        .observed
        .iter()
        .filter(|one| one.call == "bind" && one.errno == Errno::EACCES as i32);
    for one in refused {
        verdict = Verdict::Failed;
        said.push(format!("may not listen at {}", one.subject));
        remedies.push("let it listen at a port from 1024 on".to_owned());
    }
    let local = listening.iter().filter(|one| one.address.is_loopback());
    for one in local {
        let everywhere = |other: &&sandbox::trial::Listener| {
            other.port == one.port && !other.address.is_loopback()
        };
        if !listening.iter().any(|other| everywhere(&other)) {
            verdict = if verdict == Verdict::Failed {
                verdict
            } else {
                Verdict::Warned
            };
            said.push(format!(
                "listens at {}:{} only: a published port may not reach it",
                one.address, one.port
            ));
            remedies.push("let it listen at 0.0.0.0 or [::]".to_owned());
        }
    }
    let running = first.settled().ended == Ended::Running;
    for port in exposed
        .iter()
        .filter(|port| running && !listening.iter().any(|one| one.port == **port))
    {
        verdict = if verdict == Verdict::Failed {
            verdict
        } else {
            Verdict::Warned
        };
        said.push(format!(
            "the image exposes port {port}, and nothing listens there"
        ));
    }
    if said.is_empty() {
        let ports: Vec<String> = listening.iter().map(|one| one.port.to_string()).collect();
        said.push(match ports.is_empty() {
            true => "listens nowhere".to_owned(),
            false => format!("listens at {}", ports.join(", ")),
        });
    }
    let check = Check {
        said,
        ..Check::new("ports", "ports", verdict)
    };
    remedies.into_iter().fold(check, Check::remedy)
}
