//! What RUN is shut in by: setuid programs, capabilities, working directories, files that are put over the image's.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

#[test]
fn setuid_programs_work_unless_no_new_privileges_is_asked_for() {
    let site = site!(ids);
    let file = "FROM busybox\n\
                RUN rm /bin/su && cp /bin/busybox /bin/su && chmod 4755 /bin/su && \\\n\
                echo 'u:x:1000:1000::/:/bin/sh' >>/etc/passwd && sed -i 's/^root:x/root:/' /etc/passwd\n\
                USER 1000:1000\nRUN /bin/su -c 'echo became=$(id -u)' root || echo refused\n";
    let built = site.build(file, &[]);
    assert!(built.said("| became=0"), "{}", built.stderr);
    let built = site.build(file, &["--no-cache", "--security-opt", "no-new-privileges"]);
    assert!(built.said("| refused"), "{}", built.stderr);
}

#[test]
fn root_in_run_has_podmans_capabilities_and_others_have_none() {
    let site = site!(ids);
    let file = "FROM busybox\nRUN grep Cap /proc/self/status | tr '\\t' ' '\n\
                USER 1:1\nRUN grep Cap /proc/self/status | tr '\\t' ' '\n";
    let built = site.build(file, &[]);
    let of = |step: &str| -> Vec<&str> {
        built
            .stderr
            .lines()
            .filter_map(|line| line.strip_prefix(step)?.strip_prefix("] | "))
            .collect()
    };
    let (none, eleven) = ("0000000000000000", "00000000800405fb");
    assert_eq!(
        of("[stage-0 1/2"),
        [
            format!("CapInh: {none}"),
            format!("CapPrm: {eleven}"),
            format!("CapEff: {eleven}"),
            format!("CapBnd: {eleven}"),
            format!("CapAmb: {none}"),
        ]
    );
    assert_eq!(
        of("[stage-0 2/2")[..3],
        [
            format!("CapInh: {none}"),
            format!("CapPrm: {none}"),
            format!("CapEff: {none}"),
        ]
    );
}

#[test]
fn s36_a_working_directory_in_proc_self_fd_reaches_nothing() {
    let site = site!(run);
    site.place.write("canary", "HOST\n");
    for number in [3, 4, 5, 6, 7, 8, 9, 10] {
        let file = format!("FROM busybox\nWORKDIR /proc/self/fd/{number}\nRUN cat canary\n");
        let output = site.command(&file, &[]).output().expect("it starts");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{number}: {stderr}");
        assert!(!stderr.contains("| HOST"), "{number}: {stderr}");
    }
}

#[test]
fn s37_a_symlinked_working_directory_is_made_in_the_image() {
    let site = site!(ids);
    let canary = site.place.path().join("canary");
    fs::create_dir(&canary).expect("the canary");
    fs::set_permissions(&canary, fs::Permissions::from_mode(0o750)).expect("its mode");
    let path = canary.display();
    let file = format!(
        "FROM busybox\nRUN ln -s {path} /w && ln -s ../../../../.. /up\nUSER 1000:1000\nWORKDIR /w/new\nRUN pwd\n\
         WORKDIR /up/etc\nRUN pwd; cat passwd\n"
    );
    let built = site.build(&file, &[]);
    assert!(built.said(&format!("| {path}/new")), "{}", built.stderr);
    assert!(
        built.said("| nobody:x:65534:65534:nobody:/:/bin/false"),
        "{}",
        built.stderr
    );
    assert_eq!(fs::read_dir(&canary).expect("the canary").count(), 0);
    let mode = fs::metadata(&canary).expect("the canary").permissions();
    assert_eq!(mode.mode() & 0o7777, 0o750);
    let made = path.to_string();
    let made = format!("d 0755 1000:1000 {}/new", made.trim_start_matches('/'));
    let layers = built.layers();
    assert!(layers[1].contains(&made), "{layers:#?}");
}

#[test]
fn s49_files_put_over_the_images_are_never_written_through() {
    let site = site!(run);
    let canary = site.place.path().join("canary");
    fs::write(&canary, "canary\n").expect("the canary");
    for kind in ["link", "escape", "directory", "fifo", "file"] {
        let odd = site.place.context().join("odd");
        let _absent_at_first = fs::remove_dir_all(&odd);
        fs::create_dir_all(odd.join("etc")).expect("a directory");
        let path = odd.join("etc/resolv.conf");
        let link = |target: &str| std::os::unix::fs::symlink(target, &path).expect("a link");
        match kind {
            "link" => link(&canary.display().to_string()),
            "escape" => link("../../../../../../../../etc/hostname"),
            "directory" => fs::create_dir(&path).expect("a directory"),
            "fifo" => {
                let status = std::process::Command::new("mkfifo").arg(&path).status();
                assert!(status.expect("mkfifo starts").success());
            }
            _ => fs::write(&path, "image's own\n").expect("a file"),
        }
        let file = "FROM busybox\nCOPY odd/ /\nRUN echo overwritten >/etc/resolv.conf; true\n";
        let output = site.command(file, &[]).output().expect("it starts");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(fs::read_to_string(&canary).expect("the canary"), "canary\n");
        assert!(
            output.status.success() || output.status.code() == Some(1),
            "{kind}: {stderr}"
        );
        if kind == "file" {
            let built = site.build(file, &[]);
            let layers = built.layers();
            assert_eq!(layers.len(), 1, "the RUN changed nothing: {layers:#?}");
            assert!(
                layers[0].contains(&r#"f 0644 0:0 etc/resolv.conf = "image's own\n""#.to_owned())
            );
        }
    }
}

#[test]
fn what_a_run_writes_over_injected_files_stays_in_that_run() {
    let site = site!(run);
    let file = "FROM busybox\n\
                RUN echo changed >/etc/resolv.conf; echo changed >/etc/hosts; mkdir -p /dev/shm/x && echo >/dev/x\n\
                RUN ! grep changed /etc/resolv.conf /etc/hosts; test ! -e /dev/x\n";
    let built = site.build(file, &[]);
    assert_eq!(built.layers(), Vec::<Vec<String>>::new());
}

#[test]
fn an_isolated_run_sees_only_the_loopback_interface() {
    let site = site!(run);
    let built = site.build(
        "FROM busybox\nRUN --network=none ip -o link | wc -l; test ! -s /etc/resolv.conf\n",
        &[],
    );
    assert!(built.said("| 1"), "{}", built.stderr);
    let stderr = site.fails("FROM busybox\nRUN --network=host true\nUSER 1:1\n", &[]);
    assert!(
        stderr.contains("--allow network.host") && stderr.contains("Containerfile:2:"),
        "s29: {stderr}"
    );
}

#[test]
fn all_runs_of_a_build_share_one_network_of_pasta() {
    requires!(pasta);
    let site = site!(run);
    let file = "FROM busybox\nRUN readlink /proc/self/ns/net; ip -o link | grep -c -v LOOPBACK\n\
                RUN readlink /proc/self/ns/net; grep -c ^nameserver /etc/resolv.conf\n";
    let built = site.build(file, &["--network", "pasta"]);
    let namespaces: Vec<&str> = built
        .stderr
        .lines()
        .filter_map(|line| line.split_once("| net:").map(|(_, name)| name))
        .collect();
    let own = std::fs::read_link("/proc/self/ns/net").expect("the tests' own");
    assert_eq!(namespaces.len(), 2, "{}", built.stderr);
    assert_eq!(namespaces[0], namespaces[1]);
    assert!(!own.to_string_lossy().contains(namespaces[0]));
    assert_eq!(
        built.stderr.matches("| 1\n").count(),
        2,
        "one interface, one resolver: {}",
        built.stderr
    );
}

#[test]
fn the_hosts_network_is_given_only_when_the_command_line_allows_it() {
    let site = site!(run);
    let own = std::fs::read_link("/proc/self/ns/net").expect("the tests' own");
    let line = format!("| {}", own.display());
    let ask = "FROM busybox\nRUN --network=host readlink /proc/self/ns/net\n";
    let allowed = site.build(ask, &["--allow", "network.host"]);
    assert!(allowed.said(&line), "{}", allowed.stderr);
    let whole = site.build(
        "FROM busybox\nRUN readlink /proc/self/ns/net && ls /sys/class\n",
        &["--network", "host"],
    );
    assert!(whole.said(&line), "{}", whole.stderr);
}
