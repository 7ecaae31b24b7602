//! A registry behind a line that breaks while rbuild is stopped, and one whose certificate is of another time.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use crate::build_push::certify_for;
use crate::registries::Registry;
use crate::support::Place;
use crate::web::{Answer, Web};

/// A way to a registry that is cut once, after so many bytes of answers: the test is told, and says when.
fn line_to(registry: &Registry, after: usize) -> (String, mpsc::Receiver<mpsc::Sender<()>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address").to_string();
    let (told, wait) = mpsc::channel();
    let (host, whole) = (registry.host.clone(), Arc::new(AtomicBool::new(true)));
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(server) = TcpStream::connect(&host) else {
                return;
            };
            let (mut up, mut there) = (
                client.try_clone().expect("it"),
                server.try_clone().expect("it"),
            );
            std::thread::spawn(move || std::io::copy(&mut up, &mut there));
            let (told, whole) = (told.clone(), Arc::clone(&whole));
            std::thread::spawn(move || answers(server, client, after, &told, &whole));
        }
    });
    (address, wait)
}

fn answers(
    mut server: TcpStream,
    mut client: TcpStream,
    after: usize,
    told: &mpsc::Sender<mpsc::Sender<()>>,
    whole: &AtomicBool,
) {
    let (mut buffer, mut passed) = ([0; 16 << 10], 0);
    while let Ok(len @ 1..) = server.read(&mut buffer) {
        if client.write_all(&buffer[..len]).is_err() {
            return;
        }
        passed += len;
        if passed > after && whole.swap(false, Ordering::Relaxed) {
            let (go, said) = mpsc::channel();
            let _ = told.send(go);
            let _ = said.recv();
            break;
        }
    }
    let _ = client.shutdown(std::net::Shutdown::Both);
}

#[test]
fn f24_a_pull_that_is_stopped_while_its_line_breaks_goes_on() {
    let registry = registry!(false);
    let place = Place::new();
    let noise: Vec<u8> = (0..2_000_000_u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    place
        .write("noise", noise)
        .write("Containerfile", "FROM scratch\nCOPY noise /\nUSER 1:1\n");
    let tag = format!("{}/app:v1", registry.host);
    place.expect(
        0,
        &[
            "build",
            "--insecure-registry",
            &registry.host,
            "-t",
            &tag,
            "--push",
            ".",
        ],
    );
    let (line, cut) = line_to(&registry, 2_000_000);
    let other = Place::new();
    let child = Command::new(crate::support::binary())
        .args([
            "pull",
            "--retry-delay",
            "10ms",
            "--insecure-registry",
            &line,
            &format!("{line}/app:v1"),
        ])
        .env("RBUILD_ROOT", other.store())
        .env("HOME", other.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let go = cut
        .recv_timeout(Duration::from_secs(60))
        .expect("half of it");
    let signal = |name: &str| {
        let done = Command::new("kill")
            .arg(name)
            .arg(child.id().to_string())
            .status();
        assert!(done.expect("kill").success());
    };
    signal("-STOP");
    go.send(()).expect("the line");
    std::thread::sleep(Duration::from_millis(300));
    signal("-CONT");
    let output = child.wait_with_output().expect("its end");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("trying again"), "{said}");
    other.expect(0, &["system", "check"]);
}

#[test]
fn f23_a_certificate_of_another_time_is_said_to_be_about_the_clock() {
    requires!(program "openssl");
    let keys = tempfile::tempdir().expect("a directory");
    certify_for(keys.path(), "-1");
    let at = keys.path().display();
    let tls = format!(", tls: {{certificate: {at}/own.crt, key: {at}/own.key}}");
    let Some(registry) = Registry::start_with(false, &tls) else {
        skip!("registry", "RBUILD_TEST_REGISTRY names none that starts");
    };
    let place = Place::new();
    let authorities = format!("--cert-dir={at}/ca");
    let (_, said) = place.expect(
        4,
        &[
            "tags",
            "--retry",
            "0",
            &authorities,
            &format!("{}/app", registry.host),
        ],
    );
    assert!(said.contains("Expired") && said.contains("clock"), "{said}");
}

/// Debian's openssl as a token server that answers every request with a page, ended with the test.
struct TokenServer(std::process::Child, String);

impl TokenServer {
    fn start(keys: &std::path::Path) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = free.local_addr().expect("its address").to_string();
        drop(free);
        let child = Command::new("openssl")
            .args([
                "s_server", "-quiet", "-www", "-cert", "own.crt", "-key", "own.key",
            ])
            .args(["-accept", &address])
            .current_dir(keys)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl");
        for _ in 0..100 {
            if TcpStream::connect(&address).is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Self(child, address)
    }
}

impl Drop for TokenServer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn s58_a_token_server_is_asked_by_verified_tls_and_never_by_plain_http() {
    requires!(program "openssl");
    let keys = tempfile::tempdir().expect("a directory");
    certify_for(keys.path(), "2");
    let server = TokenServer::start(keys.path());
    let plain = Web::start(|_| Answer::ok("{\"token\":\"t\"}"));
    let place = Place::new();
    let trusting = format!("--cert-dir={}/ca", keys.path().display());
    let ask = |realm: String, more: &[&str]| {
        let registry = Web::start(move |_| {
            let challenge = format!("Bearer realm=\"{realm}\",service=\"s\"");
            Answer::status(401).header("www-authenticate", &challenge)
        });
        let name = format!("{}/app", registry.host());
        let host = registry.host();
        let args = ["tags", "--retry", "0", "--insecure-registry", &host, &name];
        place.expect(4, &[&args[..], more].concat()).1
    };
    let verified = format!("https://{}/token", server.1);
    let said = ask(verified.clone(), &[]);
    assert!(said.contains("certificate"), "{said}");
    // With the right authority it is asked, and what it says is no token.
    let said = ask(verified, &[&trusting]);
    assert!(
        !said.contains("certificate") && said.contains("token"),
        "{said}"
    );
    ask(format!("https://{}/token", plain.host()), &[&trusting]);
    let asked = plain.requests();
    let spoken_to = |path: &str| asked.iter().any(|request| request.path.contains(path));
    assert!(!spoken_to("token"), "{asked:?}");
}

#[test]
fn s62_no_http_2_is_spoken_so_none_of_its_floods_can_come() {
    let locked = include_str!("../../Cargo.lock");
    assert!(locked.contains("name = \"hyper\""));
    assert!(
        !locked.contains("name = \"h2\""),
        "an HTTP/2 of its own needs limits of its own"
    );
}
