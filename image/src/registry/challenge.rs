//! What a registry says when it wants to know who asks, and whom the secret may be told.
//!
//! Invariant: [`Realm::check`] decides where a secret goes before any request is made (CVE-2026-24845 and its kin).

use std::net::{IpAddr, Ipv6Addr};

use reqwest::Url;

/// A `WWW-Authenticate` header (RFC 9110, 11.6.1).
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    Bearer {
        realm: String,
        service: Option<String>,
    },
}

impl Challenge {
    /// The strongest of the challenges in the headers.
    pub(super) fn parse<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Self> {
        let challenges: Vec<Self> = headers.filter_map(Self::parse_one).collect();
        let bearer = |challenge: &Self| matches!(challenge, Self::Bearer { .. });
        let at = challenges.iter().position(bearer).unwrap_or(0);
        challenges.into_iter().nth(at)
    }

    fn parse_one(header: &str) -> Option<Self> {
        let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let (mut realm, mut service) = (None, None);
        for (name, value) in parameters(rest) {
            match name.to_ascii_lowercase().as_str() {
                "realm" => realm = Some(value),
                "service" => service = Some(value),
                _ => {}
            }
        }
        Some(Self::Bearer {
            realm: realm?,
            service,
        })
    }
}

/// `name="value", name=token`
fn parameters(text: &str) -> Vec<(&str, String)> {
    let mut rest = text;
    let mut found = Vec::new();
    while let Some((name, after)) = rest.split_once('=') {
        let name = name.trim_matches([' ', ',', '\t']);
        let (value, tail) = match after.trim_start().strip_prefix('"') {
            Some(quoted) => unquote(quoted),
            None => after
                .split_once(',')
                .map_or((after.trim().to_owned(), ""), |(v, t)| {
                    (v.trim().to_owned(), t)
                }),
        };
        found.push((name, value));
        rest = tail;
    }
    found
}

fn unquote(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.extend(chars.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    (value, "")
}

/// Where a token is to be had, checked.
#[derive(Debug)]
pub(super) struct Realm {
    pub(super) url: Url,
    /// Whether a secret may be sent there.
    pub(super) trusted: bool,
}

impl Realm {
    /// Judges a realm that the registry at `registry` named; says what is wrong with it otherwise.
    pub(super) fn check(realm: &str, registry: &Url, allowed: &[String]) -> Result<Self, String> {
        let shown: String = realm.chars().take(200).collect();
        let url = Url::parse(realm).map_err(|_| format!("its token server {shown:?} is no URL"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(format!("its token server {shown:?} has user information"));
        }
        if url.scheme() != "https" && !(url.scheme() == "http" && registry.scheme() == "http") {
            return Err(format!("its token server {shown:?} is not asked by https"));
        }
        if is_inside(&url) && url.host_str() != registry.host_str() {
            return Err(format!(
                "its token server {shown:?} is inside of the local network, and it is not"
            ));
        }
        let trusted = same_place(&url, registry) || allows(&url, registry, allowed);
        Ok(Self { url, trusted })
    }
}

/// The same host and port.
pub(crate) fn same_place(one: &Url, two: &Url) -> bool {
    one.host_str() == two.host_str() && one.port_or_known_default() == two.port_or_known_default()
}

/// Large registries whose token servers are known to be elsewhere, and what the user allows.
fn allows(realm: &Url, registry: &Url, allowed: &[String]) -> bool {
    let known = [
        ("registry-1.docker.io", "auth.docker.io"),
        ("registry.gitlab.com", "gitlab.com"),
    ];
    let host = realm.host_str().unwrap_or_default();
    let known = realm.port().is_none()
        && realm.scheme() == "https"
        && known.contains(&(registry.host_str().unwrap_or_default(), host));
    let place = realm
        .port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    known || allowed.contains(&place)
}

/// Whether a URL leads to this machine or its neighbours by its text alone: a server outside has no business to send us there.
pub(crate) fn is_inside(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<IpAddr>();
    match address {
        Ok(IpAddr::V4(v4)) => {
            v4.is_loopback()
                || v4.is_private()
                || v4.is_link_local()
                || v4.is_unspecified()
                || v4.is_broadcast()
        }
        Ok(IpAddr::V6(v6)) => inside_v6(v6),
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    }
}

fn inside_v6(address: Ipv6Addr) -> bool {
    if let Some(v4) = address.to_ipv4_mapped() {
        return v4.is_loopback() || v4.is_private() || v4.is_link_local() || v4.is_unspecified();
    }
    address.is_loopback()
        || address.is_unspecified()
        || address.is_unique_local()
        || address.is_unicast_link_local()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn challenges_are_read() {
        let one = |text: &str| Challenge::parse(std::iter::once(text));
        let bearer = Challenge::Bearer {
            realm: "https://a/t".into(),
            service: Some("s, x".into()),
        };
        assert_eq!(
            one(r#"Bearer realm="https://a/t",service="s, x",scope="repository:a:pull""#),
            Some(bearer)
        );
        assert_eq!(
            one("bearer realm=https://a/t"),
            Some(Challenge::Bearer {
                realm: "https://a/t".into(),
                service: None
            })
        );
        assert_eq!(one("Basic realm=\"x\""), Some(Challenge::Basic));
        assert_eq!(one("BASIC"), Some(Challenge::Basic));
        assert_eq!(one("Negotiate"), None);
        assert_eq!(one("Bearer service=\"x\""), None);
        let both =
            Challenge::parse(["Basic realm=\"x\"", "Bearer realm=\"https://a\""].into_iter());
        assert!(matches!(both, Some(Challenge::Bearer { .. })));
    }

    #[test]
    fn s55_a_secret_goes_to_the_registry_or_to_an_allowed_realm_only() {
        let trusted = |realm: &str, registry: &str| {
            Realm::check(realm, &url(registry), &["ok.io".into()]).map(|r| r.trusted)
        };
        assert_eq!(trusted("https://q.io/t", "https://q.io"), Ok(true));
        assert_eq!(
            trusted(
                "https://auth.docker.io/token",
                "https://registry-1.docker.io"
            ),
            Ok(true)
        );
        assert_eq!(trusted("https://ok.io/t", "https://q.io"), Ok(true));
        for other in [
            "https://evil.io/t",
            "https://q.io.evil.io/t",
            "https://a.q.io/t",
            "https://q.io:8443/t",
            "https://ok.io:1/",
        ] {
            assert_eq!(trusted(other, "https://q.io"), Ok(false), "{other}");
        }
        assert_eq!(
            trusted(
                "https://auth.docker.io.evil.io/t",
                "https://registry-1.docker.io"
            ),
            Ok(false)
        );
        for bad in [
            "http://q.io/t",
            "https://user:pw@q.io/t",
            "https://user@q.io/",
            "file:///etc/passwd",
            "q.io",
            "",
        ] {
            assert!(trusted(bad, "https://q.io").is_err(), "{bad}");
        }
    }

    #[test]
    fn s60_a_realm_inside_is_refused_unless_the_registry_is_there() {
        for bad in [
            "https://127.0.0.1/",
            "https://169.254.169.254/x",
            "https://[::1]/",
            "https://localhost:1/",
            "https://10.0.0.1/",
        ] {
            assert!(
                Realm::check(bad, &url("https://q.io"), &[]).is_err(),
                "{bad}"
            );
        }
        assert!(
            Realm::check(
                "http://127.0.0.1:5001/t",
                &url("http://127.0.0.1:5000"),
                &[]
            )
            .is_ok_and(|realm| !realm.trusted)
        );
        assert!(
            is_inside(&url("http://[::ffff:127.0.0.1]/")) && is_inside(&url("http://2130706433/"))
        );
    }
}
