//! F35 to F41: machines that lack something. What is missing is named, with what mends it, and what does not need it works.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::fault_oracle::{Ended, Running, Scene};
use crate::support::{Degree, degree};

/// rbuild in namespaces where a script took something away before.
fn after(scene: &Scene, unshare: &[&str], script: &str, more: &[&str]) -> Ended {
    let mut args = scene.args();
    args.splice(1..1, more.iter().map(|arg| (*arg).to_owned()));
    let script = format!("{script}\nexec \"$@\"");
    let before = [&["unshare"][..], unshare, &["sh", "-ec", &script, "sh"]].concat();
    Running::spawn(scene.command_after(&before, &args), scene.word()).end(Duration::from_secs(60))
}

const NO_NAMESPACES: &str = "echo 0 > /proc/sys/user/max_user_namespaces";

#[test]
fn f37_without_user_namespaces_builds_that_only_copy_work() {
    requires!(execution);
    let scene = Scene::copy_only();
    let ended = after(
        &scene,
        &["--user", "--map-root-user"],
        NO_NAMESPACES,
        &["--no-cache"],
    );
    assert!(ended.status.success(), "{}", ended.stderr);
    scene.recovers();
}

#[test]
fn f37_without_user_namespaces_run_names_the_setting() {
    requires!(execution);
    let base = requires!(base "busybox");
    let scene = Scene::with_run(base);
    let ended = after(
        &scene,
        &["--user", "--map-root-user"],
        NO_NAMESPACES,
        &["--no-cache"],
    );
    ended.failed(3, &["max_user_namespaces", "sysctl"]);
    scene.recovers();
}

#[test]
fn f41_without_a_tun_device_only_pasta_fails() {
    requires!(execution);
    requires!(pasta);
    let base = requires!(base "busybox");
    let scene = Scene::with_run(base);
    scene
        .place
        .write("One", "FROM busybox\nRUN true\nUSER 1:1\n");
    let closed = "mount -t tmpfs none /dev/net";
    let own = ["--mount", "--user", "--map-root-user"];
    let own = if degree() == Degree::Root {
        &own[..1]
    } else {
        &own[..]
    };
    for (network, code) in [("pasta", 3), ("none", 0), ("host", 0)] {
        let more = ["--no-cache", "-f", "One", "--network", network];
        let mut args = scene.args();
        args.retain(|arg| arg != "--network" && arg != "none");
        args.splice(1..1, more.map(str::to_owned));
        let script = format!("{closed}\nexec \"$@\"");
        let before = [&["unshare"][..], own, &["sh", "-ec", &script, "sh"]].concat();
        let ended = Running::spawn(scene.command_after(&before, &args), scene.word())
            .end(Duration::from_secs(60));
        match code {
            0 => assert!(ended.status.success(), "{network}: {}", ended.stderr),
            _ => drop(ended.failed(code, &["/dev/net/tun"])),
        }
    }
    fs::remove_file(scene.place.context().join("One")).expect("it goes");
    scene.recovers();
}

#[test]
fn f36_without_newuidmap_the_caution_names_it() {
    requires!(degree Degree::SubIds);
    requires!(execution);
    let base = requires!(base "busybox");
    let scene = Scene::with_run(base);
    scene
        .place
        .write("One", "FROM busybox\nRUN echo it-runs\nUSER 1:1\n");
    let bin = scene.place.path().join("bin");
    fs::create_dir(&bin).expect("a directory");
    let mut args = scene.args();
    args.splice(1..1, ["--no-cache", "-f", "One"].map(str::to_owned));
    let mut command = scene.command(&args);
    let setsid = Command::new("sh")
        .args(["-c", "command -v setsid"])
        .output()
        .expect("sh starts");
    std::os::unix::fs::symlink(
        String::from_utf8_lossy(&setsid.stdout).trim(),
        bin.join("setsid"),
    )
    .expect("a link");
    command.env("PATH", &bin);
    let ended = Running::spawn(command, scene.word()).end(Duration::from_secs(60));
    assert!(ended.stderr.contains("newuidmap"), "{}", ended.stderr);
    assert!(ended.stderr.contains("doctor"), "{}", ended.stderr);
    fs::remove_file(scene.place.context().join("One")).expect("it goes");
    scene.recovers();
}

#[test]
fn f35_without_sub_ids_the_caution_names_the_file() {
    requires!(degree Degree::NoSub);
    requires!(execution);
    let base = requires!(base "busybox");
    let scene = Scene::copy_only();
    let context = format!("busybox=oci-layout:{}", base.display());
    scene
        .place
        .write("One", "FROM busybox\nRUN echo it-runs\nUSER 1:1\n");
    let ended = scene.build(&["-f", "One", "--build-context", &context]);
    assert!(ended.status.success(), "{}", ended.stderr);
    assert!(ended.stderr.contains("/etc/subuid"), "{}", ended.stderr);
    fs::remove_file(scene.place.context().join("One")).expect("it goes");
    scene.place.expect(0, &["prune", "--all"]);
    scene.recovers();
}

#[test]
fn f40_environments_of_all_kinds() {
    let scene = Scene::copy_only();
    let context_before = fs::read_dir(scene.place.context()).expect("it").count();
    let store = scene.place.store().display().to_string();
    for (name, value) in [
        ("HOME", None),
        ("HOME", Some("/")),
        ("HOME", Some("relative")),
        ("TMPDIR", Some("relative")),
        ("TMPDIR", Some("/nowhere")),
        ("XDG_RUNTIME_DIR", None),
        ("XDG_RUNTIME_DIR", Some("/nowhere")),
        ("PATH", None),
        ("LANG", Some("\u{fffd}")),
    ] {
        let mut command =
            scene.command(&[&["--root".to_owned(), store.clone()], &scene.args()[..]].concat());
        command.env_remove("RBUILD_ROOT");
        match value {
            Some(value) => command.env(name, value),
            // A program without PATH looks in the default places.
            None => command.env_remove(name),
        };
        let ended = Running::spawn(command, scene.word()).end(Duration::from_secs(30));
        assert!(ended.status.success(), "{name}={value:?}: {}", ended.stderr);
        scene.is_clean();
        assert_eq!(
            fs::read_dir(scene.place.context()).expect("it").count(),
            context_before,
            "{name}={value:?} wrote here"
        );
    }
    if degree() != Degree::Root {
        for home in [Some("/"), Some("relative"), None] {
            let mut command = scene.command(&scene.args());
            command.env_remove("RBUILD_ROOT").stdin(Stdio::null());
            match home {
                Some(home) => command.env("HOME", home),
                None => command.env_remove("HOME"),
            };
            let ended = Running::spawn(command, scene.word()).end(Duration::from_secs(30));
            ended.failed(3, &[]);
            assert_eq!(
                fs::read_dir(scene.place.context()).expect("it").count(),
                context_before,
                "{home:?} wrote here"
            );
        }
    }
    scene.recovers();
}

/// A build of root's with another /etc/subuid and /etc/subgid.
fn with_ranges(scene: &Scene, ranges: &str, more: &[&str]) -> Ended {
    let file = scene.place.path().join("ranges");
    fs::write(&file, ranges).expect("the ranges");
    let file = file.display();
    let script = format!("mount --bind {file} /etc/subuid; mount --bind {file} /etc/subgid");
    after(scene, &["--mount"], &script, more)
}

#[test]
fn f35_a_new_range_counts_at_the_next_command_once_the_old_trees_are_given_up() {
    requires!(degree Degree::Root);
    requires!(execution);
    let base = requires!(base "busybox");
    let scene = Scene::with_run(base);
    let (old, new) = ("root:1000000:65536\n", "root:2000000:65536\n");
    let first = with_ranges(&scene, old, &[]);
    assert!(first.status.success(), "{}", first.stderr);
    let refused = with_ranges(&scene, new, &["--no-cache"]);
    refused.failed(3, &["1000000:65536", "2000000:65536", "usermod"]);
    let again = with_ranges(&scene, old, &["--no-cache"]);
    assert_eq!(again.stdout, first.stdout, "{}", again.stderr);
    // What the message says, word for word.
    let hint = refused
        .stderr
        .lines()
        .find_map(|line| line.split_once("sudo rm"));
    let command = hint
        .map(|(_, rest)| format!("rm{rest}"))
        .expect("a command");
    let status = Command::new("sh")
        .args(["-ec", &command])
        .current_dir(scene.place.store())
        .status()
        .expect("sh starts");
    assert!(status.success(), "{command}");
    let moved = with_ranges(&scene, new, &[]);
    assert_eq!(moved.stdout, first.stdout, "{}", moved.stderr);
    let command = format!(
        "cd {} && rm -rf trees cache id-ranges.json",
        scene.place.store().display()
    );
    assert!(
        Command::new("sh")
            .args(["-ec", &command])
            .status()
            .expect("sh starts")
            .success()
    );
    scene.recovers();
}

#[test]
fn f35_a_range_that_is_too_small_is_named_with_its_line() {
    requires!(degree Degree::SubIds);
    requires!(execution);
    // In a user namespace with a small map the caller has only those ids.
    let base = requires!(base "busybox");
    let scene = Scene::with_run(base);
    scene
        .place
        .write("One", "FROM busybox\nRUN echo it-runs\nUSER 1:1\n");
    let ended = after(
        &scene,
        &["--user", "--map-root-user"],
        "true",
        &["--no-cache", "-f", "One"],
    );
    assert!(ended.status.success(), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("own id"),
        "no caution: {}",
        ended.stderr
    );
    fs::remove_file(scene.place.context().join("One")).expect("it goes");
    scene.recovers();
}

#[test]
fn f36_newuidmap_on_a_nosuid_mount_is_named() {
    requires!(degree Degree::Root);
    requires!(execution);
    let base = requires!(base "busybox");
    let Ok(accounts) = fs::read_to_string("/etc/passwd") else {
        skip!("accounts", "no /etc/passwd");
    };
    if !accounts.contains("\nrbuild-test:") {
        skip!("accounts", "no user rbuild-test");
    }
    let scene = Scene::with_run(base.clone());
    // A store and a context of the user's own.
    let home = scene.place.path().join("home");
    let script = format!(
        "mkdir -p {home}/context; printf 'FROM busybox\\nRUN echo it-runs\\nUSER 1:1\\n' > {home}/context/Containerfile; \
         chown -R rbuild-test: {home}; chmod 755 {place}; \
         mount --bind /usr/bin /usr/bin; mount -o remount,bind,nosuid /usr/bin; cd {home}/context; \
         exec setpriv --reuid rbuild-test --regid rbuild-test --init-groups env HOME={home} USER=rbuild-test RBUILD_ROOT={home}/store \"$@\"",
        home = home.display(),
        place = scene.place.path().display(),
    );
    let ended = after(&scene, &["--mount"], &script, &[]);
    assert!(ended.stderr.contains("newuidmap"), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("nosuid") || ended.stderr.contains("setuid"),
        "{}",
        ended.stderr
    );
    scene.recovers();
}
