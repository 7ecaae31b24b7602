//! The ports of `EXPOSE`. Invariant: what comes out is `PORT/PROTOCOL` with a port of 0 to 65535 and tcp, udp or sctp.

/// Why a text names no ports.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// `8080:80`.
    #[error(
        "{0:?} maps a port of the host: EXPOSE takes only the container's, PORT[-PORT][/PROTOCOL]"
    )]
    HostPort(String),
    /// Not a number, or too large.
    #[error("{0:?} is not a port of 0 to 65535")]
    Number(String),
    /// `9-8`.
    #[error("the range {0:?} ends before it starts")]
    Range(String),
    /// Another protocol.
    #[error("{0:?} is not a protocol: tcp, udp or sctp")]
    Protocol(String),
}

/// `8080`, `8080-8082/udp`: each port with its protocol, in lower case.
///
/// # Errors
///
/// When the text is not `PORT[-PORT][/PROTOCOL]`.
pub fn parse(text: &str) -> Result<Vec<String>, PortError> {
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    if range.contains(':') {
        return Err(PortError::HostPort(text.to_owned()));
    }
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(PortError::Protocol(protocol));
    }
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (first, last) = (number(first)?, number(last)?);
    if last < first {
        return Err(PortError::Range(range.to_owned()));
    }
    Ok((first..=last)
        .map(|port| format!("{port}/{protocol}"))
        .collect())
}

fn number(text: &str) -> Result<u16, PortError> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits
        .then(|| text.parse().ok())
        .flatten()
        .ok_or_else(|| PortError::Number(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::{PortError, parse};

    #[test]
    fn ranges_and_protocols_are_understood() {
        assert_eq!(parse("80").unwrap(), ["80/tcp"]);
        assert_eq!(parse("53/UDP").unwrap(), ["53/udp"]);
        assert_eq!(
            parse("8080-8082/sctp").unwrap(),
            ["8080/sctp", "8081/sctp", "8082/sctp"]
        );
        assert_eq!(parse("0-65535").unwrap().len(), 65536);
    }

    #[test]
    fn what_is_no_port_is_refused() {
        assert!(matches!(
            parse("127.0.0.1:80:80"),
            Err(PortError::HostPort(_))
        ));
        assert!(matches!(parse("8080:80"), Err(PortError::HostPort(_))));
        assert!(matches!(parse("9-8"), Err(PortError::Range(_))));
        assert!(matches!(parse("80/http"), Err(PortError::Protocol(_))));
        for bad in ["", "65536", "-1", "+1", "80-", "x", "8 0"] {
            assert!(matches!(parse(bad), Err(PortError::Number(_))), "{bad:?}");
        }
    }
}
