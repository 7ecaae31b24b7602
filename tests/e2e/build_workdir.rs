//! WORKDIR: what it makes, and whose it is.

use crate::build_oracle::Site;

/// The same steps in layers (no RUN) and in trees.
fn both(site: &Site, steps: &str) -> Vec<Vec<Vec<String>>> {
    let mut results = vec![site.build(&format!("FROM busybox\n{steps}"), &[]).layers()];
    if crate::support::can_execute() && crate::support::degree() != crate::support::Degree::NoSub {
        results.push(
            site.build(&format!("FROM busybox\nRUN true\n{steps}"), &[])
                .layers(),
        );
    }
    results
}

/// The entries, each once: in trees the directories that lead to a new one are in the layer too, the base's own among them.
fn made(layers: &[Vec<String>]) -> Vec<&str> {
    let mut made = Vec::new();
    for line in layers.iter().flatten() {
        if !line.ends_with(" .") && !made.contains(&line.as_str()) {
            made.push(line);
        }
    }
    made
}

#[test]
fn buildah_3620_missing_directories_belong_to_the_user_in_effect() {
    let site = site!();
    let steps = "WORKDIR /r/s\nUSER nobody\nWORKDIR /a/b/\nWORKDIR c\nUSER 7:8\nWORKDIR ../../d\n";
    for layers in both(&site, steps) {
        assert_eq!(
            made(&layers),
            [
                "d 0755 0:0 r",
                "d 0755 0:0 r/s",
                "d 0755 65534:65534 a",
                "d 0755 65534:65534 a/b",
                "d 0755 65534:65534 a/b/c",
                "d 0755 7:8 a/d",
            ]
        );
    }
}

#[test]
fn existing_directories_stay_as_they_are() {
    let site = site!();
    for layers in both(&site, "USER 7:8\nWORKDIR /tmp\nWORKDIR /work/\nWORKDIR /\n") {
        assert_eq!(layers, Vec::<Vec<String>>::new());
    }
}

#[test]
fn variables_are_expanded_and_the_path_is_cleaned() {
    let site = site!();
    let steps = "ARG A=one\nENV B=two\nWORKDIR //$A/./x/../${B}/\n";
    for layers in both(&site, steps) {
        assert_eq!(made(&layers), ["d 0755 0:0 one", "d 0755 0:0 one/two"]);
    }
    let built = site.build(&format!("FROM busybox\n{steps}"), &[]);
    assert_eq!(built.field("WorkingDir"), r#""/one/two""#);
}

#[test]
fn a_file_in_the_way_is_an_error() {
    let site = site!();
    let stderr = site.fails("FROM busybox\nWORKDIR /etc/passwd/x\n", &[]);
    assert!(
        stderr.contains("etc/passwd") && stderr.contains("Containerfile:2:1"),
        "{stderr}"
    );
}

#[test]
fn a_working_directory_that_is_gone_is_made_again_for_a_run() {
    let site = site!(ids);
    let file = "FROM busybox\nUSER 7:8\nWORKDIR /tmp/w/v\nRUN rm -r /tmp/w\nRUN pwd; ! touch x\nRUN true\n";
    let built = site.build(file, &[]);
    assert!(built.said("| /tmp/w/v"), "{}", built.stderr);
    let layers = built.layers();
    let last = layers.last().expect("a layer");
    assert!(
        last.contains(&"d 0755 0:0 tmp/w/v".to_owned()),
        "{layers:#?}"
    );
}
