//! `images`, `inspect`, `rmi` and `prune`, on an image without RUN: works in every degree.

use crate::support::Place;

fn built() -> (Place, String) {
    let place = Place::new();
    place.write("hello.txt", "hello\n");
    let id = place.build(
        "FROM scratch\nCOPY hello.txt /\nUSER 65532:65532\n",
        &["-t", "hello:1", "-t", "hello:2"],
    );
    (place, id)
}

#[test]
fn images_lists_names_ids_and_users() {
    let (place, id) = built();
    let (text, _) = place.expect(0, &["images"]);
    assert!(text.starts_with("NAME"), "{text}");
    assert!(
        text.contains("hello:1") && text.contains("hello:2") && text.contains("65532:65532"),
        "{text}"
    );
    let (json, _) = place.expect(0, &["images", "--format", "json"]);
    assert!(json.contains(&id), "{json}");
}

#[test]
fn inspect_shows_configuration_and_files() {
    let (place, id) = built();
    let (text, _) = place.expect(0, &["inspect", "hello:1"]);
    assert!(text.contains(&id) && text.contains("65532:65532"), "{text}");
    let (files, _) = place.expect(0, &["inspect", "hello:1", "--files"]);
    assert!(files.contains("0:0 6 /hello.txt"), "{files}");
    let (json, _) = place.expect(0, &["inspect", &id, "--format", "json"]);
    assert!(json.contains("\"diff_ids\""), "{json}");
}

#[test]
fn rmi_takes_a_name_and_the_image_with_its_last_one() {
    let (place, _) = built();
    let (text, _) = place.expect(0, &["rmi", "hello:1"]);
    assert_eq!(text, "untagged hello:1\n");
    let (text, _) = place.expect(0, &["rmi", "hello:2"]);
    assert!(text.contains("removed sha256:"), "{text}");
    let (text, _) = place.expect(0, &["images"]);
    assert_eq!(text.lines().count(), 1);
    place.expect(1, &["rmi", "hello:2"]);
}

#[test]
fn prune_frees_what_nothing_uses() {
    let (place, _) = built();
    place.expect(0, &["rmi", "hello:1", "hello:2"]);
    let (text, _) = place.expect(0, &["prune", "--all"]);
    assert!(
        text.contains("freed") && !text.contains("freed 0 B"),
        "{text}"
    );
}
