//! Pulls from a scripted registry on loopback: each row of the reliability catalogue that a plain pull touches.

mod download;
mod fake;
mod lists;
mod push;

use std::collections::BTreeMap;
use std::io::Write;
use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use fake::{Reply, Request, Server};
use image::compress::compress;
use image::registry::{pull, resolve};
use image::{
    Access, Compression, Credentials, Descriptor, DiffId, Digest, Image, ImageConfig, Index,
    MediaType, Platform, Pull, Reference, RegistryError, RegistryOptions, Store, TransferEvent,
    Unobserved,
};
use rbuild_image as image;

/// An image and its blobs, as a registry has them.
struct Sample {
    image: Image,
    blobs: BTreeMap<String, Vec<u8>>,
}

impl Sample {
    fn new(tars: &[&[u8]]) -> Self {
        let formats = [
            (Compression::Gzip, MediaType::OciLayerGzip),
            (Compression::Zstd, MediaType::OciLayerZstd),
            (Compression::None, MediaType::OciLayer),
        ];
        let mut config = ImageConfig::new(&Platform::linux("amd64"));
        let (mut layers, mut blobs) = (Vec::new(), BTreeMap::new());
        for (tar, (compression, kind)) in tars.iter().zip(formats.iter().cycle()) {
            let mut blob = Vec::new();
            compress(*compression, &mut &tar[..], &mut blob, NonZeroUsize::MIN).unwrap();
            config.rootfs.diff_ids.push(DiffId::new(Digest::of(tar)));
            layers.push(Descriptor::of(kind.clone(), &blob));
            blobs.insert(Digest::of(&blob).to_string(), blob);
        }
        let image = Image::compose(&config, layers, BTreeMap::new()).unwrap();
        blobs.insert(image.id().to_string(), image.config_bytes().to_vec());
        Self { image, blobs }
    }

    /// What an honest registry answers.
    fn answer(&self, request: &Request) -> Reply {
        let name = request.path.rsplit('/').next().unwrap_or_default();
        if request.path.contains("/manifests/") {
            let known = name == "latest" || name == self.image.digest().to_string();
            let reply = Reply::ok(self.image.manifest_bytes())
                .header("content-type", MediaType::OciManifest.as_str());
            return if known { reply } else { Reply::status(404) };
        }
        self.blobs
            .get(name)
            .map_or_else(|| Reply::status(404), |blob| Reply::ok(blob))
    }

    fn layer(&self, n: usize) -> String {
        self.image.layers()[n].descriptor.digest.to_string()
    }
}

fn noise(len: usize) -> Vec<u8> {
    let mut state = 7_u32;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect()
}

/// A place to pull into, with a quick temper.
struct Client {
    _directory: tempfile::TempDir,
    store: Store,
    options: RegistryOptions,
    credentials: Credentials,
    events: Mutex<Vec<TransferEvent>>,
}

impl Client {
    fn of(server: &Server) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path().join("store")).unwrap();
        let options = RegistryOptions {
            insecure: vec![server.host()],
            backoff: Duration::from_millis(5),
            stall_timeout: Duration::from_millis(400),
            connect_timeout: Duration::from_secs(2),
            ..RegistryOptions::default()
        };
        let credentials = Credentials::Anonymous;
        Self {
            _directory: directory,
            store,
            options,
            credentials,
            events: Mutex::default(),
        }
    }

    fn with_password(server: &Server) -> Self {
        let credentials = Credentials::Basic {
            username: "user".into(),
            password: "s3cret".into(),
        };
        Self {
            credentials,
            ..Self::of(server)
        }
    }

    fn pull(&self, name: &str) -> Result<Image, RegistryError> {
        let reference: Reference = name.parse().unwrap();
        let progress = |event| self.events.lock().unwrap().push(event);
        let platform = Platform::linux("amd64");
        let request = Pull {
            access: Access {
                reference: &reference,
                credentials: &self.credentials,
                options: &self.options,
                progress: &progress,
            },
            platform: &platform,
            observer: &Unobserved,
        };
        pull(&request, &self.store)
    }

    /// Nothing was stored, not even half.
    #[track_caller]
    fn assert_empty(&self) {
        assert_eq!(self.store.images().unwrap(), vec![]);
        assert_eq!(
            std::fs::read_dir(self.store.path().join("blobs/sha256"))
                .unwrap()
                .count(),
            0
        );
        let tmp = std::fs::read_dir(self.store.path().join("tmp"))
            .unwrap()
            .flatten();
        assert_eq!(
            tmp.flat_map(|dir| std::fs::read_dir(dir.path()).unwrap())
                .count(),
            0
        );
    }

    fn retries(&self) -> usize {
        self.events
            .lock()
            .unwrap()
            .iter()
            .filter(|event| matches!(event, TransferEvent::Retrying { .. }))
            .count()
    }
}

const BASIC: &str = "Basic dXNlcjpzM2NyZXQ=";

fn name(server: &Server) -> String {
    format!("{}/team/app", server.host())
}

#[test]
fn a_plain_pull_brings_everything_and_a_second_one_no_layer() {
    let sample = Sample::new(&[&noise(700_000), b"two", b"three", b"four", b"five"]);
    let image = sample.image.clone();
    let server = Server::start(move |request| sample.answer(request));
    let client = Client::of(&server);
    assert_eq!(client.pull(&name(&server)).unwrap(), image);
    assert_eq!(client.store.image(image.digest()).unwrap(), image);
    for layer in image.layers() {
        client.store.read_document(layer.diff_id.digest()).unwrap();
    }
    let blobs = server
        .requests()
        .iter()
        .filter(|request| request.path.contains("/blobs/"))
        .count();
    assert_eq!(blobs, 6);
    client.pull(&name(&server)).unwrap();
    let again = server
        .requests()
        .iter()
        .filter(|request| request.path.contains("/blobs/"))
        .count();
    assert_eq!(again, 7, "only the configuration is fetched again");
    assert!(
        server
            .requests()
            .iter()
            .all(|request| request.header("authorization").is_none())
    );
}

#[test]
fn f22_after_the_index_everything_goes_by_digest() {
    let sample = Sample::new(&[b"layer"]);
    let mut entry = sample.image.descriptor();
    entry.platform = Some(Platform::linux("amd64"));
    let index = Index::new(vec![
        Descriptor {
            platform: Some(Platform::linux("s390x")),
            ..entry.clone()
        },
        entry,
    ])
    .to_bytes();
    let image = sample.image.clone();
    let server = Server::start(move |request| {
        if request.path.ends_with("/latest") {
            return Reply::ok(&index).header("content-type", MediaType::OciIndex.as_str());
        }
        sample.answer(request)
    });
    let client = Client::of(&server);
    assert_eq!(client.pull(&name(&server)).unwrap(), image);
    let by_tag = server
        .requests()
        .iter()
        .filter(|request| request.path.ends_with("/latest"))
        .count();
    assert_eq!(by_tag, 1);
}

#[test]
fn s51_ambiguous_or_contradicting_documents_are_refused() {
    let both = br#"{"schemaVersion":2,"manifests":[],"layers":[],"config":{}}"#.to_vec();
    let twice = br#"{"schemaVersion":2,"schemaVersion":2,"manifests":[]}"#.to_vec();
    let honest = Sample::new(&[b"x"]).image.manifest_bytes().to_vec();
    for (body, kind) in [
        (both, MediaType::OciIndex),
        (twice, MediaType::OciIndex),
        (honest, MediaType::OciIndex),
    ] {
        let server = Server::start(move |_| Reply::ok(&body).header("content-type", kind.as_str()));
        let client = Client::of(&server);
        let error = client.pull(&name(&server)).unwrap_err();
        assert!(matches!(error, RegistryError::Document(_)), "{error}");
        client.assert_empty();
    }
}

#[test]
fn s52_a_header_that_is_no_digest_is_refused() {
    for header in ["sha256:../../x", "sha256:ABC", "md5:0", "x"] {
        let sample = Sample::new(&[b"x"]);
        let server = Server::start(move |request| {
            sample
                .answer(request)
                .header("docker-content-digest", header)
        });
        let client = Client::of(&server);
        assert!(
            matches!(
                client.pull(&name(&server)).unwrap_err(),
                RegistryError::Header { .. }
            ),
            "{header}"
        );
        client.assert_empty();
    }
}

#[test]
fn s53_a_pin_that_is_answered_with_another_manifest_is_refused() {
    let (wanted, other) = (Sample::new(&[b"wanted"]), Sample::new(&[b"other"]));
    let pinned = wanted.image.digest().to_string();
    for header in [None, Some(pinned.clone())] {
        let body = other.image.manifest_bytes().to_vec();
        let server = Server::start(move |_| match &header {
            Some(header) => Reply::ok(&body).header("docker-content-digest", header),
            None => Reply::ok(&body),
        });
        let client = Client::of(&server);
        let error = client
            .pull(&format!("{}@{pinned}", name(&server)))
            .unwrap_err();
        assert!(matches!(error, RegistryError::Mismatch { .. }), "{error}");
        client.assert_empty();
    }
}

#[test]
fn s53_a_tag_whose_header_names_another_digest_is_refused() {
    let sample = Sample::new(&[b"x"]);
    let other = Digest::of("other").to_string();
    let server = Server::start(move |request| {
        sample
            .answer(request)
            .header("docker-content-digest", &other)
    });
    let client = Client::of(&server);
    assert!(matches!(
        client.pull(&name(&server)).unwrap_err(),
        RegistryError::Mismatch { .. }
    ));
    client.assert_empty();
}

#[test]
fn s53_f19_a_swapped_layer_is_refused_after_one_more_try() {
    let sample = Sample::new(&[&noise(50_000)]);
    let layer = sample.layer(0);
    let server = Server::start(move |request| {
        let mut reply = sample.answer(request);
        if request.path.contains(&layer) {
            let at = reply.body.len() / 2;
            reply.body[at] ^= 1;
        }
        reply
    });
    let client = Client::of(&server);
    let error = client.pull(&name(&server)).unwrap_err();
    assert!(matches!(error, RegistryError::Layer(_)), "{error}");
    assert_eq!(client.retries(), 1);
    client.assert_empty();
}

#[test]
fn s53_a_layer_with_another_diff_id_is_refused() {
    let mut sample = Sample::new(&[b"one"]);
    let mut config = sample.image.config().clone();
    config.rootfs.diff_ids = vec![DiffId::new(Digest::of("promised"))];
    let layers = sample.image.manifest().layers.clone();
    sample.image = Image::compose(&config, layers, BTreeMap::new()).unwrap();
    sample.blobs.insert(
        sample.image.id().to_string(),
        sample.image.config_bytes().to_vec(),
    );
    let server = Server::start(move |request| sample.answer(request));
    let client = Client::of(&server);
    let error = client.pull(&name(&server)).unwrap_err();
    assert!(
        matches!(
            error,
            RegistryError::Layer(image::LayerError::DiffId { .. })
        ),
        "{error}"
    );
    client.assert_empty();
}

#[test]
fn s54_urls_of_foreign_layers_are_not_followed() {
    let second = Server::start(|_| Reply::ok(b"gotcha"));
    let mut sample = Sample::new(&[b"one"]);
    let mut layers = sample.image.manifest().layers.clone();
    layers[0].other.insert(
        "urls".into(),
        vec![format!("http://{}/layer", second.host())].into(),
    );
    sample.image = Image::compose(sample.image.config(), layers, BTreeMap::new()).unwrap();
    let gone = sample.layer(0);
    sample.blobs.remove(&gone);
    let server = Server::start(move |request| sample.answer(request));
    let client = Client::of(&server);
    assert!(client.pull(&name(&server)).is_err());
    assert_eq!(second.requests().len(), 0);
    client.assert_empty();
}

/// A registry that wants a token from `realm`.
fn guarded(sample: Sample, realm: impl Fn(&Request) -> String + Send + Sync + 'static) -> Server {
    Server::start(move |request| {
        if request.path.starts_with("/token") {
            return Reply::ok(br#"{"token":"granted","expires_in":300}"#);
        }
        if request.header("authorization") == Some("Bearer granted") {
            return sample.answer(request);
        }
        let challenge = format!(
            r#"Bearer realm="{}",service="s",scope="repository:evil:pull,push""#,
            realm(request)
        );
        Reply::status(401).header("www-authenticate", &challenge)
    })
}

#[test]
fn a_token_is_fetched_once_and_used_for_everything() {
    let sample = Sample::new(&[b"one", b"two"]);
    let server = guarded(sample, |request| {
        format!("http://{}/token", request.header("host").unwrap())
    });
    let client = Client::with_password(&server);
    client.pull(&name(&server)).unwrap();
    let requests = server.requests();
    let tokens: Vec<_> = requests
        .iter()
        .filter(|request| request.path.starts_with("/token"))
        .collect();
    assert_eq!(tokens.len(), 1);
    assert_eq!(tokens[0].header("authorization"), Some(BASIC));
    assert!(
        tokens[0]
            .path
            .contains("scope=repository%3Ateam%2Fapp%3Apull&service=s"),
        "{}",
        tokens[0].path
    );
    assert_eq!(
        requests
            .iter()
            .filter(|request| request.path.starts_with("/v2/"))
            .count(),
        5
    );
}

#[test]
fn an_identity_token_is_posted() {
    let sample = Sample::new(&[b"one"]);
    let server = guarded(sample, |request| {
        format!("http://{}/token", request.header("host").unwrap())
    });
    let client = Client {
        credentials: Credentials::IdentityToken("a&b".into()),
        ..Client::of(&server)
    };
    client.pull(&name(&server)).unwrap();
    let requests = server.requests();
    let token = requests
        .iter()
        .find(|request| request.path == "/token")
        .unwrap();
    assert_eq!(token.method, "POST");
    assert!(
        token.body.contains("grant_type=refresh_token")
            && token.body.contains("refresh_token=a%26b"),
        "{}",
        token.body
    );
}

#[test]
fn s55_a_password_is_not_sent_to_a_foreign_realm() {
    let foreign = Server::start(|_| Reply::ok(br#"{"token":"granted"}"#));
    let realm = format!("http://{}/token", foreign.host());
    let named = realm.clone();
    let server = guarded(Sample::new(&[b"one"]), move |_| named.clone());
    let client = Client::with_password(&server);
    let error = client.pull(&name(&server)).unwrap_err();
    assert!(
        matches!(error, RegistryError::ForeignRealm { .. }),
        "{error}"
    );
    assert_eq!(foreign.requests().len(), 0);
    Client::of(&server).pull(&name(&server)).unwrap();
    assert_eq!(
        foreign.requests()[0].header("authorization"),
        None,
        "anonymous"
    );
    let mut allowing = Client::with_password(&server);
    allowing.options.allowed_realms.push(foreign.host());
    allowing.pull(&name(&server)).unwrap();
    assert_eq!(foreign.requests()[1].header("authorization"), Some(BASIC));
}

#[test]
fn a_wrong_password_is_said_to_be_wrong() {
    let server =
        Server::start(|_| Reply::status(401).header("www-authenticate", "Basic realm=\"x\""));
    let client = Client::with_password(&server);
    let error = client.pull(&name(&server)).unwrap_err();
    assert!(
        matches!(error, RegistryError::Denied { .. }) && error.to_string().contains("wrong"),
        "{error}"
    );
    assert_eq!((client.retries(), server.requests().len()), (0, 2));
    let error = Client::of(&server).pull(&name(&server)).unwrap_err();
    assert!(error.to_string().contains("log in"), "{error}");
}

#[test]
fn s56_a_redirect_takes_no_authorization_to_another_port() {
    let sample = Sample::new(&[b"one"]);
    let (layer, config) = (sample.layer(0), sample.image.id().to_string());
    let content = sample.blobs.clone();
    let store =
        Server::start(move |request| Reply::ok(&content[request.path.trim_start_matches('/')]));
    for status in [301, 302, 307, 308] {
        let sample = Sample::new(&[b"one"]);
        let (layer, config, host) = (layer.clone(), config.clone(), store.host());
        let server = Server::start(move |request| {
            if request.header("authorization") != Some(BASIC) {
                return Reply::status(401).header("www-authenticate", "Basic realm=\"x\"");
            }
            match request.path.rsplit('/').next() {
                Some(name) if name == layer || name == config => {
                    Reply::status(status).header("location", &format!("http://{host}/{name}"))
                }
                _ => sample.answer(request),
            }
        });
        Client::with_password(&server).pull(&name(&server)).unwrap();
    }
    assert_eq!(store.requests().len(), 8);
    assert!(
        store
            .requests()
            .iter()
            .all(|request| request.header("authorization").is_none())
    );
}

#[test]
fn s58_plain_http_is_spoken_only_to_registries_listed_by_name() {
    let sample = Sample::new(&[b"one"]);
    let server = Server::start(move |request| sample.answer(request));
    let mut client = Client::of(&server);
    client.options.insecure = vec!["127.0.0.1".into(), "localhost".into()];
    client.options.tries = 1;
    let error = client.pull(&name(&server)).unwrap_err();
    assert!(matches!(error, RegistryError::Network { .. }), "{error}");
    assert!(
        server
            .requests()
            .iter()
            .all(|request| !request.path.contains("/v2/"))
    );
}

#[test]
fn s59_an_endless_manifest_stops_at_the_limit() {
    let server = Server::start(|_| Reply::ok(b"").endless());
    let client = Client::of(&server);
    assert!(matches!(
        client.pull(&name(&server)).unwrap_err(),
        RegistryError::TooLarge { .. }
    ));
    client.assert_empty();
}

#[test]
fn s59_an_endless_error_is_cut() {
    let server = Server::start(|_| Reply::status(404).endless());
    let error = Client::of(&server).pull(&name(&server)).unwrap_err();
    assert!(
        matches!(error, RegistryError::Status { status: 404, .. }),
        "{error}"
    );
}

#[test]
fn s59_a_layer_longer_than_declared_stops_at_once() {
    let sample = Sample::new(&[b"a", b"b", b"uncompressed"]);
    let layer = sample.layer(2);
    let server = Server::start(move |request| {
        let reply = sample.answer(request);
        if request.path.contains(&layer) {
            reply.endless()
        } else {
            reply
        }
    });
    let client = Client::of(&server);
    assert!(matches!(
        client.pull(&name(&server)).unwrap_err(),
        RegistryError::Layer(_)
    ));
    assert_eq!(client.store.images().unwrap(), vec![]);
}

#[test]
fn s60_a_redirect_inside_is_refused_for_documents() {
    let inside = Server::start(|_| Reply::ok(b"{}"));
    let target = format!("http://localhost:{}/latest/meta-data", inside.port());
    let server = Server::start(move |_| Reply::status(302).header("location", &target));
    let mut client = Client::of(&server);
    client.options.tries = 1;
    assert!(matches!(
        client.pull(&name(&server)).unwrap_err(),
        RegistryError::Network { .. }
    ));
    assert_eq!(inside.requests().len(), 0);
}

#[test]
fn f16_passing_failures_are_tried_again() {
    for trouble in [500, 502, 503, 504, 429, 0] {
        let sample = Sample::new(&[b"one"]);
        let seen = Mutex::new(BTreeMap::<String, u32>::new());
        let server = Server::start(move |request| {
            let mut seen = seen.lock().unwrap();
            let times = seen.entry(request.path.clone()).or_default();
            *times += 1;
            match (*times, trouble) {
                (1 | 2, 0) => Reply::reset(),
                (1 | 2, 429) => Reply::status(429).header("retry-after", "0"),
                (1 | 2, status) => Reply::status(status),
                _ => sample.answer(request),
            }
        });
        let client = Client::of(&server);
        client.pull(&name(&server)).unwrap();
        assert_eq!(
            client.retries(),
            6,
            "two each for manifest, configuration and layer at {trouble}"
        );
    }
}

#[test]
fn f16_trouble_that_stays_ends_with_host_and_request_named() {
    let server = Server::start(|_| Reply::status(503));
    let client = Client::of(&server);
    let error = client.pull(&name(&server)).unwrap_err().to_string();
    assert!(
        error.contains(&server.host())
            && error.contains("manifest latest")
            && error.contains("503"),
        "{error}"
    );
    assert_eq!((client.retries(), server.requests().len()), (3, 4));
    client.assert_empty();
}

#[test]
fn f18_a_layer_cut_anywhere_is_fetched_again() {
    let tar = noise(100_000);
    let len = Sample::new(&[&tar]).image.layers()[0].descriptor.size as usize;
    for cut in [0, 1, len / 2, len - 1] {
        let sample = Sample::new(&[&tar]);
        let layer = sample.layer(0);
        let first = Mutex::new(true);
        let server = Server::start(move |request| {
            let reply = sample.answer(request);
            let cut_it =
                request.path.contains(&layer) && std::mem::take(&mut *first.lock().unwrap());
            if cut_it { reply.cut(cut) } else { reply }
        });
        let client = Client::of(&server);
        client.pull(&name(&server)).unwrap();
        assert_eq!(client.retries(), 1, "cut at {cut}");
    }
}

#[test]
fn f18_a_short_layer_with_a_fitting_length_is_refused() {
    let sample = Sample::new(&[&noise(1000)]);
    let layer = sample.layer(0);
    let server = Server::start(move |request| {
        let mut reply = sample.answer(request);
        if request.path.contains(&layer) {
            reply.body.truncate(500);
        }
        reply
    });
    let client = Client::of(&server);
    assert!(client.pull(&name(&server)).is_err());
    client.assert_empty();
}

#[test]
fn f20_a_stalled_registry_is_given_up() {
    let sample = Sample::new(&[b"one"]);
    let layer = sample.layer(0);
    for silent in [true, false] {
        let sample = Sample::new(&[b"one"]);
        let layer = layer.clone();
        let server = Server::start(move |request| match request.path.contains(&layer) {
            true if silent => Reply::silence(Duration::from_secs(3)),
            true => sample.answer(request).stall_at(1, Duration::from_secs(3)),
            false => sample.answer(request),
        });
        let mut client = Client::of(&server);
        client.options.tries = 1;
        let started = Instant::now();
        assert!(matches!(
            client.pull(&name(&server)).unwrap_err(),
            RegistryError::Network { .. }
        ));
        assert!(
            started.elapsed() < Duration::from_millis(2500),
            "{:?}",
            started.elapsed()
        );
        assert_eq!(client.store.images().unwrap(), vec![]);
    }
}

#[test]
fn f20_a_byte_now_and_then_is_no_progress() {
    let sample = Sample::new(&[&noise(5000)]);
    let layer = sample.layer(0);
    let server = Server::start(move |request| {
        let reply = sample.answer(request);
        if request.path.contains(&layer) {
            reply.drip(Duration::from_millis(50))
        } else {
            reply
        }
    });
    let mut client = Client::of(&server);
    client.options.tries = 1;
    let started = Instant::now();
    assert!(matches!(
        client.pull(&name(&server)).unwrap_err(),
        RegistryError::Network { .. }
    ));
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "{:?}",
        started.elapsed()
    );
    client.assert_empty();
}

#[test]
fn s59_an_endless_error_for_a_layer_is_given_up() {
    let sample = Sample::new(&[b"one"]);
    let layer = sample.layer(0);
    let server = Server::start(move |request| {
        if request.path.contains(&layer) {
            Reply::status(404).endless()
        } else {
            sample.answer(request)
        }
    });
    let client = Client::of(&server);
    assert!(matches!(
        client.pull(&name(&server)).unwrap_err(),
        RegistryError::Status { status: 404, .. }
    ));
    client.assert_empty();
}

#[test]
fn resolving_stores_nothing() {
    let sample = Sample::new(&[b"one"]);
    let image = sample.image.clone();
    let server = Server::start(move |request| sample.answer(request));
    let client = Client::of(&server);
    let request = Pull {
        access: Access {
            reference: &name(&server).parse().unwrap(),
            credentials: &client.credentials,
            options: &client.options,
            progress: &|_| (),
        },
        platform: &Platform::linux("amd64"),
        observer: &Unobserved,
    };
    assert_eq!(resolve(&request).unwrap(), image);
    client.assert_empty();
}

/// Writes one line past the test harness, which hides what passing tests print.
fn say_skipped(why: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

#[test]
fn the_real_registry_serves_what_we_pull() {
    let Some(registry) = fake::RealRegistry::start() else {
        return say_skipped("/usr/bin/docker-registry is not installed or does not start");
    };
    let sample = Sample::new(&[&noise(3_000_000), b"two", b"three"]);
    for (digest, blob) in &sample.blobs {
        registry.put_blob("team/app", digest, blob);
    }
    registry.put_manifest(
        "team/app",
        "latest",
        MediaType::OciManifest.as_str(),
        sample.image.manifest_bytes(),
    );
    let server = Server::start(|_| Reply::status(404));
    let mut client = Client::of(&server);
    client.options = RegistryOptions {
        insecure: vec![registry.host()],
        ..RegistryOptions::default()
    };
    assert_eq!(
        client
            .pull(&format!("{}/team/app", registry.host()))
            .unwrap(),
        sample.image
    );
}
