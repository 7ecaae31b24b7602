//! `rbuild run`, its wiring: what reaches the runner, and which exit code comes back.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Degree, Place, binary, degree};

/// An image with busybox, whose user is 65532, and where it is.
fn built() -> Option<Place> {
    let base = crate::support::base("busybox")?;
    let place = Place::new();
    place.write_program("greet", "#!/bin/sh\necho hello \"$@\"\n");
    let context = format!("busybox=oci-layout:{}", base.display());
    let containerfile = "FROM busybox\nCOPY greet /greet\nUSER 65532:65532\nENTRYPOINT [\"/greet\"]\nCMD [\"world\"]\n";
    place.build(
        containerfile,
        &[
            "--build-context",
            &context,
            "--network",
            "none",
            "-t",
            "greet",
        ],
    );
    Some(place)
}

macro_rules! requires_image {
    () => {{
        requires!(execution);
        match built() {
            Some(place) => place,
            None => skip!("bases", "RBUILD_TEST_BASES has no busybox"),
        }
    }};
}

#[test]
fn arguments_take_the_place_of_cmd() {
    let place = requires_image!();
    let run = |args: &[&str]| {
        place
            .expect(0, &[&["run", "--network", "none", "greet"], args].concat())
            .0
    };
    assert_eq!(run(&[]), "hello world\n");
    assert_eq!(run(&["--network", "x"]), "hello --network x\n");
}

#[test]
fn exit_codes_are_the_containers_or_dockers() {
    let place = requires_image!();
    let shell = [
        "run",
        "--network",
        "none",
        "--entrypoint",
        "/bin/sh",
        "greet",
        "-c",
    ];
    place.expect(7, &[&shell[..], &["exit 7"]].concat());
    place.expect(
        143,
        &[
            &shell[..],
            &["kill -KILL 1; sh -c 'kill -TERM $$'; exit $?"],
        ]
        .concat(),
    );
    place.expect(
        127,
        &[
            "run",
            "--network",
            "none",
            "--entrypoint",
            "/no/such",
            "greet",
        ],
    );
    place.expect(
        126,
        &["run", "--network", "none", "--entrypoint", "/etc", "greet"],
    );
    place.expect(125, &["run", "--network", "none", "no-such-image"]);
}

#[test]
fn a_relative_volume_is_the_callers_and_its_files_too() {
    let place = requires_image!();
    fs::create_dir(place.context().join("data")).expect("a directory");
    let args = [
        "run",
        "--network",
        "none",
        "-v",
        "./data:/data",
        "-e",
        "WORD=written",
        "--entrypoint",
        "/bin/sh",
        "greet",
    ];
    place.expect(
        0,
        &[&args[..], &["-c", "id -u; echo $WORD > /data/proof"]].concat(),
    );
    let proof = place.context().join("data/proof");
    assert_eq!(fs::read_to_string(&proof).expect("the proof"), "written\n");
    let owner = fs::metadata(&proof).expect("its owner").uid();
    assert_eq!(
        owner,
        fs::metadata(place.context()).expect("the owner").uid()
    );
}

#[test]
fn an_image_of_root_runs_under_nomap_and_says_so() {
    let place = requires_image!();
    if degree() == Degree::NoSub {
        skip!("sub-ids", "nomap needs them");
    }
    let (_, stderr) = place.expect(0, &["run", "--network", "none", "-u", "0", "greet"]);
    assert!(stderr.contains("nomap"), "{stderr}");
}

#[test]
fn standard_input_reaches_the_program() {
    let place = requires_image!();
    let output = place
        .rbuild()
        .args([
            "run",
            "--network",
            "none",
            "--entrypoint",
            "/bin/cat",
            "greet",
        ])
        .write_stdin("through\n")
        .output()
        .expect("it starts");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "through\n",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn signals_are_passed_to_the_program() {
    let place = requires_image!();
    let script = "trap 'exit 42' TERM; touch /data/ready; while :; do sleep 0.05; done";
    let mut child = Command::new(binary())
        .args([
            "run",
            "--network",
            "none",
            "-v",
            ".:/data",
            "--entrypoint",
            "/bin/sh",
            "greet",
            "-c",
            script,
        ])
        .current_dir(place.context())
        .env("RBUILD_ROOT", place.store())
        .stdin(Stdio::null())
        .spawn()
        .expect("it starts");
    let deadline = Instant::now() + Duration::from_secs(30);
    while !place.context().join("ready").exists() {
        assert!(Instant::now() < deadline, "the program does not start");
        std::thread::sleep(Duration::from_millis(20));
    }
    Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status()
        .expect("kill starts");
    let status = child.wait().expect("it ends");
    assert_eq!(status.code(), Some(42));
}

#[test]
fn the_network_is_pastas_where_it_is_there() {
    requires!(pasta);
    let place = requires_image!();
    let (text, _) = place.expect(
        0,
        &[
            "run",
            "--network",
            "pasta",
            "--entrypoint",
            "/bin/ip",
            "greet",
            "-o",
            "link",
        ],
    );
    assert!(text.lines().count() > 1, "{text}");
    let (text, _) = place.expect(
        0,
        &[
            "run",
            "--network",
            "none",
            "--entrypoint",
            "/bin/ip",
            "greet",
            "-o",
            "link",
        ],
    );
    assert_eq!(text.lines().count(), 1, "{text}");
}
