//! `--add-host NAME:host-gateway`: the address by which RUN reaches the machine, which it cannot otherwise.

use std::net::TcpListener;
use std::path::PathBuf;

use crate::build_oracle::Site;

const HOSTS: &str = "FROM busybox\nRUN cat /etc/hosts\n";

/// A `pasta` that writes down its arguments and does without the option that older ones lack; and PATH with it in front.
fn recording_pasta(site: &Site) -> (PathBuf, std::ffi::OsString) {
    let (log, bin) = (site.place.path().join("log"), site.place.path().join("bin"));
    let real = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .map(|directory| directory.join("pasta"))
        .find(|path| path.is_file())
        .expect("pasta");
    let text = format!(
        "#!/bin/sh\necho \"$*\" >>{}\nfor word do shift; case $word in --map-guest-addr|169.254.1.2) ;; *) set -- \"$@\" \"$word\" ;; esac; done\nexec {} \"$@\"\n",
        log.display(),
        real.display()
    );
    site.place.write_program("../bin/pasta", text);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths([bin].into_iter().chain(std::env::split_paths(&path)));
    (log, path.expect("a PATH"))
}

#[test]
fn the_address_is_podmans_and_only_what_asks_for_it_can_reach_the_machine() {
    requires!(pasta);
    let site = site!(run);
    let (log, path) = recording_pasta(&site);
    let arguments = || std::fs::read_to_string(&log).expect("pasta was started");
    let args = [
        "--network",
        "pasta",
        "--add-host",
        "me:host-gateway",
        "--add-host",
        "db=10.1.2.3",
    ];
    let built = site.built(site.command(HOSTS, &args).env("PATH", &path));
    for line in ["| 169.254.1.2\tme", "| 10.1.2.3\tdb"] {
        assert!(built.said(line), "{line} is missing in {}", built.stderr);
    }
    assert!(
        arguments().contains("--map-guest-addr 169.254.1.2"),
        "{}",
        arguments()
    );
    std::fs::remove_file(&log).expect("the log");
    let args = ["--network", "pasta", "--add-host", "db:10.1.2.3"];
    let built = site.built(site.command(HOSTS, &args).env("PATH", &path));
    assert_eq!(built.cached(), 0, "hosts are part of the key");
    assert!(!arguments().contains("--map-guest-addr"), "{}", arguments());
}

#[test]
fn the_machine_is_reached_or_pasta_is_said_to_be_too_old() {
    requires!(pasta);
    let site = site!(run);
    let listener = TcpListener::bind("0.0.0.0:0").expect("a port");
    let port = listener.local_addr().expect("its number").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = std::io::Write::write_all(&mut &stream, b"from the machine\n");
        }
    });
    let file = format!("FROM busybox\nRUN nc me {port} </dev/null\n");
    let args = ["--network", "pasta", "--add-host", "me:host-gateway"];
    let output = site.command(&file, &args).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    let help = std::process::Command::new("pasta")
        .arg("--help")
        .output()
        .expect("pasta");
    let help = [help.stdout, help.stderr].concat();
    if String::from_utf8_lossy(&help).contains("--map-guest-addr") {
        assert!(said.contains("| from the machine"), "{said}");
    } else {
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            said.contains("host-gateway needs a pasta that has this option"),
            "{said}"
        );
    }
}

#[test]
fn on_the_hosts_network_the_machine_is_itself_and_without_one_it_is_refused() {
    let site = site!(run);
    let ask = ["--add-host", "me:host-gateway"];
    let built = site.build(HOSTS, &[&ask[..], &["--network", "host"]].concat());
    assert!(built.said("| 127.0.0.1\tme"), "{}", built.stderr);
    let none = [&ask[..], &["--network", "none"]].concat();
    let output = site.command(HOSTS, &none).output().expect("it starts");
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("host-gateway") && said.contains("--network none"),
        "{said}"
    );
    // Nothing asks for the address.
    site.build("FROM busybox\nCOPY Containerfile /\n", &none);
}
