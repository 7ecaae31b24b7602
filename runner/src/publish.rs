//! Ports of this machine that lead into a container, `-p`. The invariant: every port is a number from 1 on, and ranges on both
//! sides have the same length.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::str::FromStr;

use sandbox::{Forward, Transport};
use thiserror::Error;

/// `[[ADDRESS:][PORT[-PORT]]:]PORT[-PORT][/tcp|/udp]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    transport: Transport,
    address: Option<IpAddr>,
    /// Where no port is named, any that is free.
    outside: Option<RangeInclusive<u16>>,
    inside: RangeInclusive<u16>,
}

/// A text that describes no port.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("understand --publish {text}: {why}")]
pub struct ParsePublishError {
    text: String,
    why: &'static str,
}

impl FromStr for Publish {
    type Err = ParsePublishError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = |why| ParsePublishError {
            text: text.to_owned(),
            why,
        };
        let (rest, transport) = match text.rsplit_once('/') {
            None => (text, Transport::Tcp),
            Some((rest, "tcp")) => (rest, Transport::Tcp),
            Some((rest, "udp")) => (rest, Transport::Udp),
            Some(_) => return Err(wrong("the protocol is neither tcp nor udp")),
        };
        let (rest, inside) = rest
            .rsplit_once(':')
            .map_or(("", rest), |(rest, inside)| (rest, inside));
        let (address, outside) = match rest.rsplit_once(':') {
            // The last colon of an IPv6 address is inside its brackets.
            Some((address, outside)) if !outside.ends_with(']') => (address, outside),
            _ if rest.ends_with(']') => (rest, ""),
            _ => ("", rest),
        };
        let port = || wrong("a port is a number from 1 to 65535, or a range such as 8000-8010");
        let inside = range(inside).ok_or_else(port)?;
        let outside = match outside {
            "" => None,
            text => Some(range(text).ok_or_else(port)?),
        };
        if outside
            .as_ref()
            .is_some_and(|outside| outside.len() != inside.len())
        {
            return Err(wrong("the two ranges have different lengths"));
        }
        Ok(Self {
            transport,
            address: of_address(address).map_err(wrong)?,
            outside,
            inside,
        })
    }
}

fn of_address(text: &str) -> Result<Option<IpAddr>, &'static str> {
    let bad = "the address is no IP address; an IPv6 address is written in brackets";
    if text.is_empty() {
        return Ok(None);
    }
    let bracketed = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let address = match bracketed {
        Some(inner) => inner.parse::<Ipv6Addr>().map(IpAddr::V6),
        None => text.parse::<Ipv4Addr>().map(IpAddr::V4),
    };
    address.map(Some).map_err(|_| bad)
}

fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = digits.then(|| text.parse::<u16>().ok()).flatten()?;
        (number > 0).then_some(number)
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = number(first)?..=number(last)?;
    (!range.is_empty()).then_some(range)
}

impl Publish {
    /// One forward for each port; `free` finds a port of this machine where none is named.
    ///
    /// # Errors
    /// Those of `free`.
    pub fn forwards<E>(
        &self,
        mut free: impl FnMut(Transport, Option<IpAddr>) -> Result<u16, E>,
    ) -> Result<Vec<Forward>, E> {
        let mut forwards = Vec::with_capacity(self.inside.len());
        let mut named = self.outside.clone();
        for inside in self.inside.clone() {
            let outside = match named.as_mut().and_then(Iterator::next) {
                Some(port) => port,
                None => free(self.transport, self.address)?,
            };
            forwards.push(Forward {
                transport: self.transport,
                address: self.address,
                outside,
                inside,
            });
        }
        Ok(forwards)
    }

    /// The first port of the container.
    pub fn inside(&self) -> u16 {
        *self.inside.start()
    }

    /// The first port of this machine, where one is named.
    pub fn outside(&self) -> Option<u16> {
        self.outside.as_ref().map(|ports| *ports.start())
    }

    /// Whether a port of this machine has to be found.
    pub fn is_open(&self) -> bool {
        self.outside.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<String> {
        let publish: Publish = text.parse().unwrap();
        let forwards = publish.forwards(|_, _| Ok::<_, ()>(40_000)).unwrap();
        let shown = |forward: &Forward| format!("{:?} {forward}", forward.transport);
        forwards.iter().map(shown).collect()
    }

    #[test]
    fn ports_are_written_as_everywhere() {
        for (text, expected) in [
            ("8080:80", "Tcp 8080:80"),
            ("127.0.0.1:8080:80/udp", "Udp 127.0.0.1/8080:80"),
            ("[::1]:8080:80/tcp", "Tcp ::1/8080:80"),
            ("80", "Tcp 40000:80"),
            ("127.0.0.1::80", "Tcp 127.0.0.1/40000:80"),
            ("[::1]::80", "Tcp ::1/40000:80"),
        ] {
            assert_eq!(shown(text), [expected], "{text}");
        }
        assert_eq!(shown("8001-8002:1-2"), ["Tcp 8001:1", "Tcp 8002:2"]);
    }

    #[test]
    fn what_is_no_port_is_refused() {
        for text in [
            "",
            "0",
            "80:0",
            "65536:80",
            "80:80/sctp",
            "1-2:1-3",
            "3-1:3-1",
            "::1:80:80",
            "host:80:80",
            "[127.0.0.1]:80:80",
            "1.2.3:80:80",
            "+80",
            "a",
            "80:",
        ] {
            assert!(text.parse::<Publish>().is_err(), "{text:?} was accepted");
        }
    }
}
