//! Where something listens in a network namespace. The invariant: read from the kernel's own tables (proc_net(5)), so it needs no
//! privilege and no program of the image.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// TCP_LISTEN of net/tcp_states.h.
const LISTEN: &str = "0A";

/// A listening TCP socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// The address.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
}

/// All of them.
pub(super) fn listeners() -> Vec<Listener> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let texts = tables.map(|table| fs::read_to_string(table).unwrap_or_default());
    let mut found: Vec<Listener> = texts.iter().flat_map(|text| parse(text)).collect();
    found.dedup();
    found
}

fn parse(table: &str) -> Vec<Listener> {
    let rows = table.lines().skip(1);
    rows.filter_map(|row| {
        let mut words = row.split_whitespace().skip(1);
        let (local, _, state) = (words.next()?, words.next()?, words.next()?);
        let (address, port) = local.split_once(':')?;
        (state == LISTEN).then_some(())?;
        Some(Listener {
            address: parse_address(address)?,
            port: u16::from_str_radix(port, 16).ok()?,
        })
    })
    .collect()
}

/// Words of 32 bits, each as the processor stores it.
fn parse_address(hex: &str) -> Option<IpAddr> {
    let words: Option<Vec<[u8; 4]>> = (0..hex.len() / 8)
        .map(|at| {
            let word = hex.get(8 * at..8 * at + 8)?;
            Some(u32::from_str_radix(word, 16).ok()?.to_ne_bytes())
        })
        .collect();
    let bytes = words?.concat();
    if let Ok(four) = <[u8; 4]>::try_from(bytes.as_slice()) {
        return Some(IpAddr::V4(Ipv4Addr::from(four)));
    }
    let sixteen = <[u8; 16]>::try_from(bytes.as_slice()).ok()?;
    Some(IpAddr::V6(Ipv6Addr::from(sixteen)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listening_sockets_are_listed_with_their_addresses() {
        let table = "  sl  local_address rem_address   st\n   \
            0: 0100007F:1F90 00000000:0000 0A 00000000:00000000\n   \
            1: 00000000:0050 00000000:0000 0A 00000000:00000000\n   \
            2: 0100007F:1F90 0100007F:9999 01 00000000:00000000\n";
        let found = parse(table);
        let shown: Vec<_> = found
            .iter()
            .map(|one| format!("{}:{}", one.address, one.port))
            .collect();
        assert_eq!(shown, ["127.0.0.1:8080", "0.0.0.0:80"]);
        let six = "head\n 0: 00000000000000000000000001000000:01BB 0:0 0A 0\n";
        assert_eq!(parse(six)[0].address, IpAddr::V6(Ipv6Addr::LOCALHOST));
    }
}
