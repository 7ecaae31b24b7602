//! What a registry lists, and answers that have no end.

use std::sync::Mutex;

use image::registry::{Remote, check_login};
use image::{Access, Credentials, Reference, RegistryError, Transport};
use rbuild_image as image;

use crate::fake::{Reply, Server};
use crate::{BASIC, Client, name};

fn tags(server: &Server) -> Result<Vec<String>, RegistryError> {
    let client = Client::of(server);
    let reference: Reference = name(server).parse().unwrap();
    let remote = Remote::new(&reference, &client.credentials, &client.options);
    let tags = remote.tags()?;
    Ok(tags.iter().map(|tag| tag.as_str().to_owned()).collect())
}

#[test]
fn all_pages_of_a_list_are_read_and_none_of_another_place() {
    let elsewhere = Server::start(|_| Reply::ok(br#"{"tags":["stolen"]}"#));
    let target = elsewhere.host();
    let server = Server::start(move |request| match request.path.as_str() {
        "/v2/team/app/tags/list" => Reply::ok(br#"{"name":"team/app","tags":["a","b"]}"#)
            .header("link", "</v2/team/app/tags/list?last=b&n=2>; rel=\"next\""),
        _ => Reply::ok(br#"{"tags":["c"]}"#).header(
            "link",
            &format!("<http://{target}/v2/team/app/tags/list>; rel=\"next\""),
        ),
    });
    assert_eq!(tags(&server).unwrap(), ["a", "b", "c"]);
    assert_eq!(elsewhere.requests().len(), 0);
    let none = Server::start(|_| Reply::ok(br#"{"name":"team/app","tags":null}"#));
    assert_eq!(tags(&none).unwrap().len(), 0);
}

#[test]
fn s59_an_endless_list_of_tags_is_refused() {
    let endless = Server::start(|_| Reply::ok(b"{\"tags\":[").endless());
    assert!(matches!(
        tags(&endless).unwrap_err(),
        RegistryError::TooLarge { .. }
    ));
    let count = Mutex::new(0);
    let pages = Server::start(move |_| {
        *count.lock().unwrap() += 1;
        let link = format!(
            "</v2/team/app/tags/list?last={}>; rel=\"next\"",
            count.lock().unwrap()
        );
        Reply::ok(br#"{"tags":["x"]}"#).header("link", &link)
    });
    assert!(matches!(
        tags(&pages).unwrap_err(),
        RegistryError::TooLarge { .. }
    ));
    assert_eq!(pages.requests().len(), 1000);
    for wrong in [
        r#"{"tags":["../x"]}"#,
        r#"{"tags":["\u001b[2J"]}"#,
        r#"{"tags":{}}"#,
    ] {
        let server = Server::start(move |_| Reply::ok(wrong.as_bytes()));
        assert!(tags(&server).is_err(), "{wrong}");
    }
}

#[test]
fn s59_an_endless_token_is_refused() {
    let server = Server::start(|request| {
        if request.path.starts_with("/token") {
            return Reply::ok(b"").endless();
        }
        let host = request.header("host").unwrap();
        Reply::status(401).header(
            "www-authenticate",
            &format!("Bearer realm=\"http://{host}/token\""),
        )
    });
    assert!(matches!(
        tags(&server).unwrap_err(),
        RegistryError::TooLarge { .. }
    ));
}

#[test]
fn s62_a_flood_of_headers_is_refused() {
    let server = Server::start(|_| {
        let flood = (0..5000).map(|n| format!("x-{n}"));
        flood.fold(Reply::ok(b"{}"), |reply, name| reply.header(&name, "y"))
    });
    assert!(matches!(
        tags(&server).unwrap_err(),
        RegistryError::Network { .. }
    ));
}

#[test]
fn f16_a_host_that_does_not_exist_is_named_after_a_few_tries() {
    let server = Server::start(|_| Reply::status(500));
    let client = Client::of(&server);
    let reference: Reference = "no-such-host.invalid/app".parse().unwrap();
    let remote = Remote::new(&reference, &client.credentials, &client.options);
    let error = remote.tags().unwrap_err();
    assert!(matches!(error, RegistryError::Network { .. }));
    assert!(
        error.to_string().contains("no-such-host.invalid"),
        "{error}"
    );
}

#[test]
fn a_login_asks_for_no_repository() {
    let server = Server::start(|request| match request.header("authorization") {
        Some(shown) if shown == BASIC && request.path.starts_with("/token") => {
            Reply::ok(br#"{"token":"t"}"#)
        }
        Some("Bearer t") => Reply::ok(b"{}"),
        _ if request.path.starts_with("/token") => Reply::status(401),
        _ => {
            let host = request.header("host").unwrap();
            let realm = format!("Bearer realm=\"http://{host}/token\",service=\"s\"");
            Reply::status(401).header("www-authenticate", &realm)
        }
    });
    let mut client = Client::with_password(&server);
    let reference: Reference = format!("{}/any", server.host()).parse().unwrap();
    let check = |client: &Client| {
        check_login(Access {
            reference: &reference,
            credentials: &client.credentials,
            options: &client.options,
            progress: &|_| (),
        })
    };
    check(&client).unwrap();
    let requests = server.requests();
    let token = requests
        .iter()
        .find(|request| request.path.starts_with("/token"));
    assert_eq!(token.unwrap().path, "/token?service=s");
    client.credentials = Credentials::Basic {
        username: "user".into(),
        password: "wrong".into(),
    };
    assert!(matches!(
        check(&client).unwrap_err(),
        RegistryError::Denied { .. }
    ));
}

#[test]
fn s54_a_copied_image_with_layers_elsewhere_is_refused() {
    use image::copy::{Copy, End, copy};
    let asked = Server::start(|_| Reply::ok(b"gotcha"));
    let digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let manifest = format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{digest}","size":0}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.nondistributable.v1.tar","digest":"{digest}","size":0,"urls":["http://{}/layer"]}}]}}"#,
        asked.host()
    );
    let server = Server::start(move |_| {
        Reply::ok(manifest.as_bytes())
            .header("content-type", "application/vnd.oci.image.manifest.v1+json")
    });
    let client = Client::of(&server);
    let end = End {
        credentials: &client.credentials,
        options: &client.options,
    };
    let place = tempfile::tempdir().unwrap();
    let done = copy(
        &Copy {
            store: &client.store,
            source: end,
            destination: end,
            platform: None,
            format: None,
            packing: None,
            referrers: false,
            signer: None,
            observer: &image::Unobserved,
            progress: &|_| (),
        },
        &format!("docker://{}", name(&server))
            .parse::<Transport>()
            .unwrap(),
        &Transport::Directory(place.path().join("copy")),
    );
    assert!(done.unwrap_err().to_string().contains("lies elsewhere"));
    assert_eq!(asked.requests().len(), 0);
    assert!(!place.path().join("copy").exists());
}
