//! RB403: ports as only the host's own network has them.

use super::prelude::*;

pub(super) const RULE: Rule = Rule {
    id: "RB403",
    aliases: &[],
    severity: Severity::Info,
    title: "SCTP, or the host's network, is taken for granted",
    why: "Without root, pasta and slirp4netns publish TCP and UDP only, so an SCTP port is never reached. `--network=host` gives the ports of \
the machine to the container, is only the user's own namespace in rootless Docker, and makes every published port meaningless. Looked for in \
EXPOSE, in labels with command lines, and in scripts and Compose files beside the Containerfile.",
    bad: service!("LABEL run=\"podman run --network=host IMAGE\""),
    good: service!("LABEL run=\"podman run -p 8080:8080 IMAGE\""),
    check: Some(check),
};

fn check(view: &View<'_>, found: &mut Findings) {
    let mut ports = None;
    for step in view.shipped_steps() {
        match &step.instruction.kind {
            InstructionKind::Expose(words) => {
                ports = Some(step.instruction.span);
                for word in words {
                    let value = step.value(word);
                    let sctp = value
                        .known()
                        .is_some_and(|port| port.to_ascii_lowercase().ends_with("/sctp"));
                    if sctp {
                        found
                            .add(word.span, "SCTP ports cannot be published without root")
                            .help("offer TCP or UDP as well");
                    }
                }
            }
            InstructionKind::Label(pairs) => {
                for pair in &pairs.pairs {
                    let value = step.value(&pair.value);
                    if value.known().is_some_and(asks_for_the_host) {
                        found
                            .add(pair.value.span, "this command takes the host's network")
                            .help("publish the ports that are needed: -p 8080:8080");
                    }
                }
            }
            _ => {}
        }
    }
    let Some(ports) = ports else {
        return;
    };
    for file in &view.options.neighbours {
        let line = file.text.lines().position(|line| {
            let line = line.trim();
            !line.starts_with('#') && (starts_on_the_host(line) || is_compose_host(line))
        });
        if let Some(line) = line {
            let message = format!(
                "{}:{} starts a container in the host's network, where nothing is published",
                file.name,
                line + 1
            );
            found
                .add(ports, message)
                .help("publish the ports that are needed: -p 8080:8080");
            return;
        }
    }
}

fn asks_for_the_host(text: &str) -> bool {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.contains(&"--net=host")
        || words.contains(&"--network=host")
        || words
            .windows(2)
            .any(|pair| ["--net", "--network"].contains(&pair[0]) && pair[1] == "host")
}

fn starts_on_the_host(line: &str) -> bool {
    let runs = ["podman run ", "docker run ", "nerdctl run ", "rbuild run "];
    runs.iter().any(|run| line.contains(run)) && asks_for_the_host(line)
}

fn is_compose_host(line: &str) -> bool {
    let value = line.strip_prefix("network_mode:").map(str::trim);
    value.is_some_and(|value| value.trim_matches(['"', '\'']) == "host")
}
