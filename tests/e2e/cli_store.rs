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

fn trees(place: &Place) -> usize {
    let steps = place.store().join("trees/steps");
    std::fs::read_dir(steps).map_or(0, Iterator::count)
}

#[test]
fn prune_removes_results_of_steps_that_were_made_anew() {
    let site = site!(run);
    let file = "FROM busybox\nRUN cat /proc/sys/kernel/random/uuid >/x\nRUN cp /x /y\nUSER 1:1\n";
    let shown = |image: &str| {
        let args = ["run", "--network", "none", image, "cat", "/y"];
        site.place.expect(0, &args).0
    };
    site.build(file, &["-t", "first"]);
    let first = shown("first");
    for _ in 0..3 {
        site.build(file, &["-t", "last", "--no-cache"]);
    }
    let last = shown("last");
    assert_eq!(trees(&site.place), 8);
    let (said, _) = site.place.expect(0, &["prune"]);
    assert!(
        said.contains("removed 4 superseded results of steps"),
        "{said}"
    );
    // What records name stays, and the layers of images with a name.
    assert_eq!(trees(&site.place), 4);
    assert_eq!(site.build(file, &[]).cached(), 2);
    assert_eq!([shown("first"), shown("last")], [first, last.clone()]);
    site.place.expect(0, &["rmi", "first"]);
    site.place.expect(0, &["prune"]);
    assert_eq!(trees(&site.place), 2);
    assert_eq!(shown("last"), last);
    let (said, _) = site.place.expect(0, &["prune"]);
    assert!(!said.contains("superseded"), "{said}");
}

#[test]
fn prune_leaves_a_running_build_what_it_uses() {
    let site = site!(run);
    let started = site.place.path().join("started");
    let file =
        |rest: &str| format!("FROM busybox\nRUN cat /proc/sys/kernel/random/uuid >/x\n{rest}");
    site.build(&file(""), &[]);
    // It uses the first result while that is superseded.
    let slow = file(
        "RUN echo runs && until test -e /gate/open; do sleep 0.1; done && cp /x /y\nRUN cmp /x /y\n",
    );
    let gate = site.place.path().join("gate");
    std::fs::create_dir(&gate).expect("a directory");
    let mut command = std::process::Command::new(crate::support::binary());
    site.place.write("Slow", slow);
    command
        .current_dir(site.place.context())
        .env("RBUILD_ROOT", site.place.store())
        .env("HOME", site.place.path())
        .args([
            "build",
            "--progress",
            "plain",
            "--user-policy",
            "off",
            "--network",
            "none",
        ])
        .arg("--volume")
        .arg(format!("{}:/gate:ro", gate.display()))
        .args(["-f", "Slow", "--build-context"])
        .arg(format!("busybox=oci-layout:{}", site.busybox().display()))
        .arg(".")
        .stdout(std::process::Stdio::null())
        .stderr(std::fs::File::create(&started).expect("a log"));
    let mut building = command.spawn().expect("it starts");
    let log = || std::fs::read_to_string(&started).expect("the log");
    while !log().contains("| runs") {
        assert!(
            building.try_wait().expect("its state").is_none(),
            "{}",
            log()
        );
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    site.build(&file(""), &["--no-cache"]);
    assert_eq!(trees(&site.place), 2);
    let (said, _) = site.place.expect(0, &["prune"]);
    assert!(said.contains("removed 0 superseded"), "{said}");
    assert_eq!(trees(&site.place), 2);
    std::fs::write(gate.join("open"), "").expect("a file");
    let ended = building.wait().expect("it ends");
    assert!(ended.success(), "{}", log());
    let (said, _) = site.place.expect(0, &["prune"]);
    assert!(said.contains("removed 1 superseded"), "{said}");
}
