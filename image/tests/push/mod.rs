//! Pushes to a scripted registry and to Debian's real one: what arrives, what is sent again, and who never sees the password.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use image::registry::push;
use image::{
    Access, Compression, Credentials, Descriptor, DiffId, Digest, Export, Format, Image,
    ImageConfig, MediaType, Platform, Reference, RegistryError, RegistryOptions, Shipment, Store,
    TransferEvent,
};
use rbuild_image as image;

mod large;
mod referrers;

use crate::fake::{RealRegistry, Reply, Request, Server};
use crate::{BASIC, Client, name, noise, say_skipped};

/// An image with three layers in a client's store, two of them the same.
fn sample(store: &Store) -> Image {
    let mut config = ImageConfig::new(&Platform::linux("amd64"));
    let mut layers = Vec::new();
    for tar in [noise(700_000), b"two".to_vec(), b"two".to_vec()] {
        let digest = store.put(&tar).unwrap();
        config.rootfs.diff_ids.push(DiffId::new(digest));
        layers.push(Descriptor::of(MediaType::OciLayer, &tar));
    }
    let image = Image::compose(&config, layers, BTreeMap::new()).unwrap();
    store.add_image(&image, &[]).unwrap();
    image
}

fn exported<'s>(client: &'s Client, format: Option<Format>) -> Export<'s> {
    let image = sample(&client.store);
    Export::new(
        &client.store,
        &image,
        Compression::Gzip,
        format,
        NonZeroUsize::MIN,
    )
    .unwrap()
}

fn pushed(client: &Client, name: &str, export: &Export<'_>) -> Result<(), RegistryError> {
    let reference: Reference = name.parse().unwrap();
    let access = Access {
        reference: &reference,
        credentials: &client.credentials,
        options: &client.options,
        progress: &|event| client.events.lock().unwrap().push(event),
    };
    push(access, &Shipment::from(export), None)
}

/// What a registry has got: blobs and manifests by the last part of their path.
#[derive(Clone, Default)]
struct Shelf(Arc<Mutex<BTreeMap<String, Vec<u8>>>>);

impl Shelf {
    fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.0.lock().unwrap().get(key).cloned()
    }

    /// An honest registry whose uploads go to `place`, with the digest behind it.
    fn answer(&self, request: &Request, place: &str) -> Reply {
        let last = request.path.rsplit('/').next().unwrap_or_default();
        match request.method.as_str() {
            "GET" => Reply::status(200),
            "HEAD" if self.get(last).is_some() => Reply::status(200),
            "POST" => Reply::status(202).header("location", place),
            "PUT" => {
                let key = match request.path.split_once("digest=") {
                    Some((_, digest)) => digest.replace("%3A", ":"),
                    None => last.to_owned(),
                };
                self.0.lock().unwrap().insert(key, request.bytes.clone());
                Reply::status(201)
            }
            _ => Reply::status(404),
        }
    }
}

const PLACE: &str = "/v2/team/app/blobs/uploads/1?_state=a%2Fb";

#[test]
fn every_blob_arrives_once_and_the_tag_comes_last() {
    let shelf = Shelf::default();
    let known = shelf.clone();
    let server = Server::start(move |request| known.answer(request, PLACE));
    let client = Client::of(&server);
    let export = exported(&client, None);
    pushed(&client, &name(&server), &export).unwrap();
    for blob in export
        .blobs()
        .filter(|blob| blob.digest() != export.image().unwrap().digest())
    {
        let stored = shelf.get(&blob.digest().to_string()).expect("a blob");
        assert_eq!(Digest::of(&stored), *blob.digest());
    }
    let requests = server.requests();
    let uploads = requests.iter().filter(|request| request.method == "PUT");
    assert_eq!(uploads.count(), 4, "two layers, configuration, manifest");
    assert!(
        requests
            .iter()
            .filter(|request| request.path.contains("uploads/1"))
            .all(
                |request| request.path.contains("_state=a%2Fb&digest=sha256%3A")
                    && request.header("content-length") == Some(&request.bytes.len().to_string())
            ),
        "{requests:?}"
    );
    let last = requests.last().unwrap();
    assert_eq!(last.path, "/v2/team/app/manifests/latest");
    assert_eq!(
        last.header("content-type"),
        Some(MediaType::OciManifest.as_str())
    );
    assert_eq!(last.bytes, export.manifest_bytes());
    // The second time nothing but the tag is sent.
    pushed(&client, &name(&server), &export).unwrap();
    let again = &server.requests()[requests.len()..];
    assert!(again.iter().all(|request| request.method != "POST"));
    let reused = |event: &&TransferEvent| matches!(event, TransferEvent::LayerReused { .. });
    assert_eq!(
        client.events.lock().unwrap().iter().filter(reused).count(),
        3
    );
}

#[test]
fn the_docker_format_is_sent_in_dockers_types() {
    let shelf = Shelf::default();
    let known = shelf.clone();
    let server = Server::start(move |request| known.answer(request, PLACE));
    let client = Client::of(&server);
    pushed(
        &client,
        &name(&server),
        &exported(&client, Some(Format::Docker)),
    )
    .unwrap();
    let manifest = String::from_utf8(shelf.get("latest").unwrap()).unwrap();
    assert!(!manifest.contains("vnd.oci"), "{manifest}");
    let last = server.requests().pop().unwrap();
    assert_eq!(
        last.header("content-type"),
        Some(MediaType::DockerManifest.as_str())
    );
}

#[test]
fn f17_what_may_pass_is_tried_again_and_the_rest_is_not() {
    let shelf = Shelf::default();
    let count = Arc::new(Mutex::new(0));
    let known = shelf.clone();
    let server = Server::start(move |request| {
        let mut count = count.lock().unwrap();
        *count += usize::from(request.method == "PUT" || request.method == "POST");
        match *count % 3 {
            1 if request.method != "HEAD" => Reply::status(503),
            2 if request.method == "PUT" => Reply::reset(),
            _ => known.answer(request, PLACE),
        }
    });
    let mut client = Client::of(&server);
    client.options.tries = 12;
    client.options.parallel = 1;
    let export = exported(&client, None);
    pushed(&client, &name(&server), &export).unwrap();
    assert_eq!(shelf.get("latest").unwrap(), export.manifest_bytes());

    let refusing = Server::start(|request| match request.method.as_str() {
        "GET" => Reply::status(200),
        "POST" => Reply::status(405),
        _ => Reply::status(404),
    });
    let client = Client::of(&refusing);
    let error = pushed(&client, &name(&refusing), &exported(&client, None)).unwrap_err();
    assert!(
        matches!(error, RegistryError::Status { status: 405, .. }),
        "{error}"
    );
    assert!(
        error.to_string().starts_with("push blob sha256:"),
        "{error}"
    );
}

#[test]
fn f21_uploads_that_are_lost_are_made_again_and_the_manifest_waits_for_them() {
    // The first upload is taken but its answer lost, the second one forgotten.
    let shelf = Shelf::default();
    let (known, count) = (shelf.clone(), Arc::new(Mutex::new(0)));
    let server = Server::start(move |request| {
        let answer = || known.answer(request, PLACE);
        if request.method != "PUT" || request.path.contains("manifests") {
            return answer();
        }
        let mut count = count.lock().unwrap();
        *count += 1;
        match *count {
            1 => {
                answer();
                Reply::reset()
            }
            2 => Reply::status(404),
            _ => answer(),
        }
    });
    let mut client = Client::of(&server);
    client.options.parallel = 1;
    let export = exported(&client, None);
    pushed(&client, &name(&server), &export).unwrap();
    assert_eq!(shelf.get("latest").unwrap(), export.manifest_bytes());
    let uploads = server.requests().into_iter();
    let uploads = uploads.filter(|request| request.path.contains("uploads/1"));
    assert_eq!(
        uploads.count(),
        4,
        "the lost one was found, the forgotten one made again"
    );

    // What cannot get better is said at once, and the tag stays as it is.
    for (reply, said) in [
        (Reply::status(202), "nowhere to upload to"),
        (Reply::status(413), "413"),
    ] {
        let server = Server::start(move |request| match request.method.as_str() {
            "GET" => Reply::status(200),
            "POST" => reply.clone(),
            _ => Reply::status(404),
        });
        let client = Client::of(&server);
        let error = pushed(&client, &name(&server), &exported(&client, None)).unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
        let requests = server.requests();
        assert!(requests.iter().all(|request| request.method != "PUT"));
    }
}

#[test]
fn an_index_is_pushed_after_its_images() {
    let shelf = Shelf::default();
    let known = shelf.clone();
    let server = Server::start(move |request| known.answer(request, PLACE));
    let client = Client::of(&server);
    let other = {
        let config = ImageConfig::new(&Platform::linux("arm64"));
        let image = Image::compose(&config, Vec::new(), BTreeMap::new()).unwrap();
        let (gzip, one) = (Compression::Gzip, NonZeroUsize::MIN);
        Export::new(&client.store, &image, gzip, None, one).unwrap()
    };
    let exports = [exported(&client, None), other];
    let shipment = Shipment::of_index(&exports, BTreeMap::new(), BTreeMap::new());
    let reference: Reference = name(&server).parse().unwrap();
    let access = Access {
        reference: &reference,
        credentials: &client.credentials,
        options: &client.options,
        progress: &|_| {},
    };
    push(access, &shipment, None).unwrap();
    for export in &exports {
        let manifest = shelf.get(&export.image().unwrap().digest().to_string());
        assert_eq!(manifest.unwrap(), export.manifest_bytes());
    }
    assert_eq!(
        shelf.get("latest").as_ref(),
        shipment.index().map(|(_, bytes)| bytes)
    );
    let last = server.requests().pop().unwrap();
    assert_eq!(last.path, "/v2/team/app/manifests/latest");
    assert_eq!(
        last.header("content-type"),
        Some(MediaType::OciIndex.as_str())
    );
}

#[test]
fn a_registry_that_reads_nothing_is_given_up() {
    let server = Server::start(|request| match request.method.as_str() {
        "GET" => Reply::status(200),
        "POST" => Reply::status(202).header("location", PLACE),
        "PUT" => Reply::silence(Duration::from_secs(30)),
        _ => Reply::status(404),
    });
    let mut client = Client::of(&server);
    client.options.tries = 1;
    client.options.stall_timeout = Duration::from_millis(60);
    let error = pushed(&client, &name(&server), &exported(&client, None)).unwrap_err();
    assert!(matches!(error, RegistryError::Network { .. }), "{error}");
}

/// A registry that wants a password for everything.
fn guarded(shelf: Shelf, place: impl Fn() -> String + Send + Sync + 'static) -> Server {
    Server::start(move |request| {
        if request.header("authorization") != Some(BASIC) {
            return Reply::status(401).header("www-authenticate", "Basic realm=\"x\"");
        }
        shelf.answer(request, &place())
    })
}

#[test]
fn s55_an_upload_elsewhere_gets_the_blob_but_no_password() {
    let elsewhere = Shelf::default();
    let taken = elsewhere.clone();
    let other = Server::start(move |request| taken.answer(request, ""));
    // The same host under another port is another place.
    let place = format!("http://{}/bucket/x", other.host());
    let server = guarded(Shelf::default(), move || place.clone());
    let client = Client::with_password(&server);
    pushed(&client, &name(&server), &exported(&client, None)).unwrap();
    let uploads = other.requests();
    assert_eq!(uploads.len(), 3);
    assert!(
        uploads
            .iter()
            .all(|request| request.header("authorization").is_none()),
        "{uploads:?}"
    );
    let own = server.requests();
    assert!(
        own.iter()
            .filter(|request| request.method != "GET")
            .all(|request| request.header("authorization") == Some(BASIC))
    );
}

#[test]
fn s60_an_upload_place_inside_or_with_a_password_is_refused() {
    for place in [
        "http://169.254.169.254/x",
        "http://localhost:1/x",
        "http://user:pw@127.0.0.1/x",
        "ftp://127.0.0.1/x",
    ] {
        let server = guarded(Shelf::default(), || place.to_owned());
        let client = Client::with_password(&server);
        let error = pushed(&client, &name(&server), &exported(&client, None)).unwrap_err();
        assert!(
            matches!(error, RegistryError::Upload { .. }),
            "{place}: {error}"
        );
    }
}

#[test]
fn a_redirected_upload_is_not_followed() {
    let thief = Server::start(|_| Reply::status(201));
    let target = format!("http://{}/", thief.host());
    let server = Server::start(move |request| match request.method.as_str() {
        "GET" => Reply::status(200),
        "POST" => Reply::status(307).header("location", &target),
        _ => Reply::status(404),
    });
    let client = Client::with_password(&server);
    let error = pushed(&client, &name(&server), &exported(&client, None)).unwrap_err();
    assert!(
        matches!(error, RegistryError::Status { status: 307, .. }),
        "{error}"
    );
    assert_eq!(thief.requests().len(), 0);
}

#[test]
fn the_token_is_asked_for_pushing_and_renewed_when_it_is_too_old() {
    let shelf = Shelf::default();
    let known = shelf.clone();
    let tokens = Arc::new(Mutex::new(0));
    let server = Server::start(move |request| {
        let mut tokens = tokens.lock().unwrap();
        if request.path.starts_with("/token") {
            *tokens += 1;
            return Reply::ok(format!("{{\"token\":\"t{tokens}\"}}").as_bytes());
        }
        // The first token is good for one request only.
        let good = request.header("authorization") == Some(&format!("Bearer t{tokens}"))
            && (*tokens > 1 || request.method == "GET");
        if good {
            return known.answer(request, PLACE);
        }
        let host = request.header("host").unwrap();
        Reply::status(401).header(
            "www-authenticate",
            &format!("Bearer realm=\"http://{host}/token\",service=\"s\""),
        )
    });
    let mut client = Client::with_password(&server);
    client.options.parallel = 1;
    pushed(&client, &name(&server), &exported(&client, None)).unwrap();
    assert!(shelf.get("latest").is_some());
    let token = server
        .requests()
        .into_iter()
        .find(|request| request.path.starts_with("/token"))
        .unwrap();
    assert!(
        token
            .path
            .contains("scope=repository%3Ateam%2Fapp%3Apull%2Cpush"),
        "{}",
        token.path
    );
    assert_eq!(token.header("authorization"), Some(BASIC));
}

#[test]
fn a_damaged_layer_is_not_pushed() {
    let server = Server::start(|request| Shelf::default().answer(request, PLACE));
    let mut client = Client::of(&server);
    client.options.tries = 1;
    let image = sample(&client.store);
    let export = Export::new(
        &client.store,
        &image,
        Compression::None,
        None,
        NonZeroUsize::MIN,
    )
    .unwrap();
    let path = client.store.blob_path(image.layers()[0].diff_id.digest());
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[9] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let error = pushed(&client, &name(&server), &export).unwrap_err();
    assert!(matches!(error, RegistryError::Image(_)), "{error}");
    assert!(
        server
            .requests()
            .iter()
            .all(|request| !request.path.contains("manifests"))
    );
}

#[test]
fn the_real_registry_takes_what_we_push_and_gives_it_back() {
    let Some(registry) = RealRegistry::start_guarded() else {
        return say_skipped("/usr/bin/docker-registry is not installed or does not start");
    };
    let server = Server::start(|_| Reply::status(404));
    let client = |credentials| Client {
        credentials,
        options: RegistryOptions {
            insecure: vec![registry.host()],
            tries: 1,
            ..RegistryOptions::default()
        },
        ..Client::of(&server)
    };
    let name = format!("{}/team/app:v1", registry.host());
    let stranger = client(Credentials::Anonymous);
    let error = pushed(&stranger, &name, &exported(&stranger, None)).unwrap_err();
    assert!(
        matches!(error, RegistryError::Denied { .. }) && error.to_string().contains("log in"),
        "{error}"
    );
    let known = Credentials::Basic {
        username: "user".into(),
        password: "U*U".into(),
    };
    let writer = client(known.clone());
    let export = exported(&writer, None);
    pushed(&writer, &name, &export).unwrap();
    pushed(&writer, &name, &export).unwrap();
    assert_eq!(client(known).pull(&name).unwrap(), export.image().unwrap());
}
