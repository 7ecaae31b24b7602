//! Secrets: files and variables of one step, and in nothing that stays (S46; containerfile.md 5).

use std::fs;
use std::path::Path;

use crate::support::Place;

const VALUE: &str = "hunter2-wAtErFaLl-5c1d";

/// What of the store, or beside it, holds the value; read by the session's root, who may read all of it.
fn holders(place: &Place, value: &str) -> String {
    let output = place
        .rbuild()
        .args(["unshare", "grep", "-rlaF", value])
        .arg(place.store())
        .output()
        .expect("it starts");
    // grep: 1 is nothing found.
    assert_eq!(
        output.status.code().map(|code| code > 1),
        Some(false),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_secret_is_a_file_in_memory_with_the_asked_owner_and_mode() {
    let site = site!(ids);
    site.place.write("token", VALUE);
    let file = r"FROM busybox
RUN --mount=type=secret,id=token stat -c '%n %a %u:%g' /run/secrets/token && wc -c </run/secrets/token
RUN --mount=type=secret,id=token,target=/etc/app/key.pem,mode=0440,uid=1000,gid=1001 \
    stat -c '%n %a %u:%g' /etc/app/key.pem && grep ' /etc/app/key.pem ' /proc/mounts
USER 1000
RUN --mount=type=secret,id=token,uid=1000 test -r /run/secrets/token && echo readable
RUN --mount=type=secret,id=token ! cat /run/secrets/token
RUN --mount=type=secret,id=token,uid=1000,mode=600 ! sh -c 'echo x >/run/secrets/token'
";
    let built = site.build(file, &["--secret", "id=token,src=token"]);
    for line in [
        "| /run/secrets/token 400 0:0",
        "| 22",
        "| /etc/app/key.pem 440 1000:1001",
        "| readable",
    ] {
        assert!(built.said(line), "{line} is missing in {}", built.stderr);
    }
    assert!(
        built
            .stderr
            .contains("/etc/app/key.pem tmpfs ro,nosuid,nodev,noexec"),
        "{}",
        built.stderr
    );
    assert_eq!(built.layers(), Vec::<Vec<String>>::new(), "no mount points");
}

#[test]
fn a_secret_may_be_a_variable_a_file_or_both() {
    let site = site!(run);
    let file = r#"FROM busybox
ENV TOKEN=old
RUN --mount=type=secret,id=t,env=TOKEN echo "v=${TOKEN#hunter2}" && ! ls /run/secrets
RUN --mount=type=secret,id=t,env=TOKEN,target=/run/t test "$(cat /run/t)" = "$TOKEN" && echo same
RUN echo "after=$TOKEN"
RUN --mount=type=secret,id=absent,env=NONE,target=/none echo "none=${NONE-unset}" && ! ls /none
"#;
    let mut command = site.command(file, &["--secret", "id=t,env=CI_TOKEN"]);
    let built = site.built(command.env("CI_TOKEN", VALUE));
    for line in [
        "| v=-wAtErFaLl-5c1d",
        "| same",
        "| after=old",
        "| none=unset",
    ] {
        assert!(built.said(line), "{line} is missing in {}", built.stderr);
    }
    assert!(built.field("Env").contains("TOKEN=old"));
}

#[test]
fn a_required_secret_that_is_missing_fails_its_step_by_name() {
    let site = site!(run);
    for mount in [
        "type=secret,id=token,required",
        "type=secret,id=token,required=true,env=T",
    ] {
        let said = site.fails(&format!("FROM busybox\nRUN --mount={mount} true\n"), &[]);
        for word in ["token", "--secret id=token", "Containerfile:2"] {
            assert!(said.contains(word), "{word} is missing in {said}");
        }
    }
}

#[test]
fn a_secret_file_that_is_missing_or_too_large_is_a_usage_error() {
    let site = site!();
    site.place.write("large", vec![b'x'; 600 << 10]);
    for (source, word) in [("nowhere", "nowhere"), ("large", "500 KiB")] {
        let output = site
            .command(
                "FROM busybox\n",
                &["--secret", &format!("id=a,src={source}")],
            )
            .output()
            .expect("it starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("id=a") && said.contains(word), "{said}");
    }
}

#[test]
fn s46_a_secret_is_in_no_blob_record_log_history_configuration_or_key() {
    let site = site!(run);
    site.place.write("token", format!("{VALUE}\n"));
    let file = r#"FROM busybox AS first
RUN --mount=type=secret,id=file --mount=type=secret,id=var,env=VAR \
    test -n "$VAR" && test -s /run/secrets/file && echo done >/done
FROM busybox
COPY --from=first /done /done
RUN --mount=type=secret,id=var,env=VAR,target=/etc/deep/new/secret cat /etc/deep/new/secret | wc -c >/size
"#;
    let args = [
        "--secret",
        "id=file,src=token",
        "--secret",
        "id=var,env=SECRET_OF_CALLER",
        "-t",
        "x",
    ];
    let mut command = site.command(file, &args);
    let built = site.built(command.env("SECRET_OF_CALLER", VALUE));
    assert!(!built.stderr.contains(VALUE), "{}", built.stderr);
    let text = format!("{}{}", built.config, built.manifest);
    assert!(!text.contains(VALUE), "{text}");
    assert_eq!(holders(&site.place, VALUE), "");
    assert_eq!(
        built.layers().concat(),
        [
            r#"f 0644 0:0 done = "done\n""#,
            r#"f 0644 0:0 size = "22\n""#
        ]
    );
    // The negative control: the search finds what is there.
    let leaking = file.replace("wc -c >/size", "cat >/size");
    let mut command = site.command(&leaking, &args);
    site.built(command.env("SECRET_OF_CALLER", VALUE));
    assert_ne!(holders(&site.place, VALUE), "");
}

#[test]
fn s46_nothing_stays_of_a_secret_after_a_failure_or_a_kill() {
    let site = site!(run);
    site.place.write("token", VALUE);
    let file = "FROM busybox\nRUN --mount=type=secret,id=t,target=/s --mount=type=secret,id=t,env=T sh -c 'test -s /s && exit 3'\n";
    let said = site.fails(file, &["--secret", "id=t,src=token"]);
    assert!(
        said.contains("exit code 3") && !said.contains(VALUE),
        "{said}"
    );
    assert_eq!(holders(&site.place, VALUE), "");

    let file = "FROM busybox\nRUN --mount=type=secret,id=t,target=/s echo started && sleep 60\n";
    let mut child = spawn(&site.command(file, &["--secret", "id=t,src=token"]));
    wait_until_started(&mut child);
    // While it runs the value is in memory only: in no command line and no environment of rbuild's own processes.
    assert_eq!(holders(&site.place, VALUE), "");
    assert_eq!(command_lines_with(VALUE), "");
    child.kill().expect("it runs");
    child.wait().expect("it ended");
    assert_eq!(holders(&site.place, VALUE), "");
}

pub(crate) fn spawn(command: &assert_cmd::Command) -> std::process::Child {
    let mut plain = std::process::Command::new(command.get_program());
    plain.args(command.get_args());
    if let Some(directory) = command.get_current_dir() {
        plain.current_dir(directory);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => plain.env(name, value),
            None => plain.env_remove(name),
        };
    }
    plain
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("it starts")
}

pub(crate) fn wait_until_started(child: &mut std::process::Child) {
    wait_for(child, "| started");
}

/// Waits until the program has said so.
pub(crate) fn wait_for(child: &mut std::process::Child, text: &str) {
    use std::io::BufRead as _;
    let stderr = child.stderr.take().expect("a pipe");
    let mut lines = std::io::BufReader::new(stderr).lines();
    let found =
        lines.any(|line| line.is_ok_and(|line| line.contains(text) && !line.contains("RUN")));
    assert!(found, "it never said {text}");
    // Kept open: a closed pipe would end the build before the kill does.
    std::mem::forget(lines);
}

fn command_lines_with(value: &str) -> String {
    let mut found = String::new();
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        let path = entry.path();
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        if name.parse::<u32>().is_err() {
            continue;
        }
        for file in ["cmdline", "environ"] {
            if contains(&path.join(file), value) {
                found.push_str(&format!("{}/{file} ", path.display()));
            }
        }
    }
    found
}

fn contains(path: &Path, value: &str) -> bool {
    fs::read(path).is_ok_and(|bytes| {
        bytes
            .windows(value.len())
            .any(|window| window == value.as_bytes())
    })
}

#[test]
fn s46_a_secret_leaves_no_core_file() {
    let site = site!(run);
    site.place.write("token", VALUE);
    let file = "FROM busybox\nRUN --mount=type=secret,id=t grep core /proc/1/limits\n";
    let built = site.build(file, &["--secret", "id=t,src=token"]);
    let limits = built
        .stderr
        .lines()
        .find(|line| line.contains("Max core file size"))
        .expect("the line");
    let soft = limits.split_whitespace().rev().nth(2);
    assert_eq!(soft, Some("0"), "{limits}");
}

#[test]
fn another_value_of_a_secret_is_the_same_step() {
    let site = site!(run);
    let file = "FROM busybox\nRUN --mount=type=secret,id=t,env=T echo once >/once\n";
    site.place.write("token", VALUE);
    site.build(file, &["--secret", "id=t,src=token"]);
    site.place.write("token", "rotated");
    assert_eq!(
        site.build(file, &["--secret", "id=t,src=token"]).cached(),
        1
    );
    assert_eq!(site.build(file, &[]).cached(), 1, "not even needed");
    let other = file.replace("env=T", "env=U");
    assert_eq!(
        site.build(&other, &[]).cached(),
        0,
        "what the step asks for counts"
    );
}
