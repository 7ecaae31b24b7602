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
                    RUN head -c 2000000 /bin/busybox >/big && echo made >/made && rm -rf /tmp /var && mkdir /var && ln /made /var/again && echo ran-$((40+2))\n\
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
        (
            std::mem::take(&mut all),
            self.answered.swap(0, Ordering::Relaxed),
        )
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
    let (from, to) = (
        format!("oci:{}", layout.display()),
        format!("docker://{}/base:1", line.host),
    );
    place.expect(0, &["copy", "--insecure-registry", &line.host, &from, &to]);
}

fn build(line: &Line, place: &Place, args: &[&str]) -> (String, String) {
    let mut all = vec!["build", "--progress", "plain", "--network", "none"];
    all.extend(["--insecure-registry", &line.host, "--explain-cache"]);
    all.extend(args);
    all.push(".");
    place.expect(0, &all)
}

/// The build without any cache elsewhere, on a machine of its own.
fn plain(line: &Line, change: impl Fn(&Place), args: &[&str]) -> String {
    let place = machine(line);
    change(&place);
    let id = build(line, &place, args).0;
    line.taken();
    id
}

fn max(cache: &str) -> String {
    format!("type=registry,ref={cache},mode=max")
}

fn hits(said: &str) -> usize {
    said.lines()
        .filter(|line| line.contains("cache hit"))
        .count()
}

macro_rules! shared {
    (in one degree) => {{
        requires!(degree crate::support::Degree::SubIds);
        shared!()
    }};
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
        &["--cache-to", &max(&cache), "--push", "-t", &name("a")],
    );
    assert_eq!(hits(&said), 0, "{said}");
    line.taken();
    let second = machine(&line);
    let (two, said) = build(
        &line,
        &second,
        &["--cache-from", &cache, "--push", "-t", &name("b")],
    );
    assert_eq!(hits(&said), 5, "{said}");
    assert!(
        said.contains(&format!(", from {cache}")) && !said.contains("ran-42"),
        "{said}"
    );
    assert_eq!(one, two);
    assert_eq!(registry.manifest("a"), registry.manifest("b"));
    let (requests, answered) = line.taken();
    let of_blobs = |request: &&String| request.starts_with("GET") && request.contains("/blobs/");
    let fetched: Vec<_> = requests.iter().filter(of_blobs).collect();
    // The configurations of the base and of the cache.
    assert!(
        fetched.len() <= 2 && answered < 30_000,
        "{answered}: {fetched:#?}"
    );
    let sent = requests
        .iter()
        .filter(|request| request.starts_with("POST"));
    assert_eq!(sent.count(), 0, "{requests:#?}");
    assert!(!second.store().join("trees/layers").exists());
}

#[test]
fn what_a_step_needs_is_fetched_and_gives_the_image_that_no_cache_gives() {
    let (_registry, line) = shared!(in one degree);
    let cache = format!("{}/app:cache", line.host);
    build(&line, &machine(&line), &["--cache-to", &max(&cache)]);
    let change = |place: &Place| {
        let file = FILE.replace("BASE", &format!("{}/base:1", line.host));
        let file = file.replace(
            "RUN cat /made",
            "RUN test ! -e /tmp && test $(ls /var) = again && test /made -ef /var/again && stat -c %a:%u:%Y /made && cat /made",
        );
        place.write("Containerfile", file);
    };
    let wanted = plain(&line, change, &[]);
    let second = machine(&line);
    change(&second);
    let (found, said) = build(&line, &second, &["--cache-from", &cache]);
    assert_eq!((hits(&said), &found), (4, &wanted), "{said}");
    // From then on it is this machine's.
    let (again, said) = build(&line, &second, &[]);
    assert_eq!((hits(&said), &again), (5, &wanted), "{said}");
    assert!(!said.contains(", from "), "{said}");
    second.expect(0, &["system", "check"]);
}

#[test]
fn another_epoch_runs_nothing_again_on_another_machine() {
    let (_registry, line) = shared!(in one degree);
    let cache = format!("{}/app:cache", line.host);
    let epoch = |seconds: &'static str| ["--source-date-epoch", seconds, "--rewrite-timestamp"];
    let to = ["--cache-to", &max(&cache)];
    build(
        &line,
        &machine(&line),
        &[&epoch("1100000000")[..], &to].concat(),
    );
    let late = epoch("1200000000");
    let wanted = plain(&line, |_| {}, &late);
    let second = machine(&line);
    let from = ["--cache-from", &*cache];
    let (found, said) = build(&line, &second, &[&late[..], &from].concat());
    assert_eq!((hits(&said), &found), (3, &wanted), "{said}");
    // All of it is made anew for the cache, with the marks of the times.
    let (_, said) = build(&line, &second, &[&late[..], &from, &to].concat());
    assert_eq!(hits(&said), 5, "{said}");
    let (found, said) = build(&line, &machine(&line), &[&late[..], &from].concat());
    assert_eq!((hits(&said), &found), (5, &wanted), "{said}");
}

#[test]
fn machines_without_subordinate_ids_share_with_those_that_have_some() {
    let (_registry, line) = shared!(in one degree);
    let cache = format!("{}/app:cache", line.host);
    let single = ["--userns-mode", "single"];
    let (one, _) = build(
        &line,
        &machine(&line),
        &[&single[..], &["--cache-to", &max(&cache)]].concat(),
    );
    let (two, said) = build(&line, &machine(&line), &["--cache-from", &cache]);
    assert_eq!((hits(&said), &two), (5, &one), "{said}");
    let place = machine(&line);
    let file = fs::read_to_string(place.context().join("Containerfile")).expect("it");
    place.write(
        "Containerfile",
        file.replace("RUN cat /made", "RUN test -x /bin/busybox && cat /made"),
    );
    let (three, said) = build(
        &line,
        &place,
        &[&single[..], &["--cache-from", &cache]].concat(),
    );
    assert_eq!((hits(&said), &three), (4, &one), "{said}");
}

#[test]
fn a_directory_is_a_cache_with_the_stages_that_were_asked_for_and_no_secret() {
    let (_registry, line) = shared!(in one degree);
    let directory = tempfile::tempdir().expect("a directory");
    let at = |name: &str| directory.path().join(name).display().to_string();
    let secret = |place: &Place| {
        let file = fs::read_to_string(place.context().join("Containerfile")).expect("it");
        let run = "RUN --mount=type=secret,id=word,env=WORD cat /made";
        place.write("Containerfile", file.replace("RUN cat /made", run));
        place.write("../word", "swordfish-of-the-test");
    };
    let args = ["--secret", "id=word,src=../word"];
    let one = machine(&line);
    secret(&one);
    let (min, max) = (
        format!("type=local,dest={}", at("min")),
        format!(
            "type=local,dest={},mode=max,compression=uncompressed",
            at("max")
        ),
    );
    let (id, _) = build(
        &line,
        &one,
        &[&args[..], &["--cache-to", &min, "--cache-to", &max]].concat(),
    );
    let blobs = fs::read_dir(directory.path().join("max/blobs/sha256")).expect("blobs");
    for blob in blobs.flatten() {
        let bytes = fs::read(blob.path()).expect("a blob");
        assert!(
            !bytes.windows(9).any(|part| part == b"swordfish"),
            "{:?}",
            blob.path()
        );
    }
    // Of the stage that is not in the image, nothing is there: its first step runs, and what comes after is found again.
    for (name, found) in [("min", 2), ("max", 5)] {
        let place = machine(&line);
        secret(&place);
        let from = format!("type=local,src={}", at(name));
        let (other, said) = build(
            &line,
            &place,
            &[&args[..], &["--cache-from", &from]].concat(),
        );
        assert_eq!((hits(&said), &other), (found, &id), "{name}: {said}");
    }
}

#[test]
fn an_image_brings_its_own_steps_along() {
    let (registry, line) = shared!(in one degree);
    let name = format!("{}/app:v1", line.host);
    let file = |place: &Place, last: &str| {
        let file = format!(
            "FROM {}/base:1\nRUN echo made >/made\nRUN echo {last} >/last\nUSER 1:1\n",
            line.host
        );
        place.write("Containerfile", file);
    };
    let place = machine(&line);
    file(&place, "one");
    let (id, _) = build(
        &line,
        &place,
        &["--cache-to", "type=inline", "-t", &name, "--push"],
    );
    let noted = &registry.manifest("v1")["annotations"]["org.rbuild.cache.v1"];
    assert!(
        noted.as_str().is_some_and(|text| text.contains("sha256:")),
        "{noted}"
    );
    for (last, found) in [("one", 2), ("two", 1)] {
        let second = machine(&line);
        file(&second, last);
        let (other, said) = build(&line, &second, &["--cache-from", &name]);
        assert_eq!((hits(&said), other == id), (found, last == "one"), "{said}");
    }
}

#[test]
fn a_cache_that_is_none_or_broken_costs_a_notice_and_not_the_build() {
    let (registry, line) = shared!(in one degree);
    let name = |tag: &str| format!("{}/app:{tag}", line.host);
    let wanted = plain(&line, |_| {}, &[]);
    let layout = tempfile::tempdir().expect("a directory");
    let local = format!("type=local,src={}", layout.path().display());
    let base = format!("{}/base:1", line.host);
    for (cache, why) in [
        (&name("none"), "404"),
        (&base, "none of rbuild's"),
        (&local, "no OCI image layout"),
    ] {
        let (id, said) = build(&line, &machine(&line), &["--cache-from", cache]);
        assert!(
            said.contains("is not used: ") && said.contains(why),
            "{said}"
        );
        assert_eq!(id, wanted);
    }
    // Layers that are gone, or other bytes than they were.
    for (tag, spoil) in [("gone", None), ("cut", Some(1_000)), ("wrong", Some(0))] {
        let cache = name(tag);
        build(&line, &machine(&line), &["--cache-to", &max(&cache)]);
        let manifest = registry.manifest(tag);
        for layer in manifest["layers"].as_array().expect("layers") {
            registry.spoil(layer["digest"].as_str().expect("a digest"), spoil);
        }
        let (id, said) = build(&line, &machine(&line), &["--cache-from", &cache]);
        assert!(
            said.contains("is used no more: ") && said.contains("ran-42"),
            "{tag}: {said}"
        );
        assert_eq!(id, wanted, "{tag}");
        registry.sweep();
    }
}

#[test]
fn a_cache_that_cannot_be_written_fails_the_build_unless_that_does_not_matter() {
    let (_registry, line) = shared!(in one degree);
    let place = machine(&line);
    place.write("file", "");
    for (to, code) in [
        ("type=local,dest=file/d", 4),
        ("type=local,dest=file/d,ignore-error=true", 0),
    ] {
        let args = [
            "build",
            "--network",
            "none",
            "--insecure-registry",
            &line.host,
            "--cache-to",
            to,
            ".",
        ];
        let (_, said) = place.expect(code, &args);
        assert!(said.contains("file/d"), "{said}");
    }
}

#[test]
fn platforms_share_one_cache_and_writers_do_not_disturb_each_other() {
    let registry = registry!(false);
    let line = Line::to(&registry);
    let cache = format!("{}/app:cache", line.host);
    let file = "FROM scratch AS files-amd64\nCOPY one /one\nFROM scratch AS files-arm64\nCOPY two /two\n\
                FROM files-$TARGETARCH\nCOPY both /both\nUSER 1:1\n";
    let machine = || {
        let place = Place::new();
        place.write("Containerfile", file);
        for name in ["one", "two", "both"] {
            place.write(name, name);
            set_time(&place.context().join(name));
        }
        place
    };
    let both = "--platform=linux/amd64,linux/arm64";
    let writers = ["linux/amd64,linux/arm64", "linux/arm64,linux/amd64"];
    std::thread::scope(|scope| {
        for platforms in writers {
            let (platforms, to) = (format!("--platform={platforms}"), max(&cache));
            let line = &line;
            scope.spawn(move || build(line, &machine(), &[&platforms, "--cache-to", &to]));
        }
    });
    let (one, said) = build(&line, &machine(), &[both]);
    assert_eq!(hits(&said), 0, "{said}");
    let (two, said) = build(&line, &machine(), &[both, "--cache-from", &cache]);
    assert_eq!((hits(&said), &two), (4, &one), "{said}");
}

#[test]
fn f23_files_of_the_future_and_of_1970_make_no_difference_between_machines() {
    let times = [4_102_444_800, 0].map(std::time::Duration::from_secs);
    let built: Vec<String> = (0..2)
        .map(|_| {
            let place = Place::new();
            for (name, time) in ["late", "early"].into_iter().zip(times) {
                place.write(name, name);
                let path = place.context().join(name);
                let file = fs::File::options().write(true).open(path).expect("it");
                file.set_modified(std::time::UNIX_EPOCH + time)
                    .expect("its time");
            }
            let file = "FROM scratch\nCOPY late /late\nCOPY early /early\nUSER 1:1\n";
            let id = place.build(file, &[]);
            assert_eq!(place.build(file, &[]), id);
            // A later change with a time before the last one is seen.
            place.write("late", "other");
            let file_now = fs::File::options()
                .write(true)
                .open(place.context().join("late"));
            let back = std::time::UNIX_EPOCH + times[0];
            file_now.expect("it").set_modified(back).expect("its time");
            assert_ne!(place.build(file, &[]), id);
            id
        })
        .collect();
    assert_eq!(built[0], built[1]);
}
