//! Host names in a static binary, which loads no NSS module: the file /etc/hosts and DNS both answer. The invariant: each test
//! has a server of its own that notices being asked, so a name that was not looked up cannot pass.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, UdpSocket};
use std::process::Command;
use std::thread;

use crate::support::{Degree, Place, binary};

/// A registry that has nothing; returns its port. It answers as long as the test runs.
fn empty_registry() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("its address").port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let answer =
                "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    port
}

#[test]
fn a_registry_is_found_by_the_hosts_file() {
    let port = empty_registry();
    let host = format!("localhost:{port}");
    let place = Place::new();
    let image = format!("{host}/app:1");
    let (_, stderr) = place.expect(4, &["pull", "--insecure-registry", &host, &image]);
    assert!(
        stderr.contains("404") || stderr.contains("not found"),
        "{stderr}"
    );
}

#[test]
fn an_unknown_registry_is_named() {
    let place = Place::new();
    let (_, stderr) = place.expect(4, &["pull", "no-such-host.invalid:5000/app:1"]);
    assert!(stderr.contains("no-such-host.invalid:5000"), "{stderr}");
}

/// A name server that knows every name as 127.0.0.1 (RFC 1035), and no IPv6 address of any.
fn name_server(socket: UdpSocket) {
    let mut query = [0; 512];
    while let Ok((length, from)) = socket.recv_from(&mut query) {
        let asks_a = query[..length]
            .windows(4)
            .any(|bytes| bytes == [0, 1, 0, 1]);
        let end = query[12..length]
            .iter()
            .position(|byte| *byte == 0)
            .map_or(length, |zero| 12 + zero + 5);
        let mut answer = query[..end].to_vec();
        answer[2..4].copy_from_slice(&[0x81, 0x80]);
        answer[6..12].copy_from_slice(&[0, u8::from(asks_a), 0, 0, 0, 0]);
        if asks_a {
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
        }
        let _ = socket.send_to(&answer, from);
    }
}

#[test]
fn a_registry_is_found_by_dns() {
    // Port 53 and another /etc/resolv.conf, seen in a private mount namespace only.
    requires!(degree Degree::Root);
    let Ok(socket) = UdpSocket::bind("127.0.0.53:53") else {
        skip!("port-53", "something else is bound to it");
    };
    thread::spawn(move || name_server(socket));
    let port = empty_registry();
    let place = Place::new();
    place.write(
        "resolv.conf",
        "nameserver 127.0.0.53\noptions timeout:2 attempts:1\n",
    );
    let script = "mount --bind resolv.conf \"$(readlink -f /etc/resolv.conf)\" && exec \"$@\"";
    let host = format!("registry.example.test:{port}");
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script, "sh"])
        .arg(binary())
        .arg("--root")
        .arg(place.store())
        .args([
            "pull",
            "--insecure-registry",
            &host,
            &format!("{host}/app:1"),
        ])
        .current_dir(place.context())
        .env("HOME", place.path())
        .output()
        .expect("unshare starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{stderr}");
    assert!(
        stderr.contains("404") || stderr.contains("not found"),
        "{stderr}"
    );
}
