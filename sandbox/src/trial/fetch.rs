//! One document by HTTP/1.0. The invariant: bounded in time and size; whatever does not answer as a server would is an error with its
//! number.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::{Done, Ended};

/// The most that is read of an answer.
const MOST: usize = 1 << 20;

/// Asks for a path.
pub(super) fn fetch(port: u16, path: &str, millis: u64) -> Done {
    let started = Instant::now();
    let limit = Duration::from_millis(millis.max(1));
    let (ended, stdout) = match ask(port, path, limit) {
        Ok((status, body)) => (Ended::Exited(status), body),
        Err(errno) => (Ended::NotStarted(errno as i32), String::new()),
    };
    Done {
        ended,
        stdout,
        stderr: String::new(),
        millis: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        tries: 1,
        listening: Vec::new(),
    }
}

fn ask(port: u16, path: &str, limit: Duration) -> Result<(i32, String), Errno> {
    let errno = |error: std::io::Error| {
        let number = error.raw_os_error();
        number.map_or(Errno::ETIMEDOUT, Errno::from_raw)
    };
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, limit).map_err(errno)?;
    stream.set_read_timeout(Some(limit)).map_err(errno)?;
    stream.set_write_timeout(Some(limit)).map_err(errno)?;
    write!(
        stream,
        "GET {path} HTTP/1.0\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n"
    )
    .map_err(errno)?;
    let answer = read(stream, Instant::now() + limit).map_err(errno)?;
    parse(&String::from_utf8_lossy(&answer)).ok_or(Errno::EPROTO)
}

/// All that comes until the other side closes; a server that only drips is cut off.
fn read(mut stream: TcpStream, deadline: Instant) -> std::io::Result<Vec<u8>> {
    let mut answer = Vec::new();
    let mut piece = vec![0; 16 << 10];
    while answer.len() < MOST && Instant::now() < deadline {
        match stream.read(&mut piece)? {
            0 => break,
            length => answer.extend_from_slice(&piece[..length]),
        }
    }
    Ok(answer)
}

/// Status and body of an answer (RFC 9112, section 2.1).
fn parse(answer: &str) -> Option<(i32, String)> {
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .or(answer.split_once("\n\n"))?;
    let status = head.strip_prefix("HTTP/1.")?.get(2..5)?;
    Some((status.parse().ok()?, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_and_body_are_taken_apart() {
        let answer = "HTTP/1.1 404 Not Found\r\nA: b\r\n\r\nnone\r\n\r\nhere";
        assert_eq!(parse(answer), Some((404, "none\r\n\r\nhere".to_owned())));
        for bad in [
            "",
            "SSH-2.0-x\r\n\r\n",
            "HTTP/1.1 \r\n\r\n",
            "HTTP/1.1 200 OK",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
