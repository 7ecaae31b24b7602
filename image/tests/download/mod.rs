//! Layers whose transfer breaks: what is asked for again, how often, and what is refused however it is sent.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use image::{RegistryError, TransferEvent};
use rbuild_image as image;

use crate::fake::{Reply, Request, Server};
use crate::{BASIC, Client, Sample, name, noise};

/// What `bytes=N-` asks for.
fn wanted(request: &Request) -> Option<usize> {
    let range = request.header("range")?.strip_prefix("bytes=")?;
    range.strip_suffix('-')?.parse().ok()
}

/// The part of a blob that is asked for.
fn part(blob: &[u8], request: &Request) -> Reply {
    let Some(at) = wanted(request) else {
        return Reply::ok(blob);
    };
    let mut reply = Reply::status(206).header(
        "content-range",
        &format!("bytes {at}-{}/{}", blob.len() - 1, blob.len()),
    );
    reply.body = blob[at..].to_vec();
    reply
}

/// A registry with one large layer; `answer` is asked for it with the number of the request.
fn serving(
    tar: &[u8],
    answer: impl Fn(usize, &[u8], &Request) -> Reply + Send + Sync + 'static,
) -> Server {
    let sample = Sample::new(&[tar]);
    let layer = sample.layer(0);
    let count = Mutex::new(0);
    Server::start(move |request| {
        if !request.path.contains(&layer) {
            return sample.answer(request);
        }
        let mut count = count.lock().unwrap();
        *count += 1;
        answer(*count, &sample.blobs[&layer], request)
    })
}

/// Where each request for a layer begins.
fn beginnings(server: &Server) -> Vec<Option<usize>> {
    let requests = server.requests();
    let layers = requests
        .iter()
        .filter(|request| request.path.contains("/blobs/"));
    // The first blob is the configuration.
    layers.skip(1).map(wanted).collect()
}

#[test]
fn f18_a_broken_layer_is_taken_up_where_it_broke() {
    let tar = noise(3_000_000);
    for cut in [1, 1_000_000] {
        let server = serving(&tar, move |count, blob, request| match count {
            1 => Reply::ok(blob).cut(cut),
            _ => part(blob, request),
        });
        let client = Client::of(&server);
        client.pull(&name(&server)).unwrap();
        let at = beginnings(&server);
        assert_eq!(at.len(), 2);
        let resumed = at[1].expect("a part is asked for");
        assert!(resumed > 0 && resumed <= cut, "{resumed} of {cut}");
    }
}

#[test]
fn f18_a_connection_closed_early_is_taken_up_too() {
    let server = serving(&noise(500_000), |count, blob, request| match count {
        1 => Reply::ok(&blob[..200_000]),
        _ => part(blob, request),
    });
    let client = Client::of(&server);
    client.pull(&name(&server)).unwrap();
    assert_eq!(beginnings(&server), [None, Some(200_000)]);
}

#[test]
fn f18_a_server_that_sends_no_parts_sends_all_once_more() {
    for status in [200, 206, 416] {
        let server = serving(&noise(500_000), move |count, blob, request| {
            match (count, status) {
                (1, _) => Reply::ok(blob).cut(100_000),
                (2, 206) => {
                    // Another part than the one that was asked for.
                    let mut reply = Reply::status(206).header("content-range", "bytes 7-99/100");
                    reply.body = blob[7..].to_vec();
                    reply
                }
                (2, 416) => Reply::status(416),
                _ if wanted(request).is_some() && status != 200 => Reply::status(400),
                _ => Reply::ok(blob),
            }
        });
        let client = Client::of(&server);
        client
            .pull(&name(&server))
            .unwrap_or_else(|error| panic!("{status}: {error}"));
        assert_eq!(client.retries(), 1, "{status}");
    }
}

#[test]
fn f19_a_resumed_layer_with_wrong_bytes_is_refused_after_one_more_try() {
    let server = serving(&noise(500_000), |count, blob, request| {
        let mut reply = part(blob, request);
        let last = reply.body.len() - 20;
        reply.body[last] ^= 1;
        if count % 2 == 1 {
            reply.cut(100_000)
        } else {
            reply
        }
    });
    let client = Client::of(&server);
    let error = client.pull(&name(&server)).unwrap_err();
    assert!(matches!(error, RegistryError::Layer(_)), "{error}");
    assert_eq!(beginnings(&server).len(), 4);
    client.assert_empty();
}

#[test]
fn f16_a_layer_that_always_breaks_is_given_up() {
    let server = serving(&noise(500_000), |_, blob, request| {
        part(blob, request).cut(1000)
    });
    let client = Client::of(&server);
    let error = client.pull(&name(&server)).unwrap_err();
    assert!(matches!(error, RegistryError::Network { .. }), "{error}");
    assert_eq!(beginnings(&server).len(), 4);
    client.assert_empty();
}

#[test]
fn f16_a_layer_that_breaks_often_but_moves_on_arrives() {
    let server = serving(&noise(9_000_000), |_, blob, request| {
        let reply = part(blob, request);
        let len = reply.body.len();
        reply.cut(len.min(1_500_000))
    });
    let client = Client::of(&server);
    client.pull(&name(&server)).unwrap();
    assert!(client.retries() >= 5, "{}", client.retries());
}

#[test]
fn f17_a_layer_waits_as_long_as_it_is_told_to() {
    let waits = |header: &'static str| {
        let server = serving(b"one", move |count, blob, _| match count {
            1 => Reply::status(429).header("retry-after", header),
            _ => Reply::ok(blob),
        });
        let client = Client::of(&server);
        let started = Instant::now();
        client.pull(&name(&server)).unwrap();
        let events = client.events.lock().unwrap();
        let wait = events.iter().find_map(|event| match event {
            TransferEvent::Retrying { wait, .. } => Some(*wait),
            _ => None,
        });
        (wait.unwrap(), started.elapsed())
    };
    assert_eq!(waits("0").0, Duration::ZERO);
    let (told, took) = waits("1");
    assert!(told == Duration::from_secs(1) && took >= told);
    // Nonsense counts as nothing: the client's own, shorter wait.
    assert!(waits("-5").0 < Duration::from_millis(100));
}

#[test]
fn f20_a_layer_that_stalls_half_way_is_taken_up_again() {
    let server = serving(&noise(300_000), |count, blob, request| match count {
        1 => Reply::ok(blob).stall_at(150_000, Duration::from_secs(3)),
        _ => part(blob, request),
    });
    let client = Client::of(&server);
    client.pull(&name(&server)).unwrap();
    assert_eq!(beginnings(&server)[1], Some(150_000));
}

#[test]
fn s60_a_redirect_inside_is_refused_for_layers() {
    let inside = Server::start(|_| Reply::ok(b"gotcha"));
    let target = format!("http://localhost:{}/latest/meta-data", inside.port());
    let server = serving(b"one", move |_, _, _| {
        Reply::status(307).header("location", &target)
    });
    let mut client = Client::of(&server);
    client.options.tries = 1;
    assert!(matches!(
        client.pull(&name(&server)).unwrap_err(),
        RegistryError::Network { .. }
    ));
    assert_eq!(inside.requests().len(), 0);
    client.assert_empty();
}

#[test]
fn s56_a_layer_that_is_taken_up_elsewhere_takes_no_password_along() {
    let tar = noise(300_000);
    let sample = Sample::new(&[&tar]);
    let blob = sample.blobs[&sample.layer(0)].clone();
    let layer = sample.layer(0);
    let other = Server::start(move |request| match wanted(request) {
        None => Reply::ok(&blob).cut(100_000),
        Some(_) => part(&blob, request),
    });
    let host = other.host();
    let server = Server::start(move |request| {
        if request.header("authorization") != Some(BASIC) {
            return Reply::status(401).header("www-authenticate", "Basic realm=\"x\"");
        }
        match request.path.contains(&layer) {
            true => Reply::status(307).header("location", &format!("http://{host}/blob")),
            false => sample.answer(request),
        }
    });
    Client::with_password(&server).pull(&name(&server)).unwrap();
    let requests = other.requests();
    assert_eq!(requests.len(), 2);
    let mut shown = requests
        .iter()
        .map(|request| request.header("authorization"));
    assert!(shown.all(|header| header.is_none()));
}

#[test]
fn an_expired_token_is_renewed_for_a_layer() {
    let sample = Sample::new(&[b"one"]);
    let layer = sample.layer(0);
    let given = Mutex::new(0);
    let host = Mutex::new(String::new());
    let server = Server::start(move |request| {
        if request.path.starts_with("/token") {
            *given.lock().unwrap() += 1;
            let token = format!("{{\"token\":\"t{}\"}}", given.lock().unwrap());
            return Reply::ok(token.as_bytes());
        }
        *host.lock().unwrap() = request.header("host").unwrap_or_default().to_owned();
        let fresh = if request.path.contains(&layer) {
            "Bearer t2"
        } else {
            "Bearer t1"
        };
        if request.header("authorization") != Some(fresh) {
            let challenge = format!("Bearer realm=\"http://{}/token\"", host.lock().unwrap());
            return Reply::status(401).header("www-authenticate", &challenge);
        }
        sample.answer(request)
    });
    Client::of(&server).pull(&name(&server)).unwrap();
    let tokens = server.requests();
    let tokens = tokens
        .iter()
        .filter(|request| request.path.starts_with("/token"));
    assert_eq!(tokens.count(), 2);
}
