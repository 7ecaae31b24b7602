//! Caches that machines share: two stores, a registry between them, and a line to it that is watched.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::registries::Registry;
use crate::support::Place;

/// Stages that run and copy; what is big is not in the image.
const FILE: &str = "FROM BASE AS build\n\
                    RUN head -c 2000000 /dev/urandom >/big && echo made >/made && rm -rf /tmp && echo ran\n\
                    COPY one /one\n\
                    RUN cat /made /one >/both && chown 7:8 /both && chmod 2750 /both\n\
                    FROM scratch\n\
                    COPY --from=build /both /both\n\
                    COPY one /d/one\n\
                    USER 1:1\n";

/// A way to a registry on which every request is noted, and every byte of the answers counted.
struct Line {
    host: String,
    requests: Arc<Mutex<Vec<String>>>,
    answered: Arc<AtomicUsize>,
}

impl Line {
    fn to(registry: &Registry) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let line = Self {
            host: listener.local_addr().expect("its address").to_string(),
            requests: Arc::default(),
            answered: Arc::default(),
        };
        let registry = registry.host.clone();
        let (requests, answered) = (Arc::clone(&line.requests), Arc::clone(&line.answered));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(&registry) else {
                    return;
                };
                let twin = |stream: &TcpStream| stream.try_clone().expect("a handle");
                let (from, to) = (twin(&client), twin(&server));
                let requests = Arc::clone(&requests);
                std::thread::spawn(move || {
                    pass(from, to, |bytes| {
                        let text = String::from_utf8_lossy(bytes);
                        let first = text.lines().next().unwrap_or_default();
                        if let Some((request, _)) = first.split_once(" HTTP/1.1") {
                            let mut all = requests.lock().unwrap_or_else(PoisonError::into_inner);
                            all.push(request.to_owned());
                        }
                    });
                });
                let answered = Arc::clone(&answered);
                std::thread::spawn(move || {
                    pass(server, client, |bytes| {
                        answered.fetch_add(bytes.len(), Ordering::Relaxed);
                    });
                });
            }
        });
        line
    }

    /// What was asked and answered since the last time.
    fn taken(&self) -> (Vec<String>, usize) {
        let mut all = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        (std::mem::take(&mut all), self.answered.swap(0, Ordering::Relaxed))
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, see: impl Fn(&[u8])) {
    let mut buffer = [0; 64 << 10];
    while let Ok(len @ 1..) = from.read(&mut buffer) {
        see(&buffer[..len]);
        if to.write_all(&buffer[..len]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Write);
}

/// A machine with the files of the build, and its base image in the registry.
fn machine(line: &Line) -> Place {
    let place = Place::new();
    let file = FILE.replace("BASE", &format!("{}/base:1", line.host));
    place.write("one", "1").write("Containerfile", file);
    set_time(&place.context().join("one"));
    place
}

fn set_time(path: &Path) {
    let file = fs::File::options().write(true).open(path).expect("it");
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    file.set_modified(time).expect("its time");
}

fn publish_base(line: &Line, layout: &Path) {
    let place = Place::new();
    let (from, to) = (format!("oci:{}", layout.display()), format!("docker://{}/base:1", line.host));
    place.expect(0, &["copy", "--insecure-registry", &line.host, &from, &to]);
}

fn build(line: &Line, place: &Place, args: &[&str]) -> (String, String) {
    let mut all = vec!["build", "--progress", "plain", "--network", "none"];
    all.extend(["--insecure-registry", &line.host, "--explain-cache"]);
    all.extend(args);
    all.push(".");
    place.expect(0, &all)
}

fn hits(said: &str) -> usize {
    said.lines().filter(|line| line.contains("cache hit")).count()
}

macro_rules! shared {
    () => {{
        requires!(execution);
        let layout = requires!(base "busybox");
        let registry = registry!(false);
        let line = Line::to(&registry);
        publish_base(&line, &layout);
        line.taken();
        (registry, line)
    }};
}

#[test]
fn a_push_of_what_another_machine_built_moves_no_layer() {
    let (registry, line) = shared!();
    let cache = format!("{}/app:cache", line.host);
    let name = |tag: &str| format!("{}/app:{tag}", line.host);
    let (one, said) = build(
        &line,
        &machine(&line),
        &["--cache-to", &format!("type=registry,ref={cache},mode=max"), "--push", "-t", &name("a")],
    );
    assert_eq!(hits(&said), 0, "{said}");
    line.taken();
    let second = machine(&line);
    let (two, said) = build(&line, &second, &["--cache-from", &cache, "--push", "-t", &name("b")]);
    assert_eq!(hits(&said), 5, "{said}");
    assert!(said.contains(&format!(", from {cache}")) && !said.contains("ran"), "{said}");
    assert_eq!(one, two);
    assert_eq!(registry.manifest("a"), registry.manifest("b"));
    let (requests, answered) = line.taken();
    let of_blobs = |request: &&String| request.starts_with("GET") && request.contains("/blobs/");
    let fetched: Vec<_> = requests.iter().filter(of_blobs).collect();
    // The configurations of the base and of the cache.
    assert!(fetched.len() <= 2 && answered < 30_000, "{answered}: {fetched:#?}");
    let sent = requests.iter().filter(|request| request.starts_with("POST"));
    assert_eq!(sent.count(), 0, "{requests:#?}");
    assert!(!second.store().join("trees/layers").exists());
}
