//! `rbuild quadlet`: what Podman's own generator and systemd make of the units.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::support::Place;

/// An image with all that a unit can say of one. It needs nothing to run.
fn built(name: &str) -> Place {
    let place = Place::new();
    let files = "FROM scratch\nCOPY passwd /etc/passwd\nUSER app\nEXPOSE 80 9000/udp\nVOLUME /var/lib/app\n\
                 HEALTHCHECK --interval=5s CMD [\"/app\", \"--health\", \"100% $of \\\"it\\\"\"]\nENTRYPOINT [\"/app\"]\n";
    place.write("passwd", "app:x:1234:1235::/:/bin/false\n");
    place.build(
        files,
        &[
            "--closure",
            "off",
            "--format",
            "docker",
            "--user-policy",
            "off",
            "-t",
            name,
        ],
    );
    place
}

/// Podman's generator, where it is installed or among what is compared with.
fn generator() -> Option<PathBuf> {
    let installed = PathBuf::from("/usr/libexec/podman/quadlet");
    let peers = fs::read_dir("/var/cache/rbuild-peers")
        .into_iter()
        .flatten()
        .flatten();
    let peers = peers.map(|peer| peer.path().join("usr/libexec/podman/quadlet"));
    std::iter::once(installed)
        .chain(peers)
        .find(|path| path.is_file())
}

/// The service that the generator makes of the units in a directory.
fn generated(generator: &PathBuf, units: &PathBuf) -> String {
    let output = Command::new(generator)
        .args(["-dryrun", "-user"])
        .env("QUADLET_UNIT_DIRS", units)
        .output()
        .expect("the generator starts");
    let (stdout, stderr) = (&output.stdout, &output.stderr);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}", text(stderr));
    text(stdout)
}

/// The words of a command line, as systemd.service(5) and systemd.syntax(7) have it, with the two doubled characters made single.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = line.chars().peekable();
    while let Some(first) = rest.next() {
        if first == ' ' {
            continue;
        }
        let quoted = first == '"';
        let mut word = if quoted {
            String::new()
        } else {
            first.to_string()
        };
        while let Some(c) = rest.next() {
            match c {
                '"' if quoted => break,
                ' ' if !quoted => break,
                '\\' => match rest.next() {
                    Some('n') => word.push('\n'),
                    Some('t') => word.push('\t'),
                    Some('x') => {
                        let digits: String = rest.by_ref().take(2).collect();
                        let number = u8::from_str_radix(&digits, 16).expect("two digits");
                        word.push(char::from(number));
                    }
                    Some(other) => word.push(other),
                    None => {}
                },
                c => word.push(c),
            }
        }
        words.push(word.replace("%%", "%").replace("$$", "$"));
    }
    words
}

#[test]
fn an_image_becomes_a_unit_that_says_what_its_configuration_says() {
    let place = built("registry.example/team/web:1");
    let (unit, _) = place.expect(
        0,
        &[
            "quadlet",
            "--auto-update",
            "registry",
            "registry.example/team/web:1",
        ],
    );
    for line in [
        "Image=registry.example/team/web:1",
        "UserNS=keep-id:uid=1234,gid=1235",
        "DropCapability=all",
        "NoNewPrivileges=true",
        "ReadOnly=true",
        "Volume=web-app:/var/lib/app",
        "Sysctl=net.ipv4.ip_unprivileged_port_start=80",
        "# The image exposes a port: PublishPort=8080:80",
        "# The image exposes a port: PublishPort=9000:9000/udp",
        "HealthInterval=5000ms",
        "AutoUpdate=registry",
        "WantedBy=default.target",
        "#   loginctl enable-linger",
    ] {
        assert!(
            unit.lines().any(|one| one == line),
            "{line} is not in\n{unit}"
        );
    }
    // rbuild's own rules of units find nothing in it.
    place.write("web.container", &unit);
    let (findings, _) = place.expect(0, &["lint", "web.container"]);
    assert!(!findings.contains("RB9"), "{findings}");
    let (command, _) = place.expect(
        0,
        &[
            "quadlet",
            "--podman-run",
            "--auto-update",
            "registry",
            "registry.example/team/web:1",
        ],
    );
    assert!(
        command.starts_with("podman run -d ")
            && command.contains("--userns=keep-id:uid=1234,gid=1235"),
        "{command}"
    );
    assert!(unit.contains(command.trim()), "{command} is not in\n{unit}");
    let (_, stderr) = place.expect(1, &["quadlet", "no-such-image"]);
    assert!(stderr.contains("no-such-image"), "{stderr}");
    place.expect(2, &["quadlet", "-p", "x", "registry.example/team/web:1"]);
}

#[test]
fn podmans_generator_hands_on_every_byte() {
    let Some(generator) = generator() else {
        skip!("quadlet", "there is no generator of Quadlet");
    };
    let place = built("registry.example/team/web:1");
    let value = "100% \"of\" $HOME 'and' \\ back\nnew\tline %h";
    let variable = format!("ODD={value}");
    let data = place.context().join("my data%h$x");
    fs::create_dir(&data).expect("made");
    let volume = format!("{}:/data:ro", data.display());
    let units = place.context().join("units");
    fs::create_dir(&units).expect("made");
    let flags = "--volume-units|-p|127.0.0.1:8080:80/tcp|--memory|64m|-u|5:6|--entrypoint|/bin/my app|-w|/w x|--init|\
                 --hostname|h|--stop-timeout|5|--pids-limit|9|--tmpfs|/t:size=1m|--cap-add|chown";
    let odd = [
        "-o", "units", "-e", &variable, "-e", "EMPTY=", "-v", &volume,
    ];
    let image = "registry.example/team/web:1";
    let mut args = vec!["quadlet"];
    args.extend(odd.into_iter().chain(flags.split('|')));
    args.extend([image, "serve", "--percent=%i", "$X", "a\nb"]);
    place.expect(0, &args);
    let text = generated(&generator, &units);
    let line = text
        .lines()
        .filter_map(|line| line.strip_prefix("ExecStart="))
        .find(|line| line.contains("podman run "))
        .expect("a command");
    let words = words(line);
    let follows = |flag: &str, value: &str| {
        let found = words
            .windows(2)
            .any(|pair| pair[0] == flag && pair[1] == value);
        assert!(found, "{flag} {value:?} is not in\n{words:#?}");
    };
    follows("--env", &variable);
    let health = "--health-cmd|[\"/app\",\"--health\",\"100% $of \\\"it\\\"\"]";
    let pairs = "--env|EMPTY=\n-v|%h/context/my data%h$x:/data:ro\n--publish|127.0.0.1:8080:80/tcp\n--user|5:6\n\
                 --userns|keep-id:uid=5,gid=6\n--entrypoint|/bin/my app\n--workdir|/w x\n--hostname|h\n--stop-timeout|5\n\
                 --pids-limit|9\n--tmpfs|/t:size=1048576\n--cap-drop|all\n--cap-add|chown\n-v|web-app:/var/lib/app";
    for pair in pairs.lines().chain([health]) {
        let (flag, value) = pair.split_once('|').expect("a pair");
        follows(flag, value);
    }
    for word in [
        "--memory=64m",
        "--init",
        "--read-only",
        "--security-opt=no-new-privileges",
    ] {
        assert!(
            words.iter().any(|one| one == word),
            "{word} is not in\n{words:#?}"
        );
    }
    assert!(
        words.ends_with(
            &[
                "registry.example/team/web:1",
                "serve",
                "--percent=%i",
                "$X",
                "a\nb"
            ]
            .map(str::to_owned)
        ),
        "{words:#?}"
    );
}

#[test]
fn podmans_generator_takes_a_kube_unit() {
    let Some(generator) = generator() else {
        skip!("quadlet", "there is no generator of Quadlet");
    };
    let place = Place::new();
    place.write(
        "pod.yaml",
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: x\nspec:\n  containers: []\n",
    );
    let kube = place.context().join("kube");
    fs::create_dir(&kube).expect("made");
    place.expect(
        0,
        &[
            "quadlet", "--kube", "pod.yaml", "-p", "8080:80", "-o", "kube",
        ],
    );
    let text = generated(&generator, &kube);
    let yaml = place.context().join("pod.yaml");
    assert!(
        text.contains("kube play --replace") && text.contains(&*yaml.to_string_lossy()),
        "{text}"
    );
}

#[test]
fn systemd_finds_nothing_wrong_with_the_service() {
    requires!(program "systemd-analyze");
    let Some(generator) = generator() else {
        skip!("quadlet", "there is no generator of Quadlet");
    };
    let place = built("registry.example/team/web:1");
    let units = place.context().join("units");
    fs::create_dir(&units).expect("made");
    place.expect(
        0,
        &[
            "quadlet",
            "-o",
            "units",
            "-e",
            "A=50% $x \"y\"",
            "registry.example/team/web:1",
        ],
    );
    let text = generated(&generator, &units);
    // After a line that names it.
    let service = text
        .split_once("---\n")
        .map_or(&*text, |(_, service)| service);
    // Podman itself need not be there.
    let service = service.replace("/usr/bin/podman", "/bin/true");
    let service: String = service
        .lines()
        .filter(|line| !line.contains("podman-user-wait"))
        .map(|line| format!("{line}\n"))
        .collect();
    place.write("web.service", service);
    let output = Command::new("systemd-analyze")
        .args(["verify", "--user", "--man=no", "--generators=no"])
        .arg(place.context().join("web.service"))
        .env("XDG_RUNTIME_DIR", place.context())
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    let about: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("web.service"))
        .collect();
    assert!(about.is_empty(), "{said}");
}
