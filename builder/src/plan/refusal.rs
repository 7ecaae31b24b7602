//! What rbuild cannot do yet or will not do. Invariant: a flag of a stage that is built is obeyed or refused here by its name, never
//! ignored.

use containerfile::{
    CopySource, Diagnostic, Flag, Instruction, InstructionKind, NetworkMode, SecurityMode,
};

use super::findings::{Findings, Site};

/// Reports everything about an instruction that cannot be done.
pub(super) fn refuse(site: &Site<'_>, allow_host_network: bool, findings: &mut Findings) {
    match &site.instruction.kind {
        InstructionKind::Run(run) => {
            for flag in flags(site.instruction, "mount") {
                let kind = flag.value.as_ref().map_or("", |value| value.raw.as_str());
                let message = format!("RUN --mount={kind} is not implemented yet");
                findings.push(with_help(
                    site,
                    flag,
                    &message,
                    "copy what the step needs with COPY, and remove it again",
                ));
            }
            if matches!(&run.security, Some(mode) if mode.value == SecurityMode::Insecure) {
                for flag in flags(site.instruction, "security") {
                    let message = "RUN --security=insecure is refused: a rootless build has no privileges to give";
                    findings.push(*site.error(flag.span, message));
                }
            }
            for flag in flags(site.instruction, "device") {
                findings.push(*site.error(
                    flag.span,
                    "RUN --device is refused: no device of the host is given to a build",
                ));
            }
            let host = matches!(&run.network, Some(mode) if mode.value == NetworkMode::Host);
            for flag in flags(site.instruction, "network").filter(|_| host && !allow_host_network) {
                let message = "RUN --network=host is not allowed by the command line";
                findings.push(with_help(
                    site,
                    flag,
                    message,
                    "allow it with --allow network.host (or --network host)",
                ));
            }
        }
        InstructionKind::Add(add) => {
            for name in ["checksum", "keep-git-dir"] {
                for flag in flags(site.instruction, name) {
                    findings.push(
                        *site.error(flag.span, format!("ADD --{name} is not implemented yet")),
                    );
                }
            }
            for source in &add.transfer.sources {
                if let CopySource::Path(word) = source
                    && let Some(kind) = remote(&word.raw)
                {
                    findings.push(*site.error(word.span, not_fetched(kind)));
                }
            }
        }
        _ => {}
    }
}

fn flags<'i>(instruction: &'i Instruction, name: &'i str) -> impl Iterator<Item = &'i Flag> {
    instruction
        .flags
        .iter()
        .filter(move |flag| flag.name.value.eq_ignore_ascii_case(name))
}

fn with_help(site: &Site<'_>, flag: &Flag, message: &str, help: &str) -> Diagnostic {
    site.error(flag.span, message).with_help(help)
}

/// What kind of remote source `ADD` would fetch, by BuildKit's rules (`gitutil.ParseGitRef`, `isHTTPSource`).
pub(super) fn remote(source: &str) -> Option<&'static str> {
    let repository = source.split(['#', '?']).next().unwrap_or_default();
    let scp = source.split_once(':').is_some_and(|(host, _)| {
        host.split_once('@').is_some_and(|(user, host)| {
            !user.is_empty() && !user.contains('/') && !host.contains('/')
        })
    });
    let http = source.starts_with("http://") || source.starts_with("https://");
    let git = ["git://", "ssh://"]
        .iter()
        .any(|scheme| source.starts_with(scheme))
        || source.starts_with("github.com/")
        || (http && repository.ends_with(".git"));
    match (git || (scp && !http), http) {
        (true, _) => Some("a git repository"),
        (false, true) => Some("a URL"),
        (false, false) => None,
    }
}

pub(super) fn not_fetched(kind: &str) -> String {
    format!("ADD of {kind} is not implemented yet")
}

#[cfg(test)]
mod tests {
    use super::remote;

    #[test]
    fn remote_sources_are_told_from_paths() {
        for (source, kind) in [
            ("https://x.io/a.tar", Some("a URL")),
            ("http://x.io/a", Some("a URL")),
            ("https://user@x.io:1/a", Some("a URL")),
            ("https://x.io/a.git#main:dir", Some("a git repository")),
            ("git@github.com:a/b", Some("a git repository")),
            ("git://x.io/a", Some("a git repository")),
            ("ssh://git@x.io/a", Some("a git repository")),
            ("github.com/a/b", Some("a git repository")),
            ("a.git", None),
            ("dir/user@host:1", None),
            ("file:name", None),
            ("https", None),
        ] {
            assert_eq!(remote(source), kind, "{source}");
        }
    }
}
