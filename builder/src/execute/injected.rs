//! Files that every RUN gets over the image's own: names, resolver, host name, and the script of a heredoc. The invariant: they
//! are made anew for each step and bound over the image's, so that none of them is ever in a layer.

use std::os::fd::OwnedFd;

use sandbox::{DNS_FORWARD, detached_tree};

use super::disturbed;
use super::run::StepNetwork;
use super::{SessionTools, Workshop};
use crate::job::StepFailure;
use crate::settings::{Dns, HOST_GATEWAY};
use crate::step::RunStep;

/// The host name where nobody asks for another.
const HOSTNAME: &str = "rbuild";
/// Below /dev, which is a tmpfs of the step: nothing of it reaches the layer.
pub(super) const SCRIPT: &str = "/dev/pipes/script";

impl Workshop<'_> {
    /// The step's host name.
    pub(super) fn hostname<'r>(&self, run: &'r RunStep) -> &'r str {
        let usual = match self.job.disturbed {
            true => disturbed::HOSTNAME,
            false => HOSTNAME,
        };
        run.settings.hostname.as_deref().unwrap_or(usual)
    }

    /// Each file's place and its content as a detached tree.
    pub(super) fn injected_files(
        &self,
        session: &SessionTools<'_>,
        run: &RunStep,
        network: &StepNetwork<'_>,
    ) -> Result<Vec<(&'static str, OwnedFd)>, StepFailure> {
        let fail = |error: &dyn std::error::Error| StepFailure::of_build(error);
        let directory = session
            .work
            .directory("files")
            .map_err(|error| fail(&error))?;
        let hostname = self.hostname(run);
        let dns = &self.job.access.dns;
        let mut files = vec![
            ("/etc/hostname", format!("{hostname}\n"), 0o644),
            ("/etc/hosts", hosts(network, hostname, run), 0o644),
        ];
        if !dns.untouched {
            files.push(("/etc/resolv.conf", resolver(network, dns), 0o644));
        }
        files.extend(run.script.clone().map(|script| (SCRIPT, script, 0o755)));
        let mut trees = Vec::with_capacity(files.len());
        for (number, (target, content, mode)) in files.into_iter().enumerate() {
            let path = directory.join(number.to_string());
            std::fs::write(&path, content).map_err(|error| fail(&error))?;
            rustix::fs::chmod(&path, rustix::fs::Mode::from_raw_mode(mode))
                .map_err(|error| fail(&error))?;
            session
                .trees
                .give_to_image_root(&path)
                .map_err(|error| fail(&error))?;
            trees.push((target, detached_tree(&path).map_err(|error| fail(&error))?));
        }
        Ok(trees)
    }
}

fn hosts(network: &StepNetwork<'_>, hostname: &str, run: &RunStep) -> String {
    let own =
        format!("127.0.0.1\tlocalhost {hostname}\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    let mut text = match network {
        StepNetwork::Host => std::fs::read_to_string("/etc/hosts").unwrap_or(own),
        StepNetwork::None | StepNetwork::Shared(_) => own,
    };
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    for (name, address) in &run.settings.hosts {
        let address = match (address.as_str(), network) {
            // On the host's network the machine is where it is for itself.
            (HOST_GATEWAY, StepNetwork::Host) => "127.0.0.1",
            (HOST_GATEWAY, StepNetwork::None | StepNetwork::Shared(_)) => sandbox::HOST_GATEWAY,
            (address, _) => address,
        };
        text.push_str(&format!("{address}\t{name}\n"));
    }
    text
}

/// With pasta the host's resolver is reached through an address of the namespace, which also covers resolvers on 127.0.0.53.
fn resolver(network: &StepNetwork<'_>, dns: &Dns) -> String {
    let host = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let of_host = |word: &str| -> Vec<String> {
        let lines = host.lines().filter(|line| match network {
            StepNetwork::None => false,
            StepNetwork::Host | StepNetwork::Shared(_) => {
                line.split_ascii_whitespace().next() == Some(word)
            }
        });
        lines.map(str::to_owned).collect()
    };
    let asked = |word: &str, values: &[String]| vec![format!("{word} {}", values.join(" "))];
    let mut lines = match (dns.servers.as_slice(), network) {
        ([], StepNetwork::Shared(_)) => vec![format!("nameserver {DNS_FORWARD}")],
        ([], _) => of_host("nameserver"),
        (servers, _) => servers
            .iter()
            .map(|server| format!("nameserver {server}"))
            .collect(),
    };
    lines.extend(match dns.searches.as_slice() {
        [] => of_host("search"),
        // resolv.conf(5): the root domain alone searches nowhere.
        searches => asked("search", searches),
    });
    lines.extend(match dns.options.as_slice() {
        [] => of_host("options"),
        options => asked("options", options),
    });
    lines.iter().map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolver_of_the_command_line_takes_the_place_of_the_hosts() {
        let dns = Dns {
            servers: vec!["10.0.0.1".into(), "fd00::1".into()],
            searches: vec!["a.example".into(), "b.example".into()],
            options: vec!["ndots:2".into()],
            ..Dns::default()
        };
        let text = "nameserver 10.0.0.1\nnameserver fd00::1\nsearch a.example b.example\noptions ndots:2\n";
        for network in [StepNetwork::None, StepNetwork::Host] {
            assert_eq!(resolver(&network, &dns), text);
        }
        assert_eq!(resolver(&StepNetwork::None, &Dns::default()), "");
    }
}
