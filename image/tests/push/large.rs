//! What saves sending: blobs that are known, taken over from another repository, or sent in chunks of which one is lost.

use super::*;

/// An image with one layer of more than one chunk.
fn large(client: &Client) -> Image {
    let tar = noise(20_000_000);
    let mut config = ImageConfig::new(&Platform::linux("amd64"));
    let digest = client.store.put(&tar).unwrap();
    config.rootfs.diff_ids.push(DiffId::new(digest));
    let layers = vec![Descriptor::of(MediaType::OciLayer, &tar)];
    let image = Image::compose(&config, layers, BTreeMap::new()).unwrap();
    client.store.add_image(&image, &[]).unwrap();
    image
}

/// These tests move megabytes through a slow server on a busy machine, and are about no stall.
fn patient(server: &Server) -> Client {
    let mut client = Client::of(server);
    client.options.stall_timeout = Duration::from_secs(20);
    client
}

fn packed<'s>(client: &'s Client, image: &Image) -> Export<'s> {
    let gzip = Compression::Gzip;
    Export::new(&client.store, image, gzip, None, NonZeroUsize::MIN).unwrap()
}

fn uploads(server: &Server, method: &str) -> Vec<Request> {
    let requests = server.requests().into_iter();
    requests
        .filter(|request| request.method == method && request.path.contains("/uploads/"))
        .collect()
}

macro_rules! real {
    () => {
        match RealRegistry::start() {
            // A server's thread outlives the test, which must not keep the registry.
            Some(registry) => Arc::new(registry),
            None => {
                return say_skipped("/usr/bin/docker-registry is not installed or does not start")
            }
        }
    };
}

#[test]
fn f21_what_is_too_large_as_a_whole_goes_in_chunks() {
    let registry = real!();
    let behind = Arc::downgrade(&registry);
    let server = Server::start(move |request| {
        let whole = request.method == "PUT" && request.bytes.len() > 10_000_000;
        if whole {
            return Reply::status(413);
        }
        behind.upgrade().unwrap().forward(request, &request.bytes)
    });
    let client = patient(&server);
    let image = large(&client);
    let export = packed(&client, &image);
    pushed(&client, &name(&server), &export).unwrap();
    let chunks = uploads(&server, "PATCH");
    assert_eq!(chunks.len(), 3);
    assert_eq!(chunks[1].header("content-range"), Some("8388608-16777215"));
    let other = patient(&server);
    assert_eq!(other.pull(&name(&server)).unwrap(), export.image().unwrap());
}

#[test]
fn f21_a_broken_chunk_is_sent_on_from_where_the_registry_has_it() {
    let shelf = Shelf::default();
    let (known, arrived) = (shelf.clone(), Mutex::new(Vec::new()));
    let server = Server::start(move |request| {
        let mut arrived = arrived.lock().unwrap();
        let at_upload = request.path.contains("/uploads/1");
        match request.method.as_str() {
            "PUT" if at_upload && request.bytes.len() > 10_000_000 => Reply::reset(),
            "PUT" if at_upload && request.bytes.is_empty() => {
                let whole = Request {
                    bytes: std::mem::take(&mut arrived),
                    ..request.clone()
                };
                known.answer(&whole, PLACE)
            }
            "PATCH" => {
                let from = format!("{}-", arrived.len());
                if !request.header("content-range").unwrap().starts_with(&from) {
                    return Reply::status(416);
                }
                let broken = arrived.is_empty();
                let len = if broken {
                    5_000_000
                } else {
                    request.bytes.len()
                };
                arrived.extend(&request.bytes[..len]);
                match broken {
                    true => Reply::reset(),
                    false => Reply::status(202).header("location", PLACE),
                }
            }
            "GET" if at_upload => Reply::status(204)
                .header("range", &format!("0-{}", arrived.len() - 1))
                .header("location", PLACE),
            _ => known.answer(request, PLACE),
        }
    });
    let client = patient(&server);
    let image = large(&client);
    let export = packed(&client, &image);
    pushed(&client, &name(&server), &export).unwrap();
    let ranges: Vec<_> = uploads(&server, "PATCH")
        .iter()
        .map(|chunk| chunk.header("content-range").unwrap().to_owned())
        .collect();
    assert_eq!(ranges[..2], ["0-8388607", "5000000-13388607"]);
    let layer = export.content().next().unwrap();
    let got = shelf.get(&layer.digest().to_string()).expect("the layer");
    assert_eq!(Digest::of(&got), *layer.digest());
}

#[test]
fn f21_a_registry_that_cannot_go_on_gets_the_blob_from_the_start() {
    let registry = real!();
    let behind = Arc::downgrade(&registry);
    let broken = Mutex::new(0);
    let server = Server::start(move |request| {
        let bytes = &request.bytes;
        let mut broken = broken.lock().unwrap();
        if request.method == "PUT" && bytes.len() > 10_000_000 && *broken == 0 {
            *broken = 1;
            return Reply::reset();
        }
        if request.method == "PATCH" && *broken == 1 {
            *broken = 2;
            // Half of a chunk arrives, which docker-registry does not want to hear of later.
            behind
                .upgrade()
                .unwrap()
                .forward(request, &bytes[..5_000_000]);
            return Reply::reset();
        }
        behind.upgrade().unwrap().forward(request, bytes)
    });
    let client = patient(&server);
    let image = large(&client);
    let export = packed(&client, &image);
    pushed(&client, &name(&server), &export).unwrap();
    assert_eq!(
        patient(&server).pull(&name(&server)).unwrap(),
        export.image().unwrap()
    );
}

#[test]
fn a_blob_of_a_neighbour_is_taken_over() {
    let registry = real!();
    let behind = Arc::downgrade(&registry);
    let server =
        Server::start(move |request| behind.upgrade().unwrap().forward(request, &request.bytes));
    let client = patient(&server);
    let image = sample(&client.store);
    pushed(&client, &name(&server), &packed(&client, &image)).unwrap();
    assert_eq!(uploads(&server, "PUT").len(), 3);
    let other = format!("{}/other/app", server.host());
    pushed(&client, &other, &packed(&client, &image)).unwrap();
    // The configuration is small, and nobody remembers where it is.
    assert_eq!(uploads(&server, "PUT").len(), 4);
    patient(&server).pull(&other).unwrap();
}

#[test]
fn f21_a_blob_that_is_not_handed_over_is_sent() {
    for status in [202, 400, 405, 404] {
        // Each repository has its own shelf.
        let shelves = [Shelf::default(), Shelf::default()];
        let server = Server::start(move |request| {
            let other = request.path.contains("/other/");
            if request.path.contains("?mount=") {
                return Reply::status(status)
                    .header("location", "/v2/other/app/blobs/uploads/1?x=y");
            }
            let place = if other {
                "/v2/other/app/blobs/uploads/1?x=y"
            } else {
                PLACE
            };
            shelves[usize::from(other)].answer(request, place)
        });
        let client = patient(&server);
        let image = sample(&client.store);
        pushed(&client, &name(&server), &packed(&client, &image)).unwrap();
        let other = format!("{}/other/app", server.host());
        pushed(&client, &other, &packed(&client, &image)).unwrap();
        let asked = server.requests();
        let asked = asked
            .iter()
            .filter(|request| request.path.contains("?mount="));
        assert_eq!(asked.count(), 2, "{status}");
        assert_eq!(uploads(&server, "PUT").len(), 6, "{status}");
    }
}

#[test]
fn what_was_packed_before_is_not_packed_again() {
    let shelf = Shelf::default();
    let server = Server::start(move |request| shelf.answer(request, PLACE));
    let client = patient(&server);
    let image = sample(&client.store);
    pushed(&client, &name(&server), &packed(&client, &image)).unwrap();
    // Were the layers packed, this would be noticed.
    for layer in image.layers() {
        let blob = client.store.path().join("blobs/sha256");
        let path = blob.join(layer.diff_id.digest().hex());
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[0] ^= 1;
        std::fs::write(&path, bytes).unwrap();
    }
    let again = packed(&client, &image);
    pushed(&client, &name(&server), &again).unwrap();
    let blob = again.content().next().unwrap();
    assert!(
        blob.open().is_err(),
        "the damage is noticed when it is packed"
    );
}
