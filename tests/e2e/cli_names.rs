//! Host names: in rbuild itself, a static binary that loads no NSS module, and in what it starts, where getaddrinfo(3) asks
//! /etc/hosts and, through pasta, the host's resolver. The invariant: each test has a server of its own that alone knows the
//! names, so a name that was not looked up cannot pass.

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

/// The types of records that are asked for (RFC 1035, RFC 3596).
const A: u16 = 1;
const AAAA: u16 = 28;

/// A name server; `known` gives the address of a name for a type, none when there is no such name, and nothing in it when the
/// name has no record of that type.
fn name_server(socket: UdpSocket, known: fn(&str, u16) -> Option<Vec<u8>>) {
    let mut query = [0; 512];
    while let Ok((length, from)) = socket.recv_from(&mut query) {
        let Some((name, end)) = question(&query[..length]) else {
            continue;
        };
        let kind = u16::from_be_bytes([query[end - 4], query[end - 3]]);
        // What follows the question (EDNS) is not repeated.
        let mut answer = query[..end].to_vec();
        let address = known(&name, kind);
        let no_such_name = if address.is_none() { 3 } else { 0 };
        let records = address.filter(|address| !address.is_empty());
        answer[2..4].copy_from_slice(&[0x81, 0x80 | no_such_name]);
        answer[6..12].copy_from_slice(&[0, u8::from(records.is_some()), 0, 0, 0, 0]);
        if let Some(address) = records {
            answer.extend([0xc0, 12]);
            answer.extend(kind.to_be_bytes());
            answer.extend([
                0,
                1,
                0,
                0,
                0,
                60,
                0,
                u8::try_from(address.len()).expect("short"),
            ]);
            answer.extend(address);
        }
        let _ = socket.send_to(&answer, from);
    }
}

/// The name that a query asks for, and where the question ends.
fn question(query: &[u8]) -> Option<(String, usize)> {
    let (mut labels, mut at) = (Vec::new(), 12);
    loop {
        let length = usize::from(*query.get(at)?);
        if length == 0 {
            break;
        }
        let label = query.get(at + 1..at + 1 + length)?;
        labels.push(String::from_utf8_lossy(label).to_lowercase());
        at += 1 + length;
    }
    (at + 5 <= query.len()).then(|| (labels.join("."), at + 5))
}

/// rbuild with the file `resolv.conf` of the context in the place of the host's, seen in a mount namespace of its own only.
fn with_resolver(place: &Place) -> Command {
    let script = "mount --bind resolv.conf \"$(readlink -f /etc/resolv.conf)\" && exec \"$@\"";
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", script, "sh"])
        .arg(binary())
        .arg("--root")
        .arg(place.store())
        .current_dir(place.context())
        .env("HOME", place.path());
    command
}

#[test]
fn a_registry_is_found_by_dns() {
    // Port 53 and another /etc/resolv.conf, seen in a private mount namespace only.
    requires!(degree Degree::Root);
    let Ok(socket) = UdpSocket::bind("127.0.0.53:53") else {
        skip!("port-53", "something else is bound to it");
    };
    let everything = |_: &str, kind| {
        Some(if kind == A {
            vec![127, 0, 0, 1]
        } else {
            Vec::new()
        })
    };
    thread::spawn(move || name_server(socket, everything));
    let port = empty_registry();
    let place = Place::new();
    place.write(
        "resolv.conf",
        "nameserver 127.0.0.53\noptions timeout:2 attempts:1\n",
    );
    let host = format!("registry.example.test:{port}");
    let output = with_resolver(&place)
        .args([
            "pull",
            "--insecure-registry",
            &host,
            &format!("{host}/app:1"),
        ])
        .output()
        .expect("unshare starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{stderr}");
    assert!(
        stderr.contains("404") || stderr.contains("not found"),
        "{stderr}"
    );
}

/// The names of one machine.
fn one_machine(name: &str, kind: u16) -> Option<Vec<u8>> {
    match (name, kind) {
        ("machine.example.test", A) => Some(vec![192, 0, 2, 7]),
        ("machine.example.test", AAAA) => {
            Some(vec![0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7])
        }
        ("machine.example.test", _) => Some(Vec::new()),
        _ => None,
    }
}

/// Looks names up by getaddrinfo, a line for each: the first address, or `none`.
const LOOK_UP: &str = "first() { echo $1=$(getent $2 $3 | awk 'NR == 1 { print $1 }'); }
first hosts ahosts localhost
first own ahosts $(hostname)
first v4 ahostsv4 machine.example.test
first v6 ahostsv6 machine.example.test
first search ahostsv4 machine
first none ahosts other.example.test
";

const FOUND: [&str; 4] = [
    "v4=192.0.2.7",
    "v6=2001:db8::7",
    "search=192.0.2.7",
    "none=",
];

#[test]
fn getaddrinfo_finds_hosts_addresses_of_both_kinds_and_search_domains() {
    // Port 53 and another /etc/resolv.conf.
    requires!(degree Degree::Root);
    requires!(pasta);
    requires!(execution);
    let debian = requires!(base "debian");
    let Ok(socket) = UdpSocket::bind("127.0.0.54:53") else {
        skip!("port-53", "something else is bound to it");
    };
    thread::spawn(move || name_server(socket, one_machine));
    let place = Place::new();
    place
        .write(
            "resolv.conf",
            "nameserver 127.0.0.54\nsearch example.test\noptions timeout:2 attempts:2\n",
        )
        .write("look-up", LOOK_UP)
        .write(
            "Containerfile",
            "FROM debian\nCOPY look-up /\nRUN sh /look-up\nUSER 65532:65532\n",
        );
    let built = with_resolver(&place)
        .args([
            "build",
            "--progress",
            "plain",
            "--network",
            "pasta",
            "-t",
            "names",
        ])
        .arg(format!(
            "--build-context=debian=oci-layout:{}",
            debian.display()
        ))
        .arg(".")
        .output()
        .expect("unshare starts");
    let built_text = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "{built_text}");
    let ran = with_resolver(&place)
        .args(["run", "--network", "pasta", "names", "sh", "/look-up"])
        .output()
        .expect("unshare starts");
    let ran_text = String::from_utf8_lossy(&ran.stdout);
    assert!(
        ran.status.success(),
        "{ran_text}{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    for text in [&built_text, &ran_text] {
        let said = |line: &str| text.lines().any(|known| known.ends_with(line));
        for line in FOUND {
            assert!(said(line), "{line} in {text}");
        }
        assert!(said("hosts=127.0.0.1") || said("hosts=::1"), "{text}");
        assert!(!said("own="), "the host's own name: {text}");
    }
}
