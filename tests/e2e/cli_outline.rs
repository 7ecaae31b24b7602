//! `rbuild outline`: what a Containerfile offers and takes, read without a store.

use crate::support::Place;

const FILE: &str = "\
# VERSION of the program
ARG VERSION=1
FROM registry.invalid/base:${VERSION} AS build
COPY . /src
RUN --mount=type=secret,id=token,required --mount=type=cache,target=/cache make
# tests runs them
FROM build AS tests
ADD https://example.invalid/x /
FROM scratch AS release
COPY --from=build /x /x
";

#[test]
fn targets_arguments_and_sources_are_tables() {
    let place = Place::new();
    place.write("Containerfile", FILE);
    let (text, stderr) = place.expect(0, &["outline"]);
    insta::assert_snapshot!(text);
    assert_eq!(stderr, "");
    assert!(!place.store().exists(), "it needs no store");
}

#[test]
fn one_target_as_json_lists_what_it_needs() {
    let place = Place::new();
    place.write("Containerfile", FILE);
    let args = ["outline", "--target", "release", "--format", "json", "."];
    let json: serde_json::Value = serde_json::from_str(&place.expect(0, &args).0).expect("JSON");
    assert_eq!(json["targets"][1]["name"], "release");
    assert_eq!(json["secrets"][0]["required"], true);
    assert_eq!(json["arguments"][0]["description"], "of the program");
    assert_eq!(json["urls"].as_array().map(Vec::len), Some(0));
    assert_eq!(json["context"], true);
    let (_, said) = place.expect(1, &["outline", "--target", "nothing"]);
    assert!(said.contains("\"nothing\""), "{said}");
    place.write("Containerfile", "FROM scratch\nCOPPY a b\n");
    let (_, said) = place.expect(1, &["outline"]);
    assert!(said.contains("Containerfile:2"), "{said}");
}
