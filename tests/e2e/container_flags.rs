//! `rbuild run`: flags of docker and podman, each seen from inside the container or on the host's disk.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpStream, UdpSocket};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Degree, Place, binary, degree};

const CONTAINERFILE: &str = "FROM busybox\n\
    COPY --chown=70:70 greet /greet\n\
    COPY --chown=65532:65532 greet /own\n\
    COPY accounts/ /etc/\n\
    USER 65532:65532\nSTOPSIGNAL SIGUSR1\n";

/// An image with busybox, whose user is 65532.
fn built() -> Option<Place> {
    let base = crate::support::base("busybox")?;
    let place = Place::new();
    place.write_program("greet", "#!/bin/sh\necho hello\n");
    place.write(
        "accounts/group",
        "root:x:0:\ndisk:x:6:\napp:x:65532:\nwheel:x:10:\n",
    );
    let context = format!("busybox=oci-layout:{}", base.display());
    let more = ["--network", "none", "-t", "box", "--build-context"];
    place.build(CONTAINERFILE, &[&more[..], &[context.as_str()]].concat());
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

/// What a shell script prints in a container without a network.
fn shell(place: &Place, flags: &[&str], script: &str) -> String {
    let command = ["--entrypoint", "/bin/sh", "box", "-c", script];
    let args = [&["run", "--network", "none"], flags, &command].concat();
    place.expect(0, &args).0
}

fn refused(place: &Place, code: i32, flags: &[&str], words: &[&str]) {
    let args = [&["run", "--network", "none"], flags, &["box", "/bin/true"]].concat();
    let (_, stderr) = place.expect(code, &args);
    for word in words {
        assert!(
            stderr.contains(word),
            "{flags:?}: {word} is not in\n{stderr}"
        );
    }
}

/// A container that goes on in the background.
fn spawn(place: &Place, flags: &[&str], script: &str) -> Child {
    Command::new(binary())
        .arg("run")
        .args(flags)
        .args(["--entrypoint", "/bin/sh", "box", "-c", script])
        .current_dir(place.context())
        .env("RBUILD_ROOT", place.store())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts")
}

fn until<T>(what: &str, mut seen: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(seen) = seen() {
            return seen;
        }
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn an_init_passes_signals_and_exit_codes_on_and_reaps() {
    let place = requires_image!();
    let run = |flags: &[&str], script: &str| shell(&place, flags, script).trim().to_owned();
    assert_eq!(run(&[], "echo $$"), "1");
    assert_eq!(run(&["--init"], "echo $$"), "2");
    let orphans = "(sleep 0.1 &); sleep 0.5; grep -l '^State:.Z' /proc/[0-9]*/status | wc -l";
    let orphaning = format!("/bin/sh -c \"{orphans}\"");
    assert_eq!(run(&["--init"], &orphaning), "0");
    let command = |script| {
        [
            "run",
            "--network",
            "none",
            "--init",
            "box",
            "/bin/sh",
            "-c",
            script,
        ]
    };
    place.expect(7, &command("exit 7"));
    place.expect(143, &command("kill -TERM $$"));
    place.expect(
        127,
        &["run", "--network", "none", "--init", "box", "/no/such"],
    );
    // The program cannot look into it, nor reach rbuild's own file through it.
    assert_eq!(
        run(&["--init"], "cat /proc/1/environ 2>&1 | grep -c denied"),
        "1"
    );
    assert_eq!(run(&["--init"], "readlink /proc/1/exe | wc -l"), "0");
    assert_eq!(run(&["--init"], "echo through > /dev/stdout"), "through");
}

#[test]
fn a_sigterm_becomes_the_stop_signal_and_a_kill_when_time_is_over() {
    let place = requires_image!();
    let ended = |flags: &[&str], trap: &str| {
        let _ = fs::remove_file(place.context().join("ready"));
        let script = format!("trap {trap}; touch /data/ready; while :; do sleep 0.05; done");
        let more = [&["--network", "none", "-v", ".:/data"], flags].concat();
        let mut child = spawn(&place, &more, &script);
        until("the program starts", || {
            place.context().join("ready").exists().then_some(())
        });
        let start = Instant::now();
        let pid = child.id().to_string();
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .expect("kill starts");
        let code = child.wait().expect("it ends").code();
        (code, start.elapsed())
    };
    assert_eq!(
        ended(&[], "'exit 41' USR1").0,
        Some(41),
        "the image's STOPSIGNAL"
    );
    assert_eq!(
        ended(&["--stop-signal", "QUIT"], "'exit 42' QUIT").0,
        Some(42)
    );
    assert_eq!(
        ended(&["--init", "--stop-signal", "15"], "'exit 43' TERM").0,
        Some(43)
    );
    let (code, took) = ended(&["--stop-timeout", "1"], "'' USR1");
    assert_eq!(code, Some(137));
    assert!(
        took > Duration::from_millis(900) && took < Duration::from_secs(10),
        "{took:?}"
    );
}

#[test]
fn names_groups_and_limits_are_what_was_asked_for() {
    let place = requires_image!();
    assert_eq!(
        shell(
            &place,
            &["--rm", "--hostname", "web-1"],
            "hostname; cat /etc/hostname"
        ),
        "web-1\nweb-1\n"
    );
    let limits = ["--ulimit", "nofile=100:200", "--ulimit", "core=0"];
    assert_eq!(
        shell(&place, &limits, "ulimit -Sn; ulimit -Hn; ulimit -c"),
        "100\n200\n0\n"
    );
    let shm = shell(&place, &["--shm-size", "1m"], "df -k /dev/shm | tail -n 1");
    assert!(shm.split_whitespace().any(|word| word == "1024"), "{shm}");
    refused(
        &place,
        125,
        &["--group-add", "nobodys"],
        &["nobodys", "/etc/group"],
    );
    refused(&place, 2, &["--group-add", "keep-groups"], &["keep-groups"]);
    if degree() == Degree::NoSub {
        return;
    }
    let groups = ["--group-add", "wheel", "--group-add", "6"];
    assert_eq!(shell(&place, &groups, "id -G").trim(), "65532 6 10");
}

#[test]
fn limits_that_cannot_be_enforced_are_an_error_and_name_their_flags() {
    let place = requires_image!();
    let known = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    if degree() == Degree::Root && known.contains(" - cgroup2 ") {
        // Root may have a cgroup; then the limit holds, and that is what its own test sees to.
        skip!("degree", "root may delegate cgroups to itself");
    }
    for (flag, value) in [("--memory", "64m"), ("--cpus", "1"), ("--pids-limit", "20")] {
        refused(
            &place,
            125,
            &[flag, value],
            &["limit the container", flag, "hint:"],
        );
    }
}

#[test]
fn variables_of_a_file_come_before_those_of_the_command_line() {
    let place = requires_image!();
    place.write(
        "one",
        "# a comment\n\nA=file\n  B=file two\nHOME_OF_CALLER\nC=\n",
    );
    place.write("two", "A=second\n");
    let flags = ["--env-file", "one", "--env-file", "two", "-e", "B=flag"];
    let env = shell(&place, &flags, "echo \"$A|$B|$C|${HOME_OF_CALLER-unset}\"");
    assert_eq!(env, "second|flag||unset\n");
    refused(
        &place,
        125,
        &["--env-file", "absent"],
        &["--env-file", "absent"],
    );
    place.write("bad", "=x\n");
    refused(&place, 125, &["--env-file", "bad"], &["=x"]);
}

#[test]
fn d39_a_secret_is_its_users_alone_and_on_no_disk() {
    let place = requires_image!();
    place.write("key", "hunter2");
    let flags = [
        "--secret",
        "id=key,src=key",
        "--secret",
        "id=other,src=key,target=/other,mode=444",
    ];
    let script = "cat /run/secrets/key; stat -c ' %a %u' /run/secrets/key /other; \
                  echo x 2>/dev/null >/run/secrets/key || echo kept; grep -c ' /run/secrets/key .* tmpfs' /proc/self/mountinfo";
    assert_eq!(
        shell(&place, &flags, script),
        "hunter2 400 65532\n 444 65532\nkept\n1\n"
    );
    let variable = ["--secret", "id=none,env=NO_SUCH_VARIABLE"];
    refused(&place, 125, &variable, &["id=none", "not set"]);
    let found = Command::new("grep")
        .args(["-rl", "hunter2"])
        .arg(place.store())
        .output()
        .expect("grep starts");
    assert_eq!(String::from_utf8_lossy(&found.stdout), "");
}

#[test]
fn mounts_are_podmans() {
    let place = requires_image!();
    place.write("data/file", "from outside\n");
    let mounts = [
        "--mount",
        "type=bind,src=./data,dst=/a,ro,relabel=private",
        "--mount",
        "type=tmpfs,dst=/b,tmpfs-size=1m,tmpfs-mode=0700",
        "-v",
        "./data:/c:z,rprivate",
        "--tmpfs",
        "/d:size=1m",
    ];
    let script = "cat /a/file; echo x 2>/dev/null >/a/x || echo read-only; stat -c %a /b; echo new >/c/new; \
                  mount | grep -c 'on /[bd] type tmpfs.*size=1024k'";
    assert_eq!(
        shell(&place, &mounts, script),
        "from outside\nread-only\n700\n2\n"
    );
    assert!(place.context().join("data/new").exists());
    refused(
        &place,
        2,
        &["--mount", "type=volume,dst=/v"],
        &["no source"],
    );
}

#[test]
fn a_volume_is_given_to_the_containers_user() {
    let place = requires_image!();
    requires!(sub_ids);
    place.write("data/below/file", "x");
    let elsewhere = place.context().join("elsewhere");
    fs::write(&elsewhere, "x").expect("a file");
    std::os::unix::fs::symlink(&elsewhere, place.context().join("data/link")).expect("a link");
    let flags = ["--userns", "nomap", "-v", "./data:/data:U"];
    assert_eq!(
        shell(
            &place,
            &flags,
            "stat -c %u /data /data/below/file; echo mine >/data/below/new"
        ),
        "65532\n65532\n"
    );
    let owner = |path: &str| {
        fs::symlink_metadata(place.context().join(path))
            .expect("it is there")
            .uid()
    };
    let own = fs::metadata(place.context()).expect("the context").uid();
    assert_ne!(owner("data/below/file"), own);
    assert_eq!(
        owner("data/below/file"),
        owner("data/link"),
        "the link itself"
    );
    assert_eq!(owner("elsewhere"), own, "not what it leads to");
    // And back, so that the test's directory can be removed.
    shell(&place, &["-v", "./data:/data:U"], "true");
    assert_eq!(owner("data/below/new"), own);
}

/// The map of a mode, as the kernel tells it, its ids counted in the session: 0 is the caller, 1 the first subordinate id.
fn kernels_map(place: &Place, flags: &[&str]) -> Vec<[u32; 3]> {
    let text = shell(
        place,
        &[flags, &["-u", "0"]].concat(),
        "cat /proc/self/uid_map",
    );
    let numbers = |line: &str| {
        let numbers: Vec<u32> = line
            .split_whitespace()
            .map(|word| word.parse().expect("a number"))
            .collect();
        <[u32; 3]>::try_from(numbers).expect("three of them")
    };
    text.lines().map(numbers).collect()
}

/// Flags, the user that they are tried with, and the map; no map where there can be none.
type Row = (&'static [&'static str], u32, Vec<[u32; 3]>);

/// The arithmetic of podman-run(1), in a session with so many subordinate ids.
fn table(count: u32) -> Vec<Row> {
    vec![
        (&["--userns", "nomap"], 1000, vec![[0, 1, count]]),
        (&["--userns", "host"], 1000, vec![[0, 0, 1], [1, 1, count]]),
        (
            &["--userns", "keep-id:uid=1000,gid=1000"],
            1000,
            vec![[0, 1, 1000], [1000, 0, 1], [1001, 1001, count - 1000]],
        ),
        (
            &["--userns", "keep-id:uid=1000,gid=1000"],
            70,
            vec![[0, 1, 1000], [1000, 0, 1], [1001, 1001, count - 1000]],
        ),
        (
            &["--userns", "keep-id:uid=1000,gid=1000"],
            2000,
            vec![[0, 1, 1000], [1000, 0, 1], [1001, 1001, count - 1000]],
        ),
        (
            &["--userns", "keep-id:uid=65532,gid=65532"],
            65_532,
            vec![
                [0, 1, 65_532],
                [65_532, 0, 1],
                [65_533, 65_533, count - 65_532],
            ],
        ),
        (
            &["--userns", "keep-id:uid=5,gid=5,size=1000"],
            999,
            vec![[0, 1, 5], [5, 0, 1], [6, 6, 994]],
        ),
        (&["--userns", "auto:size=2000"], 1999, vec![[0, 1, 2000]]),
        (
            &["--uidmap", "0:1:70000", "--uidmap", "70000:0:1"],
            0,
            vec![],
        ),
        (
            &[
                "--uidmap",
                "0:1:1000",
                "--uidmap",
                "1000:0:1",
                "--uidmap",
                "1001:1001:64536",
            ],
            1000,
            vec![[0, 1, 1000], [1000, 0, 1], [1001, 1001, 64_536]],
        ),
        (&["--uidmap", "0:101:100"], 70, vec![[0, 101, 100]]),
        (
            &["--uidmap", "+7:1:1"],
            7,
            vec![[0, 0, 1], [2, 2, 5], [7, 1, 1], [8, 8, count - 7]],
        ),
    ]
}

#[test]
fn every_mode_has_the_map_of_the_table_and_writes_as_it_says() {
    let place = requires_image!();
    requires!(sub_ids);
    // What the session counts, below what the host does.
    let session = place.expect(0, &["unshare", "cat", "/proc/self/uid_map"]).0;
    let session: Vec<Vec<u32>> = session
        .lines()
        .map(|line| {
            line.split_whitespace()
                .map(|word| word.parse().expect("a number"))
                .collect()
        })
        .collect();
    let on_host = |id: u32| {
        let extent = session
            .iter()
            .find(|extent| (extent[0]..extent[0] + extent[2]).contains(&id));
        let extent = extent.expect("a session id");
        extent[1] + id - extent[0]
    };
    let count = session.iter().map(|extent| extent[2]).sum::<u32>() - 1;
    for (flags, user, map) in table(count) {
        if map.is_empty() {
            refused(&place, 125, flags, &["up to"]);
            continue;
        }
        if user == 65_532 && flags[1].starts_with("auto") {
            continue;
        }
        // An image of only root's and 70's files: 65532 has no place in the small maps.
        assert_eq!(kernels_map(&place, flags), map, "{flags:?}");
        let data = place.context().join("data");
        fs::create_dir(&data).expect("a directory");
        fs::set_permissions(&data, fs::Permissions::from_mode(0o777)).expect("its mode");
        let user_text = format!("{user}:{user}");
        let more = ["-u", user_text.as_str(), "-v", "./data:/data"];
        let script = "stat -c %u /greet /bin/busybox; echo x >/data/made";
        let seen = shell(&place, &[flags, &more[..]].concat(), script);
        assert_eq!(seen, "70\n0\n", "{flags:?}");
        let extent = map
            .iter()
            .find(|extent| (extent[0]..extent[0] + extent[2]).contains(&user));
        let [inside, outside, _] = extent.expect("the user is in the map");
        let owner = fs::metadata(data.join("made"))
            .expect("what was made")
            .uid();
        assert_eq!(owner, on_host(outside + user - inside), "{flags:?}: {user}");
        fs::remove_dir_all(&data)
            .or_else(|_| {
                place.expect(0, &["unshare", "rm", "-rf", data.to_str().expect("UTF-8")]);
                Ok::<_, std::io::Error>(())
            })
            .expect("it is removed");
    }
}

#[test]
fn two_containers_of_auto_have_no_id_in_common() {
    let place = requires_image!();
    requires!(sub_ids);
    let auto = ["--userns", "auto:size=1024"];
    let flags = [
        &["--network", "none", "-u", "70:70", "-v", ".:/data"],
        &auto[..],
    ]
    .concat();
    fs::set_permissions(place.context(), fs::Permissions::from_mode(0o777)).expect("its mode");
    let script =
        "cat /proc/self/uid_map >/data/first; while [ ! -e /data/end ]; do sleep 0.05; done";
    let mut first = spawn(&place, &flags, script);
    let text = until("the first writes its map", || {
        fs::read_to_string(place.context().join("first"))
            .ok()
            .filter(|text| text.ends_with('\n'))
    });
    assert_eq!(
        text.split_whitespace().collect::<Vec<_>>(),
        ["0", "1", "1024"]
    );
    assert_eq!(kernels_map(&place, &auto), [[0, 1025, 1024]]);
    let seen = shell(
        &place,
        &[&auto[..], &["-u", "70:70"]].concat(),
        "stat -c %u /greet /bin; cat /greet | wc -l",
    );
    assert_eq!(seen, "70\n0\n2\n", "files are re-owned, and readable");
    fs::write(place.context().join("end"), "").expect("a file");
    assert!(first.wait().expect("it ends").success());
    assert_eq!(
        kernels_map(&place, &auto),
        [[0, 1, 1024]],
        "what ended holds nothing"
    );
    place.expect(0, &["unshare", "rm", "-f", "first"]);
}

/// Names the port at which this very program answers a datagram, inside a container.
const ANSWERING: &str = "RBUILD_E2E_ANSWERING";

#[test]
fn a_datagram_is_answered() {
    let port = std::env::var(ANSWERING).map_or(0, |port| port.parse().expect("a port"));
    let server = UdpSocket::bind(("0.0.0.0", port)).expect("a socket");
    let own_port = server.local_addr().expect("its address").port();
    let answer = move || {
        let mut packet = [0; 64];
        let (_, peer) = server.recv_from(&mut packet).expect("a datagram");
        server.send_to(b"over-udp", peer).expect("an answer")
    };
    if port != 0 {
        while answer() > 0 {}
    }
    // Outside of a container it asks itself.
    let port = own_port;
    let asking = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    asking
        .send_to(b"x", ("127.0.0.1", port))
        .expect("a question");
    assert_eq!(answer(), 8);
}

#[test]
fn s74_published_ports_lead_in_and_do_not_look_like_loopback() {
    requires!(pasta);
    let place = requires_image!();
    let free = |address: &str| {
        let socket = std::net::TcpListener::bind(address).ok()?;
        socket.local_addr().ok().map(|address| address.port())
    };
    let (tcp, six) = (free("127.0.0.1:0").expect("a port"), free("[::1]:0"));
    let udp = {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.local_addr().expect("its address").port()
    };
    // The same port on both sides: pasta of Debian 12 translates no UDP ports.
    let mut flags = vec![
        "-p".to_owned(),
        format!("127.0.0.1:{tcp}:8080"),
        "-p".to_owned(),
        format!("127.0.0.1:{udp}:{udp}/udp"),
    ];
    if let Some(six) = six {
        flags.extend(["-p".to_owned(), format!("[::1]:{six}:8082")]);
    }
    let program = std::env::current_exe().expect("this program");
    flags.extend([
        "-v".to_owned(),
        format!("{}:/answering:ro", program.display()),
        "-e".to_owned(),
        format!("{ANSWERING}={udp}"),
    ]);
    let script = "nc -l -p 8080 -e /bin/sh -c 'cat /proc/net/tcp; echo over-tcp' & \
                  httpd -f -p [::]:8082 -h /etc & /answering --exact container_flags::a_datagram_is_answered";
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let mut child = spawn(&place, &flags, script);
    let stderr = child.stderr.take().expect("a pipe");
    let answer = |address: String, question: &str| {
        until(&address, || {
            let mut stream = TcpStream::connect(&address).ok()?;
            stream.write_all(question.as_bytes()).ok()?;
            let mut text = String::new();
            let _ = stream.read_to_string(&mut text);
            (!text.is_empty()).then_some(text)
        })
    };
    let text = answer(format!("127.0.0.1:{tcp}"), "");
    assert!(text.contains("over-tcp"), "{text}");
    let established: Vec<&str> = text
        .lines()
        .filter(|line| line.contains(":1F90") && line.contains(" 01 "))
        .collect();
    assert!(!established.is_empty(), "{text}");
    let looks = |line: &&&str| {
        let peer = line.split_whitespace().nth(2).unwrap_or_default();
        peer.starts_with("0100007F")
    };
    let loopback = established
        .iter()
        .find(looks)
        .map(|line| (*line).to_owned());
    if let Some(six) = six {
        let text = answer(format!("[::1]:{six}"), "GET /hostname HTTP/1.0\r\n\r\n");
        assert!(text.contains("200 OK"), "{text}");
    }
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket
        .set_read_timeout(Some(Duration::from_millis(300)))
        .expect("a timeout");
    let text = until("an answer over UDP", || {
        let mut packet = [0; 64];
        socket.send_to(b"x\n", ("127.0.0.1", udp)).ok()?;
        let length = socket.recv(&mut packet).ok()?;
        Some(String::from_utf8_lossy(&packet[..length]).into_owned())
    });
    assert!(text.contains("over-udp"), "{text}");
    let _ = child.kill();
    let _ = child.wait();
    let mut told = String::new();
    let mut stderr = std::io::BufReader::new(stderr);
    stderr.read_to_string(&mut told).expect("what rbuild said");
    // A pasta that cannot help it is named.
    let warned = told.contains("this pasta passes connections from 127.0.0.1");
    assert_eq!(loopback.is_some(), warned, "{loopback:?}: {told}");
    refused(
        &place,
        2,
        &["-p", "80:80"],
        &["--publish", "--network none"],
    );
}

#[test]
fn a_port_that_is_not_named_is_found_and_told() {
    requires!(pasta);
    let place = requires_image!();
    let (_, stderr) = place.expect(0, &["run", "-p", "127.0.0.1::80", "box", "/bin/true"]);
    let told = stderr
        .lines()
        .find(|line| line.contains("port 80 of the container is port "));
    assert!(told.is_some(), "{stderr}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("its address").port();
    let publish = format!("127.0.0.1:{port}:80");
    let (_, stderr) = place.expect(125, &["run", "-p", &publish, "box", "/bin/true"]);
    assert!(stderr.contains(&port.to_string()), "{stderr}");
    let _ = std::io::stdout().flush();
}

#[test]
fn packets_of_pasta_have_the_size_that_was_asked_for() {
    requires!(pasta);
    let place = requires_image!();
    let args = [
        "run",
        "--network",
        "pasta:mtu=1337",
        "box",
        "/bin/ip",
        "link",
    ];
    let (links, _) = place.expect(0, &args);
    assert!(links.contains("mtu 1337"), "{links}");
}
