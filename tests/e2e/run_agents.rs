//! `RUN --mount=type=ssh` and `--ssh`: an agent is reached through a socket of the step, for signatures only.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::support::in_path;

/// An agent that knows one message and counts what it hears.
fn agent(socket: &Path) -> Arc<Mutex<Vec<u8>>> {
    let listener = UnixListener::bind(socket).expect("a socket");
    let heard = Arc::new(Mutex::new(Vec::new()));
    let ears = Arc::clone(&heard);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            let mut head = [0; 5];
            while stream.read_exact(&mut head).is_ok() {
                ears.lock().expect("ears").push(head[4]);
                let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
                let mut rest = vec![0; length as usize - 1];
                if stream.read_exact(&mut rest).is_err() {
                    break;
                }
                // SSH_AGENT_IDENTITIES_ANSWER with none.
                if stream.write_all(&[0, 0, 0, 5, 12, 0, 0, 0, 0]).is_err() {
                    break;
                }
            }
        }
    });
    heard
}

#[test]
fn an_agent_is_reached_through_a_socket_of_the_steps_user() {
    let site = site!(ids);
    let socket = site.place.path().join("agent");
    let heard = agent(&socket);
    let file = r#"FROM busybox
RUN --mount=type=ssh echo $SSH_AUTH_SOCK && stat -c '%F %a %u:%g' $SSH_AUTH_SOCK && \
    printf '\000\000\000\001\013' | nc local:$SSH_AUTH_SOCK 2>/dev/null | wc -c; true
USER 1000:1001
RUN --mount=type=ssh,id=default,target=/tmp/sock stat -c '%a %u:%g' /tmp/sock && test -w /tmp/sock && echo usable
RUN --mount=type=ssh,target=/tmp/sock,uid=5,gid=6,mode=0666 stat -c '%a %u:%g' /tmp/sock
RUN ls /run/buildkit /tmp/sock 2>/dev/null | wc -l; echo "after=$SSH_AUTH_SOCK"
"#;
    let mut command = site.command(file, &["--ssh", "default"]);
    let built = site.built(command.env("SSH_AUTH_SOCK", &socket));
    for line in [
        "| /run/buildkit/ssh_agent.0",
        "| socket 600 0:0",
        "| 600 1000:1001",
        "| usable",
        "| 666 5:6",
        "| 0",
        "| after=",
    ] {
        assert!(built.said(line), "{line} is missing in {}", built.stderr);
    }
    assert_eq!(built.layers(), Vec::<Vec<String>>::new());
    assert!(heard.lock().expect("ears").iter().all(|kind| *kind == 11));
    assert_eq!(site.build(file, &[]).cached(), 4, "an agent is only access");
}

#[test]
fn programs_of_openssh_see_the_agent_and_cannot_change_it() {
    requires!(program "ssh-agent");
    requires!(program "ssh-add");
    requires!(program "ssh-keygen");
    let site = site!(run);
    let key = site.place.path().join("key");
    let made = std::process::Command::new("ssh-keygen")
        .args([
            "-q",
            "-t",
            "ed25519",
            "-N",
            "",
            "-C",
            "key of the test",
            "-f",
        ])
        .arg(&key)
        .status()
        .expect("it starts");
    assert!(made.success());
    let locked = site.place.path().join("locked");
    let made = std::process::Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "passphrase", "-f"])
        .arg(&locked)
        .status()
        .expect("it starts");
    assert!(made.success());
    // busybox has no ssh-add: the machine's own is shown to the step, with what it needs.
    let file = "FROM busybox\nRUN --mount=type=ssh export LD_LIBRARY_PATH=/h/lib; /h/usr/bin/ssh-add -l && ! /h/usr/bin/ssh-add -D && /h/usr/bin/ssh-add -l | wc -l\n";
    let ssh = format!("default={}", key.display());
    if in_path("ssh-add") && Path::new("/lib64/ld-linux-x86-64.so.2").exists() {
        let args = [
            "--ssh",
            &ssh,
            "--volume",
            "/usr:/h/usr:ro",
            "--volume",
            "/usr/lib:/usr/lib:ro",
            "--volume",
            "/lib64:/lib64:ro",
            "--volume",
            "/lib:/lib:ro",
            "--volume",
            "/etc/passwd:/etc/passwd:ro",
        ];
        let built = site.build(file, &args);
        assert!(built.stderr.contains("key of the test"), "{}", built.stderr);
        assert!(built.said("| 1"), "{}", built.stderr);
    }
    let said = site.fails(
        "FROM busybox\nRUN --mount=type=ssh true\n",
        &["--ssh", &format!("default={}", locked.display())],
    );
    assert!(
        said.contains("locked") && said.contains("passphrase"),
        "{said}"
    );
}

#[test]
fn a_required_agent_that_is_missing_fails_its_step_by_name() {
    let site = site!(run);
    let said = site.fails("FROM busybox\nRUN --mount=type=ssh,required true\n", &[]);
    assert!(said.contains("--ssh default"), "{said}");
    let built = site.build(
        "FROM busybox\nRUN --mount=type=ssh echo \"sock=$SSH_AUTH_SOCK\"\n",
        &[],
    );
    assert!(built.said("| sock="), "{}", built.stderr);
    let output = site
        .command("FROM busybox\n", &["--ssh", "default"])
        .env_remove("SSH_AUTH_SOCK")
        .output()
        .expect("it starts");
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn volumes_are_the_machines_files_and_in_no_layer() {
    let site = site!(run);
    let data = site.place.path().join("data");
    std::fs::create_dir(&data).expect("a directory");
    std::fs::write(data.join("f"), "from outside\n").expect("a file");
    let volume = format!("{}:/v/deep", data.display());
    let file = "FROM busybox\nRUN cat /v/deep/f; stat -c '%u:%g' /v/deep/f; touch /v/deep/new 2>/dev/null || echo refused\n\
                RUN ls -d /v\n";
    let built = site.build(file, &["--volume", &format!("{volume}:ro,z")]);
    assert!(built.said("| from outside"), "{}", built.stderr);
    assert!(built.said("| refused"), "{}", built.stderr);
    if crate::support::degree() != crate::support::Degree::NoSub {
        assert!(built.said("| 65534:65534"), "{}", built.stderr);
    }
    assert_eq!(built.layers(), Vec::<Vec<String>>::new());
    assert_eq!(
        site.build(file, &["--volume", &volume]).cached(),
        2,
        "a volume is only access"
    );
}
