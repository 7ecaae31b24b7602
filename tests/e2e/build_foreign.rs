//! Steps and containers of another processor: busybox for arm64, through qemu's emulator in a binfmt_misc instance of the session.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::{Place, foreign_bases};

const HOST_IS_OTHER: bool = cfg!(target_arch = "x86_64");

/// A place whose builds know `foreign`, and the directory of emulators.
struct Foreign {
    place: Place,
    base: PathBuf,
    emulators: PathBuf,
}

/// Ends the test where foreign steps cannot be executed.
macro_rules! foreign {
    () => {{
        requires!(execution);
        if !HOST_IS_OTHER {
            skip!("foreign", "this machine executes arm64 itself");
        }
        let Some((base, emulators)) = foreign_bases() else {
            skip!(
                "bases",
                "RBUILD_TEST_BASES has no busybox-arm64 or no emulators"
            );
        };
        if !mounts_binfmt_misc() {
            skip!("binfmt-misc", "this kernel has none for user namespaces");
        }
        Foreign {
            place: Place::new(),
            base,
            emulators,
        }
    }};
}

/// Linux 6.7.
fn mounts_binfmt_misc() -> bool {
    let place = Place::new();
    let line = "mount -t binfmt_misc none /proc/sys/fs/binfmt_misc";
    let output = place.rbuild().args(["unshare", "sh", "-c", line]).output();
    output.is_ok_and(|output| output.status.success())
}

impl Foreign {
    fn command(&self, args: &[&str]) -> assert_cmd::Command {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = self.place.rbuild();
        command
            .args(args)
            .env("PATH", format!("{}:{path}", self.emulators.display()));
        command
    }

    fn build_command(&self, containerfile: &str, args: &[&str]) -> assert_cmd::Command {
        self.place.write("Containerfile", containerfile);
        let context = format!("foreign=oci-layout:{}", self.base.display());
        let common = [
            "build",
            "--progress=plain",
            "--network=none",
            "--user-policy=off",
            "--build-context",
            &context,
        ];
        self.command(&[&common, args, &["."]].concat())
    }

    /// Builds, and returns the id and what was said.
    fn build(&self, containerfile: &str, args: &[&str]) -> (String, String) {
        let output = self
            .build_command(containerfile, args)
            .output()
            .expect("it starts");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{stderr}");
        let id = String::from_utf8(output.stdout).expect("an id");
        (id.trim().to_owned(), stderr)
    }

    fn files(&self, image: &str) -> String {
        self.place.expect(0, &["inspect", image, "--files"]).0
    }
}

const RUN: &str = "FROM foreign\nRUN uname -m >/machine && mkdir /own && chown 5:6 /own && touch /own/it\n\
                   RUN [\"cat\", \"/machine\"]\nUSER 1:1\nRUN id -u && sh -c 'echo $0' one\n";

#[test]
fn steps_of_a_foreign_platform_are_executed_through_an_emulator() {
    let foreign = foreign!();
    requires!(sub_ids);
    let (id, stderr) = foreign.build(RUN, &["--platform=linux/arm64"]);
    assert!(stderr.contains("| aarch64"), "{stderr}");
    let files = foreign.files(&id);
    assert!(!files.contains("qemu"), "{files}");
    let own = files
        .lines()
        .find(|line| line.ends_with(" /own"))
        .expect("the directory");
    assert!(own.contains(" 5:6 "), "{own}");
    let (json, _) = foreign
        .place
        .expect(0, &["inspect", &id, "--format", "json"]);
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["config"]["architecture"], "arm64");
    // Without the emulator: what is cached needs none.
    let cached = foreign
        .build_command(RUN, &["--platform=linux/arm64"])
        .env("PATH", "/usr/bin:/bin")
        .output()
        .expect("it starts");
    assert!(
        cached.status.success(),
        "{}",
        String::from_utf8_lossy(&cached.stderr)
    );
}

#[test]
fn an_index_of_both_processors_is_built_and_each_runs_its_own() {
    let foreign = foreign!();
    let native = requires!(base "busybox");
    let context = format!("native=oci-layout:{}", native.display());
    let file = "FROM --platform=$BUILDPLATFORM native AS here\nRUN uname -m >/here\nFROM native AS base-amd64\n\
                FROM foreign AS base-arm64\nFROM base-$TARGETARCH\nCOPY --from=here /here /here\nRUN uname -m >/there\nUSER 1:1\n\
                ENTRYPOINT [\"cat\", \"/here\", \"/there\"]\n";
    let args = [
        "--platform=linux/arm64,linux/amd64",
        "--build-context",
        &context,
        "-t",
        "localhost/both",
    ];
    let (_, stderr) = foreign.build(file, &args);
    let done = stderr
        .lines()
        .filter(|line| line.contains("here 1/1] done"))
        .count();
    assert_eq!(
        done, 1,
        "the build platform's stage is built once: {stderr}"
    );
    let run = |args: &[&str]| {
        let output = foreign
            .command(&[&["run", "--network=none"], args].concat())
            .output()
            .expect("it starts");
        String::from_utf8_lossy(&[output.stderr, output.stdout].concat()).into_owned()
    };
    for (args, expected) in [
        (&["localhost/both"][..], "x86_64\nx86_64\n"),
        (&["--platform=arm64", "localhost/both"], "x86_64\naarch64\n"),
    ] {
        let said = run(args);
        assert!(said.ends_with(expected), "{said}");
    }
}

#[test]
fn nothing_in_a_step_sees_or_changes_the_registration_and_the_emulator() {
    let foreign = foreign!();
    // The emulator itself is process 1: what it has open is what a step could reach.
    let file = "FROM foreign\nRUN ls /proc/1/fd; \
                echo instance $(ls /proc/sys/fs/binfmt_misc); echo exe $(ls -l /proc/1/exe); \
                busybox mount -t binfmt_misc none /mnt || busybox grep -c binfmt_misc /proc/self/mounts || uname -m\n";
    let (_, stderr) = foreign.build(file, &["--platform=linux/arm64"]);
    let printed: Vec<&str> = stderr
        .lines()
        .filter_map(|line| line.split_once("1/1] | ").map(|(_, text)| text))
        .collect();
    assert_eq!(printed[..4], ["0", "1", "2", "instance"], "{stderr}");
    // A mount of its own, read-only and in no namespace.
    assert!(printed[4].ends_with("/proc/1/exe -> /"), "{stderr}");
    assert_eq!(
        printed[5..],
        ["mount: permission denied (are you root?)", "0", "aarch64"],
        "{stderr}"
    );
}

#[test]
fn set_user_id_programs_work_as_without_emulation() {
    let foreign = foreign!();
    requires!(sub_ids);
    let file = "FROM foreign\nRUN mkdir /s && cp /bin/busybox /s/su && chmod 4755 /s/su && \
                echo root::0:0:root:/:/bin/sh >/etc/passwd\nUSER 7:7\nRUN /s/su -c 'id -u'; id -u\n";
    let (_, stderr) = foreign.build(file, &["--platform=linux/arm64"]);
    let printed: Vec<&str> = stderr
        .lines()
        .filter_map(|line| line.split_once("2/2] | ").map(|(_, text)| text))
        .collect();
    assert_eq!(printed, ["0", "7"], "{stderr}");
}

#[test]
fn a_foreign_step_without_an_emulator_is_refused_before_anything_runs() {
    let foreign = foreign!();
    if fs::exists("/usr/bin/qemu-aarch64-static").unwrap_or(true)
        || fs::exists("/proc/sys/fs/binfmt_misc/qemu-aarch64").unwrap_or(true)
    {
        skip!("no-emulator", "the host has one");
    }
    let output = foreign
        .build_command(
            "FROM foreign\nCOPY Containerfile /\nRUN uname -m\n",
            &["--platform=linux/arm64"],
        )
        .env("PATH", "/usr/bin:/bin")
        .output()
        .expect("it starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    for part in [
        "RUN for linux/arm64 on this linux/amd64 machine",
        "qemu-aarch64-static is not installed",
        "Containerfile:3:1",
        "sudo apt install qemu-user-static",
    ] {
        assert!(stderr.contains(part), "{part}: {stderr}");
    }
    assert!(!stderr.contains("COPY Containerfile / done"), "{stderr}");
    let (id, _) = foreign.build("FROM foreign\nUSER 1\n", &["--platform=linux/arm64"]);
    let (_, stderr) = foreign.place.expect(125, &["run", "--network=none", &id]);
    assert!(
        stderr.contains("it is for linux/arm64, and this machine is linux/amd64")
            && stderr.contains("sudo apt install qemu-user-static"),
        "{stderr}"
    );
}
