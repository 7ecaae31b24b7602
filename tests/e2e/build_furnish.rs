//! What an image gets beyond its instructions: a CA bundle that programs find, and the account of its user.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::Place;

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

/// Lines of `inspect --files` by path: what stands before and behind it.
fn files(place: &Place, image: &str) -> BTreeMap<String, String> {
    let (said, _) = place.expect(0, &["inspect", image, "--files"]);
    let entry = |line: &str| {
        let (before, path) = line.split_once(" /").expect("a path");
        let (path, behind) = path.split_once(' ').unwrap_or((path, ""));
        (
            format!("/{path}"),
            format!("{before} {behind}").trim().to_owned(),
        )
    };
    said.lines().map(entry).collect()
}

fn env(place: &Place, image: &str) -> Vec<String> {
    let (said, _) = place.expect(0, &["inspect", image, "--format", "json"]);
    let answer = json(&said);
    let env = answer["config"]["config"]["Env"].as_array().cloned();
    let env = env.unwrap_or_default().into_iter();
    env.map(|one| one.as_str().expect("text").to_owned())
        .collect()
}

/// Runs openssl in the context.
fn openssl(place: &Place, args: &[&str]) {
    let output = Command::new("openssl")
        .args(args)
        .current_dir(place.context())
        .output()
        .expect("the program openssl");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {said}");
}

/// A certificate authority `ca.pem`, and `server.pem` with `server.key` of it for 127.0.0.1.
fn authority(place: &Place) {
    let new = [
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
    ];
    let mut args = vec!["req", "-x509"];
    args.extend(new);
    args.extend([
        "-keyout",
        "ca.key",
        "-subj",
        "/CN=A test's own CA",
        "-days",
        "30",
        "-out",
        "ca.pem",
    ]);
    openssl(place, &args);
    let mut args = vec!["req"];
    args.extend(new);
    args.extend([
        "-keyout",
        "server.key",
        "-subj",
        "/CN=server",
        "-out",
        "server.csr",
    ]);
    openssl(place, &args);
    place.write("ext", "subjectAltName=IP:127.0.0.1\n");
    let args = [
        "x509",
        "-req",
        "-in",
        "server.csr",
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca.key",
        "-CAcreateserial",
        "-days",
        "30",
        "-extfile",
        "ext",
        "-out",
        "server.pem",
    ];
    openssl(place, &args);
}

/// Copies a program of this machine and all that it needs into the directory `scratch` of the context.
fn gathered(place: &Place, program: &str) {
    let (said, _) = place.expect(0, &["closure", program, "--format", "json"]);
    let answer = json(&said);
    let needed = answer[0]["files"].as_array().expect("files").iter();
    let needed = needed.map(|file| file["path"].as_str().expect("a path").to_owned());
    for path in needed.chain([program.to_owned()]) {
        let to = place.context().join("scratch").join(&path[1..]);
        fs::create_dir_all(to.parent().expect("a parent")).expect("a directory");
        if fs::symlink_metadata(&to).is_ok() {
            continue;
        }
        match fs::read_link(&path) {
            Ok(target) => symlink(target, to).expect("a link"),
            Err(_) => drop(fs::copy(&path, &to).expect("a file")),
        }
    }
}

/// A TLS server with the certificate `server.pem`, until it is dropped.
struct Server(Child, u16);

impl Server {
    fn start(place: &Place) -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .expect("a port")
            .local_addr();
        let port = port.expect("an address").port();
        let child = Command::new("openssl")
            .args([
                "s_server",
                "-accept",
                &format!("127.0.0.1:{port}"),
                "-quiet",
                "-www",
            ])
            .args(["-cert", "server.pem", "-key", "server.key"])
            .current_dir(place.context())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program openssl");
        let server = Self(child, port);
        let start = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(start.elapsed() < Duration::from_secs(20), "no server");
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_scratch_image_with_a_corporate_ca_talks_tls_by_its_bundle_and_by_its_directory() {
    requires!(execution);
    requires!(program "openssl");
    let place = Place::new();
    authority(&place);
    gathered(&place, "/usr/bin/openssl");
    let file = "FROM scratch\nCOPY scratch /\n# rbuild:ca-certificates extra=ca.pem\nENTRYPOINT [\"/usr/bin/openssl\"]\nUSER 65532:65532\n";
    place.build(file, &["-t", "app"]);
    let server = Server::start(&place);
    let address = format!("127.0.0.1:{}", server.1);
    let connect = |env: &[&str], code| {
        let mut args = vec!["run", "--network", "host"];
        args.extend(env.iter().flat_map(|one| ["-e", one]));
        args.extend([
            "app",
            "s_client",
            "-connect",
            &address,
            "-verify_return_error",
            "-verify_ip",
            "127.0.0.1",
            "-brief",
        ]);
        place.expect(code, &args)
    };
    connect(&[], 0);
    let nowhere = "SSL_CERT_FILE=/nowhere";
    connect(&[nowhere], 0);
    // It is these that make it work.
    connect(&[nowhere, "SSL_CERT_DIR=/nowhere"], 1);
    place.build(&file.replace(" extra=ca.pem", ""), &["-t", "app"]);
    connect(&[], 1);
}

#[test]
fn the_bundle_is_mozillas_list_and_variables_are_set_for_what_reads_them() {
    let place = Place::new();
    let reader = [&b"\x7fELF"[..], &[0; 64], b"SSL_CERT_FILE SSL_CERT_DIR"].concat();
    let go = [
        &b"\x7fELF\xff Go buildinf:"[..],
        &[0; 64],
        b"SSL_CERT_FILE SSL_CERT_DIR",
    ]
    .concat();
    place
        .write("reader", reader)
        .write("go", go)
        .write("plain", "SSL_CERT_FILE");
    let file = |name: &str, more: &str| {
        format!(
            "FROM scratch\nCOPY {name} /bin/\n# rbuild:ca-certificates\n{more}USER 65532:65532\n"
        )
    };
    let bundle = "/etc/ssl/certs/ca-certificates.crt";
    place.build(&file("plain", ""), &["-t", "app"]);
    let of_plain = files(&place, "app");
    assert!(of_plain[bundle].starts_with("- 0644 0:0 "), "{of_plain:?}");
    assert!(!env(&place, "app").iter().any(|one| one.starts_with("SSL_")));
    assert_eq!(
        of_plain.keys().filter(|path| path.ends_with(".0")).count(),
        0
    );

    place.build(&file("go", ""), &["-t", "app"]);
    assert!(env(&place, "app").contains(&format!("SSL_CERT_FILE={bundle}")));
    assert!(
        !env(&place, "app")
            .iter()
            .any(|one| one.starts_with("SSL_CERT_DIR"))
    );

    place.build(&file("reader", ""), &["-t", "app"]);
    assert!(env(&place, "app").contains(&"SSL_CERT_DIR=/etc/ssl/certs".to_owned()));
    let of_reader = files(&place, "app");
    assert!(of_reader.keys().filter(|path| path.ends_with(".0")).count() > 100);
    assert_eq!(
        of_reader[bundle], of_plain[bundle],
        "the same certificates are the same bytes"
    );
    let (why, _) = place.expect(0, &["why", "app", bundle]);
    assert_eq!(
        why,
        format!("{bundle}\n  it is from: # rbuild:ca-certificates\n")
    );

    // What the Containerfile says goes before.
    place.build(&file("go", "ENV SSL_CERT_FILE=/own\n"), &["-t", "app"]);
    assert!(env(&place, "app").contains(&"SSL_CERT_FILE=/own".to_owned()));
    place.build(
        &file("go", ""),
        &["-t", "app", "--unsetenv", "SSL_CERT_FILE"],
    );
    assert!(!env(&place, "app").iter().any(|one| one.starts_with("SSL_")));
    // And the command line before that.
    place.build(&file("go", ""), &["-t", "app", "--ca", "off"]);
    assert!(!files(&place, "app").contains_key(bundle));
}

#[test]
fn the_bundle_of_a_stage_is_parsed_sorted_and_part_of_the_key() {
    requires!(program "openssl");
    let place = Place::new();
    authority(&place);
    let ca = fs::read_to_string(place.context().join("ca.pem")).expect("it");
    let server = fs::read_to_string(place.context().join("server.pem")).expect("it");
    let file = "FROM scratch AS roots\nCOPY roots.pem /etc/pki/tls/certs/ca-bundle.crt\nFROM scratch\nCOPY x /x\n# rbuild:ca-certificates from=roots\nUSER 65532:65532\n";
    place.write("x", "x");
    let built = |text: &str| {
        place.write("roots.pem", text);
        place.build(file, &["-t", "app", "--timestamp", "0"])
    };
    let one = built(&format!("# a remark\n{ca}{server}{ca}"));
    let two = built(&format!("{server}{ca}"));
    assert_eq!(
        one, two,
        "the same certificates in any order are the same image"
    );
    assert_ne!(one, built(&ca));
    // Nothing is done again when nothing changed.
    let (_, said) = place.expect(
        0,
        &["build", "--progress", "plain", "--timestamp", "0", "."],
    );
    assert!(
        said.contains("rbuild:ca-certificates from=roots (cached)\n"),
        "{said}"
    );
    assert!(!said.contains("CA bundle"), "{said}");
    // A bundle that is none fails the build, at its line.
    place.write("roots.pem", "nothing");
    place.write("Containerfile", file);
    let (_, said) = place.expect(1, &["build", "."]);
    assert!(
        said.contains("find a certificate in /etc/pki/tls/certs/ca-bundle.crt of roots"),
        "{said}"
    );
    assert!(said.contains("Containerfile:5"), "{said}");
    place.write(
        "Containerfile",
        file.replace("/etc/pki/tls/certs/ca-bundle.crt", "/bundle"),
    );
    let (_, said) = place.expect(1, &["build", "."]);
    assert!(
        said.contains("find a CA bundle in roots") && said.contains("leave from= out"),
        "{said}"
    );
    place.write("Containerfile", file.replace("from=roots", "from=roost"));
    let (_, said) = place.expect(4, &["build", "."]);
    assert!(said.contains("roost"), "{said}");
}

#[test]
fn a_bundle_that_is_there_is_kept_and_gets_what_is_extra() {
    requires!(program "openssl");
    let place = Place::new();
    authority(&place);
    let file = "FROM scratch\nCOPY ca.pem /etc/ssl/cert.pem\n# rbuild:ca-certificates extra=certs/more.pem\nUSER 65532:65532\n";
    fs::create_dir(place.context().join("certs")).expect("a directory");
    fs::copy(
        place.context().join("server.pem"),
        place.context().join("certs/more.pem"),
    )
    .expect("a file");
    place.build(file, &["-o", "out"]);
    let made = fs::read_to_string(place.context().join("out/etc/ssl/cert.pem")).expect("it");
    assert_eq!(made.matches("BEGIN CERTIFICATE").count(), 2);
    openssl(
        &place,
        &["verify", "-CAfile", "out/etc/ssl/cert.pem", "server.pem"],
    );
    assert!(!place.context().join("out/etc/ssl/certs").exists());
    place.write(".containerignore", "certs\n");
    let (_, said) = place.expect(1, &["build", "."]);
    assert!(
        said.contains("certs/more.pem") && said.contains("ignore file"),
        "{said}"
    );
}

#[test]
fn ca_auto_adds_what_is_needed_and_a_file_of_the_caller_takes_its_place() {
    requires!(program "openssl");
    let place = Place::new();
    authority(&place);
    let reader = [&b"\x7fELF"[..], &[0; 64], b"SSL_CERT_FILE"].concat();
    place.write("reader", reader).write("plain", "x");
    let file = |name: &str| format!("FROM scratch\nCOPY {name} /bin/\nUSER 65532:65532\n");
    let bundle = "/etc/ssl/certs/ca-certificates.crt";
    let has = |args: &[&str], name: &str| {
        place.build(&file(name), &[&["-t", "app"], args].concat());
        files(&place, "app").contains_key(bundle)
    };
    assert!(!has(&[], "reader"));
    assert!(!has(&["--ca", "auto"], "plain"), "nothing reads it");
    assert!(has(&["--ca", "auto"], "reader"));
    assert!(has(&["--ca", "ca.pem"], "plain"));
    place.build(&file("plain"), &["--ca", "ca.pem", "-o", "out"]);
    let made = fs::read_to_string(place.context().join("out").join(&bundle[1..])).expect("it");
    assert_eq!(
        made,
        fs::read_to_string(place.context().join("ca.pem")).expect("it")
    );
    let (_, said) = place.expect(1, &["build", "--ca", "nowhere.pem", "."]);
    assert!(said.contains("read --ca nowhere.pem"), "{said}");
    let (_, said) = place.expect(1, &["build", "--ca", "Containerfile", "."]);
    assert!(
        said.contains("find a certificate in Containerfile"),
        "{said}"
    );
}

#[test]
fn accounts_for_a_numeric_user_are_made_where_they_are_missing() {
    let place = Place::new();
    place.write("x", "x");
    let file = "FROM scratch\nCOPY x /x\n# rbuild:accounts name=app\nUSER 1234:4321\n";
    place.build(file, &["-t", "app", "-o", "out", "-o", "type=store"]);
    let read = |path: &str| fs::read_to_string(place.context().join("out").join(path)).expect("it");
    assert_eq!(
        read("etc/passwd"),
        "root:x:0:0:root:/root:/sbin/nologin\napp:x:1234:4321:app:/home/app:/sbin/nologin\n"
    );
    assert_eq!(read("etc/group"), "root:x:0:\napp:x:4321:\n");
    let of_image = files(&place, "app");
    assert_eq!(of_image["/home/app"], "d 0700 1234:4321");
    assert_eq!(of_image["/tmp"], "d 1777 0:0");
    assert_eq!(of_image["/home"], "d 0755 0:0");
    assert!(
        !of_image.contains_key("/etc/nsswitch.conf"),
        "there is no glibc"
    );
    let (why, _) = place.expect(0, &["why", "app", "/etc/passwd"]);
    assert!(
        why.ends_with("it is from: # rbuild:accounts name=app\n"),
        "{why}"
    );
    place.build(file, &["-t", "app", "--accounts", "off"]);
    assert!(!files(&place, "app").contains_key("/etc/passwd"));
}

#[test]
fn accounts_add_a_line_to_what_is_there_and_nothing_twice() {
    let place = Place::new();
    place
        .write("passwd", "root:x:0:0::/:/bin/sh")
        .write("x", "x");
    place.write("libc.so.6", "a stand-in");
    let file = "FROM scratch\nCOPY --chmod=0640 passwd /etc/passwd\nCOPY libc.so.6 /lib/x86_64-linux-gnu/\nCOPY x /tmp/x\nUSER 65532:65532\n";
    place.build(
        file,
        &[
            "-t",
            "app",
            "--accounts",
            "auto",
            "-o",
            "out",
            "-o",
            "type=store",
        ],
    );
    let read = |path: &str| fs::read_to_string(place.context().join("out").join(path)).expect("it");
    assert_eq!(
        read("etc/passwd"),
        "root:x:0:0::/:/bin/sh\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n"
    );
    assert!(read("etc/nsswitch.conf").contains("hosts: files dns\n"));
    let of_image = files(&place, "app");
    assert!(
        of_image["/etc/passwd"].starts_with("- 0640 0:0"),
        "{of_image:?}"
    );
    assert_eq!(of_image["/tmp"], "d 0755 0:0", "what is there stays");
    // On top of that nothing is missing.
    let more = "FROM app\nUSER 65532:65532\n";
    place.write("Containerfile", more);
    let (_, said) = place.expect(0, &["build", "--accounts", "auto", "-t", "more", "."]);
    assert!(!said.contains("accounts:"), "{said}");
    place.expect(0, &["diff", "app", "more", "--ignore-times"]);
    // Another user of the same name is not this one.
    place.write(
        "Containerfile",
        "FROM app\n# rbuild:accounts uid=7\nUSER 7:7\n",
    );
    let (_, said) = place.expect(1, &["build", "."]);
    assert!(
        said.contains("/etc/passwd has another one called nonroot"),
        "{said}"
    );
    for (comment, what) in [
        ("uid=x", "uid=x: expected a number"),
        ("name=Root!", "name=Root!: no system takes this for a user"),
        ("home=/", "rbuild:accounts has no option \"home\""),
    ] {
        place.write(
            "Containerfile",
            format!("FROM scratch\n# rbuild:accounts {comment}\nUSER 7:7\n"),
        );
        let (_, said) = place.expect(1, &["build", "."]);
        assert!(said.contains(what), "{said}");
    }
}

#[test]
fn in_a_stage_that_runs_something_the_same_is_added_and_found_by_programs() {
    let layout = requires!(base "busybox");
    requires!(execution);
    let place = Place::new();
    let context = format!("busybox=oci-layout:{}", layout.display());
    let file = "FROM busybox\nRUN rm -rf /etc/passwd /etc/group /tmp /home\n# rbuild:accounts name=app\n# rbuild:ca-certificates\nUSER 1234:1234\n";
    let args = [
        "-t",
        "app",
        "--build-context",
        &context,
        "--network",
        "none",
    ];
    place.build(file, &args);
    let (said, _) = place.expect(
        0,
        &[
            "run",
            "app",
            "sh",
            "-c",
            "id -un; echo ~; grep -c BEGIN /etc/ssl/certs/ca-certificates.crt",
        ],
    );
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[..2], ["app", "/home/app"]);
    assert!(lines[2].parse::<u32>().expect("a number") > 100);
    let of_image = files(&place, "app");
    assert_eq!(of_image["/home/app"], "d 0700 1234:1234");
    assert_eq!(of_image["/tmp"], "d 1777 0:0");
    let (_, said) = place.expect(
        0,
        &[&["build", "--progress", "plain"][..], &args, &["."]].concat(),
    );
    assert!(!said.contains("accounts:"), "it is cached: {said}");
}

#[test]
fn what_is_added_is_reproducible() {
    let place = Place::new();
    let reader = [&b"\x7fELF"[..], &[0; 64], b"SSL_CERT_FILE SSL_CERT_DIR"].concat();
    place.write("reader", reader);
    let file = "FROM scratch\nCOPY reader /bin/\n# rbuild:accounts\n# rbuild:ca-certificates\nUSER 65532:65532\n";
    place.write("Containerfile", file);
    let (_, said) = place.expect(0, &["build", "--check-reproducible", "."]);
    assert!(said.contains("reproducible: both builds gave"), "{said}");
}

#[test]
fn a_java_runtime_gets_its_trust_store_where_it_looks() {
    let place = Place::new();
    authority(&place);
    place.write("libjvm.so", "a runtime");
    place.write("old", "another store");
    let file = "FROM scratch\nCOPY libjvm.so /opt/java/lib/server/libjvm.so\nCOPY old /opt/java/lib/security/cacerts\n\
         # rbuild:ca-certificates extra=ca.pem\nUSER 1:1\n";
    place.build(file, &["-t", "java", "-o", "out", "-o", "type=store"]);
    let store = fs::read(place.context().join("out/opt/java/lib/security/cacerts")).expect("it");
    assert!(store.starts_with(&[0x30, 0x83]), "it is DER");
    // No password, as the cacerts of OpenJDK 18 and later.
    let output = Command::new("openssl")
        .args([
            "pkcs12",
            "-nokeys",
            "-passin",
            "pass:",
            "-in",
            "out/opt/java/lib/security/cacerts",
        ])
        .current_dir(place.context())
        .output()
        .expect("the program openssl");
    let read = String::from_utf8_lossy(&output.stdout).into_owned();
    let bundle = fs::read_to_string(
        place
            .context()
            .join("out/etc/ssl/certs/ca-certificates.crt"),
    )
    .expect("a bundle");
    let count = |text: &str| text.matches("BEGIN CERTIFICATE").count();
    assert!(count(&bundle) > 100, "{bundle}");
    assert_eq!(
        count(&read),
        count(&bundle),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(read.contains("friendlyName: a test's own ca ["), "{read}");

    // `--ca auto`: where a runtime has no store, and nothing else asks for a bundle.
    let bare = "FROM scratch\nCOPY libjvm.so /opt/java/lib/server/libjvm.so\nUSER 1:1\n";
    place.build(bare, &["-t", "bare", "--ca", "auto"]);
    assert!(files(&place, "bare").contains_key("/opt/java/lib/security/cacerts"));
    let own = "FROM scratch\nCOPY libjvm.so /opt/java/lib/server/libjvm.so\nCOPY old /opt/java/lib/security/cacerts\nUSER 1:1\n";
    place.build(own, &["-t", "own", "--ca", "auto"]);
    assert!(!files(&place, "own").contains_key("/etc/ssl/certs/ca-certificates.crt"));
}

#[test]
fn what_reads_a_database_of_nss_is_named() {
    let place = Place::new();
    place.write("libsoftokn3.so", "NSS");
    place.write(
        "Containerfile",
        "FROM scratch\nCOPY libsoftokn3.so /usr/lib/\n# rbuild:ca-certificates\nUSER 1:1\n",
    );
    let (_, said) = place.expect(0, &["build", "--progress", "plain", "-t", "nss", "."]);
    assert!(said.contains("/usr/lib/libsoftokn3.so reads certificates from a database of NSS, which is not written"), "{said}");
}
