//! Files from a scripted server on loopback: each row of the reliability catalogue that a fetch touches.

#[expect(
    dead_code,
    reason = "pulls need more of it, tests/registry.rs uses the rest"
)]
mod fake;

use std::sync::Mutex;
use std::time::Duration;

use fake::{Reply, Request, Server};
use image::fetch::{Fetch, FetchError, FetchEvent, FetchOptions, Fetched, HttpUrl, fetch};
use image::{Digest, Store};
use rbuild_image as image;

/// A store to fetch into, with a quick temper.
struct Client {
    _directory: tempfile::TempDir,
    store: Store,
    options: FetchOptions,
    events: Mutex<Vec<FetchEvent>>,
}

impl Client {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path().join("store")).unwrap();
        let options = FetchOptions {
            tries: 3,
            backoff: Duration::from_millis(1),
            connect_timeout: Duration::from_secs(2),
            stall_timeout: Duration::from_millis(300),
            ..FetchOptions::default()
        };
        Self {
            _directory: directory,
            store,
            options,
            events: Mutex::default(),
        }
    }

    fn fetch(&self, url: &str, expected: Option<&Digest>) -> Result<Fetched, FetchError> {
        let url: HttpUrl = url.parse().unwrap();
        let progress = |event| self.events.lock().unwrap().push(event);
        let wanted = Fetch {
            authorization: None,
            url: &url,
            expected,
            options: &self.options,
            progress: &progress,
        };
        fetch(&wanted, &self.store)
    }

    fn content(&self, fetched: &Fetched) -> Vec<u8> {
        let path = self.store.path().join("blobs/sha256");
        std::fs::read(path.join(fetched.digest.hex())).unwrap()
    }

    fn blobs(&self) -> usize {
        std::fs::read_dir(self.store.path().join("blobs/sha256"))
            .unwrap()
            .count()
    }
}

const DATE: &str = "Wed, 21 Oct 2015 07:28:00 GMT";

#[test]
fn a_file_is_fetched_with_its_time() {
    let server = Server::start(|_| Reply::ok(b"content").header("last-modified", DATE));
    let client = Client::new();
    let fetched = client
        .fetch(&format!("http://{}/a", server.host()), None)
        .unwrap();
    assert_eq!(fetched.digest, Digest::of(b"content"));
    assert_eq!(fetched.last_modified, Some(1_445_412_480));
    assert_eq!(client.content(&fetched), b"content");
}

#[test]
fn a_file_that_is_known_by_its_checksum_needs_no_request() {
    let server = Server::start(|_| Reply::ok(b"content"));
    let client = Client::new();
    let url = format!("http://{}/a", server.host());
    let digest = Digest::of(b"content");
    client.fetch(&url, Some(&digest)).unwrap();
    client.fetch(&url, Some(&digest)).unwrap();
    assert_eq!(server.requests().len(), 1);
    // Another checksum is another file.
    let other = client.fetch(&url, Some(&Digest::of(b"other"))).unwrap_err();
    assert!(matches!(other, FetchError::Mismatch { .. }), "{other}");
    assert_eq!(server.requests().len(), 2);
    assert!(server.requests()[1].header("if-none-match").is_none());
}

#[test]
fn without_a_checksum_the_server_is_asked_whether_it_changed() {
    for (name, value, asked) in [
        ("etag", "\"v1\"", "if-none-match"),
        ("last-modified", DATE, "if-modified-since"),
    ] {
        let server = Server::start(move |request: &Request| match request.header(asked) {
            Some(known) if known == value => Reply::status(304),
            _ => Reply::ok(b"content").header(name, value),
        });
        let client = Client::new();
        let url = format!("http://{}/a", server.host());
        let first = client.fetch(&url, None).unwrap();
        assert_eq!(client.fetch(&url, None).unwrap(), first);
        assert_eq!(server.requests().len(), 2);
        // Without the blob nothing is known.
        std::fs::remove_file(
            client
                .store
                .path()
                .join("blobs/sha256")
                .join(first.digest.hex()),
        )
        .unwrap();
        assert_eq!(client.fetch(&url, None).unwrap(), first);
        assert!(server.requests()[2].header(asked).is_none());
    }
}

#[test]
fn a_wrong_checksum_names_both_digests_and_stores_nothing() {
    let server = Server::start(|_| Reply::ok(b"content"));
    let client = Client::new();
    let expected = Digest::of(b"other");
    let error = client
        .fetch(&format!("http://{}/a", server.host()), Some(&expected))
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains(&expected.to_string()) && text.contains(&Digest::of(b"content").to_string()),
        "{text}"
    );
    assert_eq!(client.blobs(), 0);
}

#[test]
fn f17_passing_failures_are_tried_again() {
    for script in [
        Reply::status(503),
        Reply::status(429).header("retry-after", "0"),
        Reply::reset(),
        Reply::ok(b"content").cut(3),
        Reply::ok(b"content").stall_at(2, Duration::from_secs(1)),
        Reply::silence(Duration::from_secs(3)),
    ] {
        let times = std::sync::atomic::AtomicU32::new(0);
        let server =
            Server::start(
                move |_| match times.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
                    0 => script.clone(),
                    _ => Reply::ok(b"content"),
                },
            );
        let client = Client::new();
        let fetched = client
            .fetch(&format!("http://{}/a", server.host()), None)
            .unwrap();
        assert_eq!(client.content(&fetched), b"content");
        assert!(
            client
                .events
                .lock()
                .unwrap()
                .iter()
                .any(|event| matches!(event, FetchEvent::Retrying { .. }))
        );
    }
}

#[test]
fn what_will_not_pass_is_asked_once() {
    for status in [400, 401, 403, 404, 410, 304] {
        let server = Server::start(move |_| Reply::status(status));
        let client = Client::new();
        let error = client
            .fetch(&format!("http://{}/a", server.host()), None)
            .unwrap_err();
        assert!(error.to_string().contains(&status.to_string()), "{error}");
        assert_eq!(server.requests().len(), 1);
    }
    let server = Server::start(|_| Reply::status(500));
    let client = Client::new();
    client
        .fetch(&format!("http://{}/a", server.host()), None)
        .unwrap_err();
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn s56_credentials_go_to_the_place_that_was_named_and_nowhere_else() {
    for status in [301, 302, 303, 307, 308] {
        let other = Server::start(|_| Reply::ok(b"content"));
        let target = format!("http://thief:x@{}/b", other.host());
        let server = Server::start(move |request: &Request| match request.path.as_str() {
            "/a" => Reply::status(status).header("location", "/same"),
            _ => Reply::status(status).header("location", &target),
        });
        let client = Client::new();
        let url = format!("http://user:s3cret@{}/a", server.host());
        client.fetch(&url, None).unwrap();
        for request in server.requests() {
            assert_eq!(
                request.header("authorization"),
                Some("Basic dXNlcjpzM2NyZXQ=")
            );
        }
        assert_eq!(server.requests().len(), 2);
        let requests = other.requests();
        assert_eq!(requests.len(), 1);
        for name in ["authorization", "cookie", "referer"] {
            assert!(requests[0].header(name).is_none(), "{name}");
        }
    }
}

#[test]
fn s60_redirects_are_bounded_and_stay_in_http() {
    for target in [
        "/a",
        "file:///etc/passwd",
        "ftp://x/y",
        "gopher://x/",
        "http://",
    ] {
        let server = Server::start(move |_| Reply::status(302).header("location", target));
        let client = Client::new();
        let error = client
            .fetch(&format!("http://{}/a", server.host()), None)
            .unwrap_err();
        assert!(matches!(error, FetchError::Redirect { .. }), "{error}");
        assert!(server.requests().len() <= 11);
        assert_eq!(client.blobs(), 0);
    }
}

#[test]
fn s63_errors_do_not_show_the_password() {
    let server = Server::start(|_| Reply::status(404));
    let client = Client::new();
    let url = format!("http://user:s3cret@{}/a", server.host());
    let error = format!("{:?}", client.fetch(&url, None).unwrap_err());
    assert!(!error.contains("s3cret"), "{error}");
}

#[test]
fn the_proxies_that_are_handed_down_are_used() {
    let proxy = Server::start(|_| Reply::ok(b"by proxy"));
    let direct = Server::start(|_| Reply::ok(b"direct"));
    let mut client = Client::new();
    client.options.proxies = vec![
        ("HTTP_PROXY".into(), format!("http://{}", proxy.host())),
        ("NO_PROXY".into(), "127.0.0.1".into()),
    ];
    let far = client.fetch("http://far.example.org/x", None).unwrap();
    assert_eq!(client.content(&far), b"by proxy");
    let near = client
        .fetch(&format!("http://{}/x", direct.host()), None)
        .unwrap();
    assert_eq!(client.content(&near), b"direct");
}

#[test]
fn a_stopped_fetch_ends_soon() {
    let server = Server::start(|_| Reply::silence(Duration::from_secs(20)));
    let mut client = Client::new();
    client.options.stall_timeout = Duration::from_secs(60);
    let stop = client.store.stop().clone();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        stop.ask();
    });
    let started = std::time::Instant::now();
    let error = client
        .fetch(&format!("http://{}/a", server.host()), None)
        .unwrap_err();
    assert!(matches!(error, FetchError::Stopped(_)), "{error}");
    assert!(started.elapsed() < Duration::from_secs(5));
}
