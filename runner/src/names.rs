//! The three files of /etc that a container gets from its surroundings. The invariant: with no network they name no server
//! and no host but the container itself.

use crate::request::Network;

/// One file below /etc and its text.
pub(crate) type EtcFile = (&'static str, String);

/// `host_resolv` is the host's own resolv.conf(5).
pub(crate) fn files(network: &Network, hostname: &str, host_resolv: &str) -> [EtcFile; 3] {
    let resolv = match network {
        Network::None => String::new(),
        Network::Host => host_resolv.to_owned(),
        Network::Joined { connected: false } => String::new(),
        Network::Pasta { .. } | Network::Joined { connected: true } => forwarded(host_resolv),
    };
    let hosts =
        format!("127.0.0.1\tlocalhost {hostname}\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    [
        ("resolv.conf", resolv),
        ("hosts", hosts),
        ("hostname", format!("{hostname}\n")),
    ]
}

/// Queries go to pasta, which asks the host's resolver; search domains stay as they are.
fn forwarded(host_resolv: &str) -> String {
    let kept = |line: &&str| {
        let first = line.split_whitespace().next();
        matches!(first, Some("search" | "domain" | "options"))
    };
    let mut text = format!("nameserver {}\n", sandbox::DNS_FORWARD);
    for line in host_resolv.lines().filter(kept) {
        text.push_str(line);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "# by hand\nnameserver 127.0.0.53\nsearch lan example.org\noptions edns0\n";

    #[test]
    fn s78_without_a_network_there_is_no_resolver() {
        let [(_, resolv), (_, hosts), (_, hostname)] = files(&Network::None, "box", HOST);
        assert_eq!((resolv.as_str(), hostname.as_str()), ("", "box\n"));
        assert!(hosts.starts_with("127.0.0.1\tlocalhost box\n"));
    }

    #[test]
    fn with_pasta_queries_go_to_pasta() {
        let pasta = Network::Pasta {
            program: "/usr/bin/pasta".into(),
            forwards: Vec::new(),
            mtu: None,
        };
        let [(_, resolv), ..] = files(&pasta, "box", HOST);
        assert_eq!(
            resolv,
            "nameserver 169.254.1.1\nsearch lan example.org\noptions edns0\n"
        );
        assert_eq!(files(&Network::Host, "box", HOST)[0].1, HOST);
    }
}
