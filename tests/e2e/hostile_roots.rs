//! S39, S42, S43, S49, S65, S68, S69: root file systems that are traps for what rbuild itself opens or mounts in them.

use std::fs;
use std::time::Duration;

use crate::fault_oracle::{Ended, Running, Scene};
use crate::hostile_layout::tar::{self, Member};
use crate::hostile_layout::{Canary, LayerBlob, Layout, layers_of};

struct Trap {
    scene: Scene,
    below: Vec<LayerBlob>,
    canary: Canary,
}

impl Trap {
    fn new(base: std::path::PathBuf) -> Self {
        let below = layers_of(&base);
        let scene = Scene::with_run(base);
        let canary = Canary::new(&scene.place.path().join("canary"));
        Self {
            scene,
            below,
            canary,
        }
    }

    fn build(&self, members: &[Member], config: &str, containerfile: &str, more: &[&str]) -> Ended {
        let path = self.scene.place.path().join("hostile");
        let _ = fs::remove_dir_all(&path);
        let layout = Layout::new(&path);
        let mut layers = self.below.clone();
        layers.push(LayerBlob::of(tar::of(members)));
        layout.image_with(&layers, config);
        let context = format!("hostile=oci-layout:{}", path.display());
        self.scene.place.write("Hostile", containerfile);
        self.scene
            .build(&[&["-f", "Hostile", "--build-context", &context], more].concat())
    }

    fn checked(&self, what: &str, ended: &Ended) {
        self.canary.lives(what);
        assert!(
            ended.took < Duration::from_secs(10),
            "{what}: {:?}",
            ended.took
        );
        if !ended.status.success() {
            assert_eq!(ended.status.code(), Some(1), "{what}: {}", ended.stderr);
            ended.failed(1, &[]);
        }
        self.scene.is_clean();
    }
}

#[test]
fn s49_s68_s69_places_that_are_mounted_over_may_be_anything() {
    requires!(execution);
    let base = requires!(base "busybox");
    let trap = Trap::new(base);
    let outside = trap.canary.path();
    let up = format!("{}{}", "../".repeat(20), outside.trim_start_matches('/'));
    for place in [
        "dev",
        "proc",
        "sys",
        "etc",
        "etc/resolv.conf",
        "etc/hosts",
        "etc/hostname",
        "dev/pts",
        "dev/null",
        "dev/ptmx",
        "sys/fs/cgroup",
    ] {
        let target = if place.contains('.') || place.contains("host") {
            "file"
        } else {
            ""
        };
        let mut kinds = vec![
            (
                "absolute link",
                Member::symlink(place, &format!("{outside}/{target}")),
            ),
            (
                "relative link",
                Member::symlink(place, &format!("{up}/{target}")),
            ),
            ("dangling link", Member::symlink(place, "/nowhere/at/all")),
            (
                "link to itself",
                Member::symlink(place, place.rsplit('/').next().expect("a name")),
            ),
            ("link to /proc", Member::symlink(place, "/proc/self/root")),
            ("file", Member::file(place, "x")),
            ("fifo", Member::fifo(place)),
        ];
        if place.contains("etc/") {
            kinds.push(("directory", Member::dir(place)));
        }
        for (kind, member) in kinds {
            let what = format!("{place} is a {kind}");
            let members = [
                Member::file(
                    &format!(".wh.{place}")
                        .replace(".wh.etc/", "etc/.wh.")
                        .replace(".wh.dev/", "dev/.wh.")
                        .replace(".wh.sys/fs/", "sys/fs/.wh."),
                    "",
                ),
                member,
            ];
            let ended = trap.build(
                &members[1..],
                "",
                "FROM hostile\nRUN echo ran; cat /etc/hostname; true\nUSER 1:1\n",
                &[],
            );
            trap.checked(&what, &ended);
            assert!(!ended.stderr.contains("canary"), "{what}: {}", ended.stderr);
        }
    }
    trap.scene.place.expect(0, &["prune", "--all"]);
    trap.scene.recovers();
}

#[test]
fn s42_account_files_are_read_inside_the_image_and_never_waited_for() {
    requires!(execution);
    let base = requires!(base "busybox");
    let trap = Trap::new(base);
    let passwd = format!("{}/passwd", trap.canary.path());
    let up = format!("{}{}", "../".repeat(20), passwd.trim_start_matches('/'));
    for (what, member) in [
        ("absolute link", Member::symlink("etc/passwd", &passwd)),
        ("relative link", Member::symlink("etc/passwd", &up)),
        ("fifo", Member::fifo("etc/passwd")),
        ("directory", Member::dir("etc/passwd")),
        ("device", Member::device("etc/passwd", b'c', 1, 3)),
        ("large", Member::file("etc/passwd", "x".repeat(2 << 20))),
    ] {
        for user in [
            "USER canaryuser\nRUN id\n",
            "RUN true\nCOPY --chown=canaryuser data /data\n",
        ] {
            let ended = trap.build(
                std::slice::from_ref(&member),
                "",
                &format!("FROM hostile\n{user}USER 1:1\n"),
                &[],
            );
            trap.checked(what, &ended);
            assert!(
                !ended.status.success(),
                "{what}: the canary's account was found\n{}",
                ended.stderr
            );
        }
    }
    let ended = trap.build(
        &[],
        "",
        "FROM hostile\nRUN truncate -s 4G /etc/passwd\nUSER somebody\nRUN id\nUSER 1:1\n",
        &[],
    );
    trap.checked("4 GiB", &ended);
    ended.failed(1, &["/etc/passwd", "1 MiB"]);
    trap.scene.place.expect(0, &["prune", "--all"]);
    trap.scene.recovers();
}

#[test]
fn s43_odd_users_are_exact_or_refused_and_never_root() {
    requires!(execution);
    let base = requires!(base "busybox");
    let trap = Trap::new(base);
    let accounts = Member::file(
        "etc/passwd",
        "root:x:0:0::/:\n1000:x:0:0::/:\n0x0:x:0:0::/:\nnobody:x:65534:65534::/:\n",
    );
    for user in [
        "4294967296",
        "-1",
        "4294967295",
        "2147483648:0",
        "+0",
        "00000000000000000000",
        "1000:",
        ":0",
        "1000:0:0",
        "1e3",
        "0.0",
        "\u{0660}",
    ] {
        for place in ["file", "image"] {
            let (config, line) = match place {
                "file" => (String::new(), format!("USER {user}\n")),
                _ => (format!(r#""User":{user:?}"#), String::new()),
            };
            let ended = trap.build(
                std::slice::from_ref(&accounts),
                &config,
                &format!("FROM hostile\n{line}RUN echo it-is-$(id -u)\nUSER 1:1\n"),
                &["--user-policy", "off"],
            );
            let what = format!("USER {user} of the {place}");
            trap.checked(&what, &ended);
            // Nothing of these is zero but for this one, which says so.
            let says_zero = user.bytes().all(|byte| byte == b'0');
            assert!(
                says_zero || !ended.stderr.contains("it-is-0"),
                "{what}:\n{}",
                ended.stderr
            );
        }
    }
    // A number is that number, even where an account is called so.
    let ended = trap.build(
        &[accounts],
        "",
        "FROM hostile\nUSER 1000\nRUN echo it-is-$(id -u)\nUSER 1:1\n",
        &[],
    );
    if crate::support::degree() != crate::support::Degree::NoSub {
        assert!(ended.stderr.contains("it-is-1000"), "{}", ended.stderr);
    }
    trap.scene.place.expect(0, &["prune", "--all"]);
    trap.scene.recovers();
}

#[test]
fn s39_s65_a_step_sees_nothing_of_the_caller() {
    requires!(execution);
    let base = requires!(base "busybox");
    let trap = Trap::new(base);
    let secret = "hunter2-of-the-caller";
    for (env, accepted) in [
        (r#""Env":["A=b"]"#, true),
        (r#""Env":["CALLERS_SECRET","CALLERS*","*","=x",""]"#, false),
    ] {
        let containerfile = "FROM hostile\nRUN env; cat /proc/*/environ /proc/*/cmdline; ls -l /proc/self/fd; echo done\nUSER 1:1\n";
        // Builds the layout; the second build is the one that counts.
        let first = trap.build(&[], env, containerfile, &[]);
        assert!(first.status.success() || !accepted, "{}", first.stderr);
        let context = format!(
            "hostile=oci-layout:{}",
            trap.scene.place.path().join("hostile").display()
        );
        let mut args = trap.scene.args();
        let more = ["--no-cache", "-f", "Hostile", "--build-context", &context].map(str::to_owned);
        args.splice(1..1, more);
        let mut command = trap.scene.command(&args);
        command
            .env("CALLERS_SECRET", secret)
            .env("CALLERS_OTHER", secret);
        let ended = Running::spawn(command, trap.scene.word()).end(Duration::from_secs(60));
        trap.checked(env, &ended);
        assert!(!ended.stderr.contains(secret), "{}", ended.stderr);
        if ended.status.success() {
            assert!(
                ended.stderr.contains("done") && !ended.stderr.contains("context"),
                "{}",
                ended.stderr
            );
        }
    }
    trap.scene.place.expect(0, &["prune", "--all"]);
    trap.scene.recovers();
}
