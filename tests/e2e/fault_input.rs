//! Bad input of the caller's own: each ends with one error that names the place, and the next build works.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::Command;
use std::time::Duration;

use crate::fault_oracle::Scene;
use crate::support::{Degree, degree};

#[test]
fn wrong_containerfiles_have_one_error_with_its_place() {
    let scene = Scene::copy_only();
    for (text, words) in [
        (
            "FROM scratch\nCOPY missing /\nUSER 1:1\n",
            &["missing", "Containerfile.bad:2"][..],
        ),
        (
            "FROM scratch\nCOPY --from=nowhere/x:1 /a /b\nNONSENSE x\n",
            &["NONSENSE", "Containerfile.bad:3"],
        ),
        (
            "FROM b AS a\nFROM a AS b\nCOPY --from=c / /\nFROM b AS c\n",
            &["Containerfile.bad:"],
        ),
        (
            "FROM scratch\nCOPY --from=5 /a /b\nUSER 1:1\n",
            &["Containerfile.bad:2"],
        ),
        (
            "FROM scratch\nCOPY\nUSER 1:1\n",
            &["COPY", "Containerfile.bad:2"],
        ),
        (
            "FROM scratch\nRUN <<EOF\nnever ended\n",
            &["EOF", "Containerfile.bad:2"],
        ),
        (
            "FROM scratch\nCOPY ../../etc/passwd /\nUSER 1:1\n",
            &["Containerfile.bad:2"],
        ),
        (
            "FROM scratch\nCOPY --frob x /\nUSER 1:1\n",
            &["frob", "Containerfile.bad:2"],
        ),
        ("", &["Containerfile.bad"]),
        ("# nothing\n", &["Containerfile.bad"]),
        (
            "COPY a b\nFROM scratch\nUSER 1:1\n",
            &["FROM", "Containerfile.bad:1"],
        ),
        (
            "FROM scratch\nUSER 0\n",
            &["USER 65532:65532", "Containerfile.bad:2"],
        ),
    ] {
        scene.place.write("Containerfile.bad", text);
        let ended = scene.build(&["-f", "Containerfile.bad"]);
        assert_eq!(ended.status.code(), Some(1), "{text:?}: {}", ended.stderr);
        ended.failed(1, words);
        assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
        scene.is_clean();
    }
    scene
        .place
        .write("Containerfile.bad", b"FROM scratch\nLABEL a=\xff\xfe\n");
    scene
        .build(&["-f", "Containerfile.bad"])
        .failed(1, &["line 2", "UTF-8"]);
    scene
        .place
        .write("Containerfile.bad", b"FROM scratch\nENV a=\0\nUSER 1:1\n");
    assert_eq!(
        scene.build(&["-f", "Containerfile.bad"]).status.code(),
        Some(1)
    );
    fs::remove_file(scene.place.context().join("Containerfile.bad")).expect("it goes");
    scene.recovers();
}

#[test]
fn wrong_names_on_the_command_line_are_named() {
    let scene = Scene::copy_only();
    fs::create_dir(scene.place.context().join("directory")).expect("a directory");
    scene.build(&["-f", "directory"]).failed(1, &["directory"]);
    scene.build(&["-f", "not-there"]).failed(1, &["not-there"]);
    scene
        .build(&["--target", "nowhere"])
        .failed(1, &["nowhere"]);
    scene.build(&["--build-context", "x=not-there-either", "--dry-run"]);
    scene.place.expect(1, &["build", "no-such-context"]);
    scene.place.expect(2, &["build", "--no-such-flag", "."]);
    let ended = scene.build(&["-f", "/dev/zero"]);
    ended.failed(1, &["/dev/zero"]);
    fs::remove_dir(scene.place.context().join("directory")).expect("it goes");
    scene.recovers();
}

#[test]
fn s35_links_out_of_the_context_show_nothing() {
    let scene = Scene::copy_only();
    let context = scene.place.context();
    let secret = scene.place.path().join("secret");
    fs::write(&secret, "top-secret-line\n[\n").expect("a file");
    for name in [
        ".containerignore",
        ".dockerignore",
        "Containerfile.containerignore",
    ] {
        symlink(&secret, context.join(name)).expect("a link");
        let ended = scene.build(&[]);
        ended.failed(1, &[name]);
        assert!(!ended.stderr.contains("top-secret"), "{}", ended.stderr);
        fs::remove_file(context.join(name)).expect("it goes");
    }
    fs::rename(context.join("Containerfile"), context.join("good")).expect("it moves");
    symlink(&secret, context.join("Containerfile")).expect("a link");
    let ended = scene.build(&[]);
    ended.failed(1, &["Containerfile"]);
    assert!(!ended.stderr.contains("top-secret"), "{}", ended.stderr);
    fs::rename(context.join("good"), context.join("Containerfile")).expect("it moves");
    symlink(&secret, context.join("link")).expect("a link");
    scene
        .place
        .write("Bad", "FROM scratch\nCOPY link/ /a\nUSER 1:1\n");
    let ended = scene.build(&[
        "-f",
        "Bad",
        "-o",
        "type=tar,dest=../out.tar",
        "-o",
        "type=store",
    ]);
    if ended.status.success() {
        let tar = fs::read(scene.place.path().join("out.tar")).expect("it");
        assert!(!String::from_utf8_lossy(&tar).contains("top-secret"));
    }
    let named = scene.place.path().join("named");
    fs::create_dir(&named).expect("a directory");
    symlink(&secret, named.join(".dockerignore")).expect("a link");
    fs::write(named.join("f"), "x").expect("a file");
    scene
        .place
        .write("Bad", "FROM scratch\nCOPY --from=n f /f\nUSER 1:1\n");
    let of = format!("n={}", named.display());
    let ended = scene.build(&["-f", "Bad", "--build-context", &of]);
    assert!(!ended.stderr.contains("top-secret"), "{}", ended.stderr);
    for name in ["link", "Bad"] {
        fs::remove_file(context.join(name)).expect("it goes");
    }
    scene.recovers();
}

#[test]
fn f33_fifos_in_a_context_are_never_waited_for() {
    let scene = Scene::copy_only();
    let context = scene.place.context();
    let fifo = |name: &str| {
        let status = Command::new("mkfifo").arg(context.join(name)).status();
        assert!(status.expect("mkfifo starts").success());
    };
    fifo("pipe");
    scene
        .place
        .write("Bad", "FROM scratch\nCOPY . /\nUSER 1:1\n");
    let ended = scene.start(&["-f", "Bad"]).end(Duration::from_secs(20));
    assert!(ended.status.success(), "{}", ended.stderr);
    fifo(".dockerignore");
    let ended = scene.start(&["-f", "Bad"]).end(Duration::from_secs(20));
    ended.failed(1, &[".dockerignore"]);
    for name in ["pipe", ".dockerignore", "Bad"] {
        fs::remove_file(context.join(name)).expect("it goes");
    }
    scene.place.expect(0, &["prune", "--all"]);
    scene.recovers();
}

#[test]
fn what_cannot_be_read_is_named_as_the_context_knows_it() {
    if degree() == Degree::Root {
        skip!("degree", "root reads everything");
    }
    let scene = Scene::copy_only();
    let closed = |name: &str, mode| {
        let path = scene.place.context().join(name);
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("its mode");
    };
    for (name, mode) in [("data/a", 0o644), ("data/c", 0o755)] {
        closed(name, 0);
        let ended = scene.build(&["--no-cache"]);
        ended.failed(1, &[name, "ermission denied", "Containerfile:2"]);
        assert!(
            !ended
                .stderr
                .contains(&scene.place.path().display().to_string()),
            "{}",
            ended.stderr
        );
        closed(name, mode);
        scene.is_clean();
    }
    closed("", 0o300);
    scene.place.expect(1, &["build", "."]);
    closed("", 0o755);
    scene.recovers();
}
