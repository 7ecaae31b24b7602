//! Artifacts that refer to what is pushed: registries that list them, and those that do not.

use image::registry::referrers;
use image::{Attachment, Index};

use super::*;

/// An honest registry that gives out what it has, and lists referrers itself or not.
fn start(shelf: &Shelf, lists: bool) -> Server {
    let known = shelf.clone();
    Server::start(move |request| {
        let last = request.path.rsplit('/').next().unwrap_or_default();
        let is_document = request.path.contains("/manifests/");
        match request.method.as_str() {
            "GET" if request.path.contains("/referrers/") && lists => {
                let entry = Descriptor::of(MediaType::OciManifest, b"its own word");
                Reply::ok(&Index::new(vec![entry]).to_bytes())
            }
            "GET" if request.path.contains("/referrers/") => Reply::status(404),
            "GET" if is_document => match known.get(last) {
                Some(bytes) => Reply::ok(&bytes),
                None => Reply::status(404),
            },
            "PUT" if is_document && lists => {
                let text = String::from_utf8_lossy(&request.bytes).into_owned();
                let reply = known.answer(request, PLACE);
                match text.contains(r#""subject""#) {
                    true => reply.header("oci-subject", "sha256:0"),
                    false => reply,
                }
            }
            _ => known.answer(request, PLACE),
        }
    })
}

fn push_with(client: &Client, server: &Server, export: &Export<'_>, document: &str) {
    let attachment = Attachment::new("application/spdx+json", document.into());
    let attached = [Export::attached(&attachment, export.descriptor())];
    let reference: Reference = name(server).parse().unwrap();
    let access = Access {
        reference: &reference,
        credentials: &client.credentials,
        options: &client.options,
        progress: &|_| (),
    };
    push(access, &Shipment::from(export).with(&attached), None).unwrap();
}

fn listed(client: &Client, server: &Server, of: &Digest) -> Vec<Descriptor> {
    let reference: Reference = name(server).parse().unwrap();
    let access = Access {
        reference: &reference,
        credentials: &client.credentials,
        options: &client.options,
        progress: &|_| (),
    };
    referrers(access, of).unwrap()
}

/// The last part of the paths of what was put as manifests, in order.
fn put(server: &Server) -> Vec<String> {
    let requests = server.requests().into_iter();
    let manifests = requests.filter(|one| one.method == "PUT" && one.path.contains("/manifests/"));
    let last = |path: String| path.rsplit('/').next().unwrap_or_default().to_owned();
    manifests.map(|one| last(one.path)).collect()
}

#[test]
fn a_registry_that_lists_referrers_is_given_no_list() {
    let shelf = Shelf::default();
    let server = start(&shelf, true);
    let client = Client::of(&server);
    let export = exported(&client, None);
    push_with(&client, &server, &export, "{}");
    let digest = export.descriptor().digest;
    let put = put(&server);
    // The image by its digest, the artifact, and the tag last.
    assert_eq!(put.len(), 3, "{put:?}");
    assert_eq!(put[0], digest.to_string());
    assert_eq!(put[2], "latest");
    assert!(
        !put.contains(&format!("sha256-{}", digest.hex())),
        "{put:?}"
    );
    let found = listed(&client, &server, &digest);
    assert_eq!(found[0].digest, Digest::of(b"its own word"));
}

#[test]
fn other_registries_get_a_list_that_is_added_to() {
    let shelf = Shelf::default();
    let server = start(&shelf, false);
    let client = Client::of(&server);
    let export = exported(&client, None);
    let digest = export.descriptor().digest;
    let tag = format!("sha256-{}", digest.hex());
    assert_eq!(listed(&client, &server, &digest), []);
    // Somebody else's entry stays.
    let others = Descriptor::of(MediaType::OciManifest, b"somebody else's");
    let list = Index::new(vec![others.clone()]).to_bytes();
    shelf.0.lock().unwrap().insert(tag.clone(), list);
    for (document, count) in [("{}", 2), ("{}", 2), ("[]", 3)] {
        push_with(&client, &server, &export, document);
        let found = listed(&client, &server, &digest);
        assert_eq!(found.len(), count, "{document}: {found:?}");
        assert_eq!(found[0].digest, others.digest);
        assert_eq!(found[1].artifact_type(), Some("application/spdx+json"));
    }
    let put = put(&server);
    assert_eq!(put.last().map(String::as_str), Some("latest"));
    assert_eq!(
        put.iter().filter(|name| **name == tag).count(),
        2,
        "{put:?}"
    );
}
