//! The linter's eye for images: every rule on images that it finds something in, and on their neighbours that it does not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rbuild_containerfile as containerfile;

use containerfile::lint::{
    self, Account, FileFact, FileKind, ImageFacts, LayerFact, ModuleFact, Options, ProgramFact, Tls,
};
use containerfile::{Severity, Source};

fn put(image: &mut ImageFacts, path: &str, kind: FileKind, mode: u32, owner: u32) {
    let fact = FileFact {
        kind,
        mode,
        uid: owner,
        gid: owner,
        capabilities: false,
    };
    image.files.insert(path.to_owned(), fact);
}

fn file(image: &mut ImageFacts, path: &str, mode: u32, owner: u32) {
    put(image, path, FileKind::File, mode, owner);
}

fn directory(image: &mut ImageFacts, path: &str, mode: u32, owner: u32) {
    put(image, path, FileKind::Directory, mode, owner);
}

/// The program that is started.
fn app(image: &mut ImageFacts) -> &mut ProgramFact {
    &mut image.programs[0]
}

fn account(uid: u32, home: Option<&str>) -> Option<Account> {
    Some(Account {
        uid,
        groups: vec![uid],
        home: home.map(str::to_owned),
    })
}

/// A module, and what it lacks.
fn module(path: &str, missing: &[&str]) -> ModuleFact {
    ModuleFact {
        path: path.to_owned(),
        missing: missing.iter().map(|&name| name.to_owned()).collect(),
        tls: false,
    }
}

/// An image that nothing is wrong with.
fn sound() -> ImageFacts {
    let mut image = ImageFacts {
        name: "app".to_owned(),
        architecture: "amd64".to_owned(),
        user: "65532:65532".to_owned(),
        account: account(65532, Some("/home/app")),
        entrypoint: vec!["/app".to_owned()],
        programs: vec![ProgramFact {
            path: "/app".to_owned(),
            architecture: Some("amd64".to_owned()),
            started: true,
            closure: vec!["/app".to_owned()],
            ..ProgramFact::default()
        }],
        ..ImageFacts::default()
    };
    for path in ["/", "/etc", "/home"] {
        directory(&mut image, path, 0o755, 0);
    }
    directory(&mut image, "/tmp", 0o1777, 0);
    directory(&mut image, "/home/app", 0o700, 65532);
    file(&mut image, "/app", 0o555, 0);
    file(&mut image, "/etc/passwd", 0o444, 0);
    image
}

/// What is found in the sound image after a change: rules and messages.
fn found(change: impl FnOnce(&mut ImageFacts)) -> Vec<String> {
    let mut image = sound();
    change(&mut image);
    let (source, report) = lint::lint_image(&image, &Options::default());
    let shown = report.findings.iter().map(|one| {
        let line = source.slice(one.span);
        assert!(!line.is_empty() && !line.contains('\n'), "{one:?}");
        format!("{} {line}: {}", one.rule.unwrap_or("-"), one.message)
    });
    shown.collect()
}

/// That the change makes exactly one finding, which says this.
fn finds(rule: &str, words: &str, change: impl FnOnce(&mut ImageFacts)) {
    let found = found(change);
    assert!(
        found.len() == 1 && found[0].starts_with(&format!("{rule} ")) && found[0].contains(words),
        "{rule} {words:?}: {found:#?}"
    );
}

fn finds_nothing(change: impl FnOnce(&mut ImageFacts)) {
    let found = found(change);
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn a_sound_image_has_no_findings() {
    finds_nothing(|_| {});
}

#[test]
fn users_are_numbers_that_are_not_root() {
    finds("RB101", "USER # none is set", |image| {
        image.files.remove("/home/app");
        (image.user, image.account) = (String::new(), account(0, None));
        image.account.as_mut().expect("root").home = Some("/home".to_owned());
    });
    for user in ["0", "root", "0:0"] {
        finds("RB102", "is root", |image| {
            image.files.remove("/home/app");
            (image.user, image.account) = (user.to_owned(), account(0, Some("/home")));
        });
    }
    finds("RB103", "is a name", |image| image.user = "app".to_owned());
    finds("RB103", "in no passwd", |image| {
        (image.user, image.account) = ("app".to_owned(), None)
    });
    let mut image = sound();
    image.user = "app:app".to_owned();
    let help = lint::lint_image(&image, &Options::default()).1.findings[0]
        .help
        .clone();
    assert_eq!(help.as_deref(), Some("write: USER 65532:65532"));
}

#[test]
fn rb112_privileged_bits() {
    finds(
        "RB112",
        "-4755 0:0 /su: /su has the set-user-ID bit",
        |image| file(image, "/su", 0o4755, 0),
    );
    finds("RB112", "set-group-ID", |image| {
        file(image, "/x", 0o2755, 0)
    });
    finds("RB112", "file capabilities", |image| {
        image.files.get_mut("/app").expect("it").capabilities = true;
    });
    finds_nothing(|image| {
        directory(image, "/shared", 0o2755, 0);
        file(image, "/locked", 0o2644, 0);
    });
}

#[test]
fn rb202_a_library_that_nothing_uses() {
    finds("RB202", "/lib/libc.so.6", |image| {
        directory(image, "/lib", 0o755, 0);
        file(image, "/lib/libc.so.6", 0o755, 0);
    });
    finds_nothing(|image| {
        file(image, "/libc.so.6", 0o755, 0);
        app(image).dynamic = true;
    });
    finds_nothing(|image| {
        file(image, "/ld-musl-x86_64.so.1", 0o755, 0);
        let other = ProgramFact {
            path: "/other".to_owned(),
            dynamic: true,
            ..app(image).clone()
        };
        image.programs.push(other);
    });
}

#[test]
fn rb203_what_a_program_lacks() {
    finds("RB203", "needs libssl.so.3", |image| {
        app(image).dynamic = true;
        app(image).missing.push("libssl.so.3".to_owned());
    });
    finds("RB203", "file too short", |image| {
        app(image).troubles.push("file too short".to_owned())
    });
    let mut image = sound();
    app(&mut image).started = false;
    app(&mut image).missing.push("libx.so".to_owned());
    let report = lint::lint_image(&image, &Options::default()).1;
    assert_eq!(
        report.findings[0].severity,
        Severity::Info,
        "it is not what is started"
    );
    finds("RB203", "/lib/_ssl.so needs libssl.so.3", |image| {
        image.modules.push(module("/lib/_ssl.so", &["libssl.so.3"]));
    });
    finds_nothing(|image| image.modules.push(module("/lib/_json.so", &[])));
}

#[test]
fn rb208_what_is_started() {
    finds(
        "RB208",
        "/other is started, and not in the image",
        |image| image.entrypoint = vec!["/other".to_owned()],
    );
    finds("RB208", "may not execute", |image| {
        file(image, "/app", 0o444, 0)
    });
    finds("RB208", "may not execute", |image| {
        file(image, "/app", 0o700, 0)
    });
    finds("RB208", "no regular file", |image| {
        image.entrypoint = vec!["/home".to_owned()]
    });
    finds(
        "RB208",
        "a script, and does not start: /bin/sh is missing",
        |image| {
            app(image).architecture = None;
            app(image).missing.push("/bin/sh".to_owned());
        },
    );
    finds("RB208", "tool is started", |image| {
        image.entrypoint = vec!["tool".to_owned()]
    });
    finds_nothing(|image| {
        image
            .env
            .push(("PATH".to_owned(), "/opt:/tools".to_owned()));
        directory(image, "/tools", 0o755, 0);
        put(
            image,
            "/tools/tool",
            FileKind::Link("../app".to_owned()),
            0o777,
            0,
        );
        image.entrypoint = vec!["tool".to_owned()];
    });
    finds_nothing(|image| {
        image.working_dir = "/home".to_owned();
        image.entrypoint = vec!["../app".to_owned()];
    });
    finds_nothing(|image| (image.cmd, image.entrypoint) = (vec!["/app".to_owned()], Vec::new()));
}

#[test]
fn rb209_another_platform() {
    finds("RB209", "for arm64", |image| {
        app(image)
            .troubles
            .push("Exec format error: it is for arm64, not for amd64".to_owned());
    });
    finds("RB209", "GLIBC_2.38", |image| {
        app(image)
            .troubles
            .push("/lib/libc.so.6: version `GLIBC_2.38' not found (required by /app)".to_owned());
    });
}

#[test]
fn rb210_and_rb211_packed_programs_and_replaced_links() {
    finds("RB210", "UPX", |image| app(image).packed = true);
    finds("RB210", "/app has no build id", |image| {
        app(image).unidentified = true
    });
    finds("RB210", "UPX", |image| {
        (app(image).packed, app(image).unidentified) = (true, true);
    });
    // Not what nobody starts, nor what the distribution built.
    finds_nothing(|image| {
        (app(image).started, app(image).unidentified) = (false, true);
        image.entrypoint.clear();
    });
    finds_nothing(|image| {
        for path in ["/usr", "/usr/bin"] {
            directory(image, path, 0o755, 0);
        }
        file(image, "/usr/bin/app", 0o555, 0);
        file(image, "/etc/os-release", 0o444, 0);
        image.entrypoint = vec!["/usr/bin/app".to_owned()];
        app(image).path = "/usr/bin/app".to_owned();
        app(image).unidentified = true;
    });
    finds("RB211", "/lib was a link", |image| {
        image.replaced_links.push("/lib".to_owned())
    });
}

#[test]
fn rb212_what_programs_take_for_granted() {
    finds("RB212", "no /tmp", |image| drop(image.files.remove("/tmp")));
    finds("RB212", "cannot make files in /tmp", |image| {
        directory(image, "/tmp", 0o755, 0)
    });
    finds("RB212", "no line for user 65532", |image| {
        image.account = account(65532, None);
        image.files.remove("/home/app");
    });
    finds("RB212", "/home/app, is not in the image", |image| {
        drop(image.files.remove("/home/app"))
    });
    finds_nothing(|image| {
        image.files.remove("/home/app");
        image.env.push(("HOME".to_owned(), "/tmp".to_owned()));
    });
    finds_nothing(|image| {
        image.files.remove("/tmp");
        image.entrypoint.clear();
    });
}

const BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";

fn bundle(image: &mut ImageFacts) {
    directory(image, "/etc/ssl", 0o755, 0);
    directory(image, "/etc/ssl/certs", 0o755, 0);
    file(image, BUNDLE, 0o444, 0);
}

#[test]
fn rb301_a_tls_client_without_certificates() {
    finds("RB301", "/lib/_ssl.so can speak TLS", |image| {
        image.modules.push(ModuleFact {
            tls: true,
            ..module("/lib/_ssl.so", &[])
        });
    });
    finds_nothing(|image| {
        image.modules.push(ModuleFact {
            tls: true,
            ..module("/lib/libpq.so.5", &[])
        });
    });
    finds("RB301", "no CA bundle", |image| {
        app(image).tls.push(Tls::BuiltIn)
    });
    finds_nothing(|image| {
        app(image).tls.push(Tls::BuiltIn);
        bundle(image);
    });
    finds_nothing(bundle);
}

#[test]
fn rb302_certificates_where_the_program_does_not_look() {
    let openssl = |image: &mut ImageFacts| {
        app(image).tls.push(Tls::OpenSsl);
        app(image).openssl_dir = Some("/usr/lib/ssl".to_owned());
        bundle(image);
    };
    finds("RB302", "looks for certificates in /usr/lib/ssl", openssl);
    finds_nothing(|image| {
        openssl(image);
        image
            .env
            .push(("SSL_CERT_FILE".to_owned(), BUNDLE.to_owned()));
    });
    finds_nothing(|image| {
        openssl(image);
        for path in ["/usr", "/usr/lib", "/usr/lib/ssl"] {
            directory(image, path, 0o755, 0);
        }
        put(
            image,
            "/usr/lib/ssl/certs",
            FileKind::Link("/etc/ssl/certs".to_owned()),
            0o777,
            0,
        );
    });
    finds_nothing(|image| {
        openssl(image);
        app(image).tls.push(Tls::BuiltIn);
    });
    finds("RB302", "does not heed SSL_CERT_FILE", |image| {
        app(image).tls.push(Tls::GnuTls);
        file(image, "/ca.pem", 0o444, 0);
        image
            .env
            .push(("SSL_CERT_FILE".to_owned(), "/ca.pem".to_owned()));
    });
}

#[test]
fn rb303_certificates_that_cannot_be_read() {
    let set = |image: &mut ImageFacts| {
        image
            .env
            .push(("SSL_CERT_FILE".to_owned(), "/ca.pem".to_owned()))
    };
    finds(
        "RB303",
        "ENV SSL_CERT_FILE=/ca.pem: SSL_CERT_FILE points to /ca.pem, which is not",
        set,
    );
    finds("RB303", "cannot read", |image| {
        set(image);
        file(image, "/ca.pem", 0o400, 0);
    });
    finds_nothing(|image| {
        set(image);
        file(image, "/ca.pem", 0o444, 0);
    });
}

#[test]
fn rb401_ports_of_root() {
    finds("RB401", "EXPOSE 80/tcp: port 80", |image| {
        image.ports.push("80/tcp".to_owned())
    });
    finds_nothing(|image| image.ports.push("8080/tcp".to_owned()));
}

#[test]
fn rb502_the_program_of_the_health_check() {
    let check = |words: &[&str]| {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        move |image: &mut ImageFacts| image.healthcheck = words
    };
    finds(
        "RB502",
        "calls /bin/curl",
        check(&["CMD", "/bin/curl", "-f"]),
    );
    finds(
        "RB502",
        "calls /bin/sh",
        check(&["CMD-SHELL", "/app health"]),
    );
    finds("RB502", "calls wget", |image| {
        check(&["CMD-SHELL", "wget -q x || exit 1"])(image);
        directory(image, "/bin", 0o755, 0);
        file(image, "/bin/sh", 0o755, 0);
    });
    for words in [
        ["CMD", "/app"],
        ["NONE", ""],
        ["CMD-SHELL", "test -f /tmp/ready"],
    ] {
        finds_nothing(|image| {
            check(&words)(image);
            directory(image, "/bin", 0o755, 0);
            file(image, "/bin/sh", 0o755, 0);
        });
    }
}

#[test]
fn rb602_what_the_user_can_change() {
    finds("RB602", "can change /app", |image| {
        file(image, "/app", 0o755, 65532)
    });
    finds("RB602", "can change /lib.so", |image| {
        file(image, "/lib.so", 0o666, 0);
        app(image).closure.push("/lib.so".to_owned());
    });
    finds("RB602", "so replace /opt/app", |image| {
        image.volumes.push("/opt".to_owned());
        directory(image, "/opt", 0o755, 65532);
        file(image, "/opt/app", 0o555, 0);
        image.entrypoint = vec!["/opt/app".to_owned()];
        app(image).path = "/opt/app".to_owned();
        app(image).closure = vec!["/opt/app".to_owned()];
    });
}

#[test]
fn rb603_and_rb605_where_the_user_writes() {
    let volume = |image: &mut ImageFacts| image.volumes.push("/data".to_owned());
    finds("RB603", "VOLUME /data: /data is not in the image", volume);
    finds("RB603", "belongs to 0:0", |image| {
        volume(image);
        directory(image, "/data", 0o755, 0);
    });
    finds_nothing(|image| {
        volume(image);
        directory(image, "/data", 0o700, 65532);
        directory(image, "/data/sub", 0o700, 65532);
    });
    finds("RB605", "/data is USER's to write", |image| {
        directory(image, "/data", 0o700, 65532);
        directory(image, "/data/sub", 0o700, 65532);
    });
    finds_nothing(|image| directory(image, "/tmp/mine", 0o700, 65532));
}

#[test]
fn rb607_to_rb609_what_cannot_be_unpacked() {
    let found = found(|image| file(image, "/x", 0o444, 100_000));
    assert!(
        found.len() == 2 && found[1].contains("100000:100000"),
        "{found:#?}"
    );
    assert!(
        found[0].starts_with("RB608 FROM app: ") && found[0].contains("(100000)"),
        "{found:#?}"
    );
    finds("RB608", "(8)", |image| file(image, "/x", 0o444, 8));
    finds_nothing(|image| file(image, "/x", 0o444, 65532));
    finds("RB609", "layer 1 has file capabilities at /ping", |image| {
        image.layers.push(LayerFact {
            layer: 1,
            path: "/ping".to_owned(),
            what: "file capabilities".to_owned(),
        });
    });
    finds("RB609", "layer 2 has a device node at /dev/null", |image| {
        let what = "a device node".to_owned();
        image.layers.push(LayerFact {
            layer: 2,
            path: "/dev/null".to_owned(),
            what,
        });
    });
}

#[test]
fn every_rule_about_images_is_tested_here() {
    let tests = include_str!("lint_images.rs");
    let rules: BTreeSet<&str> = lint::image_rules().into_iter().collect();
    for rule in &rules {
        assert!(
            tests.contains(&format!("finds(\"{rule}\"")) || *rule == "RB607",
            "{rule}"
        );
        assert!(lint::rule(rule).is_some());
    }
}

#[test]
fn severities_are_the_projects() {
    let mut image = sound();
    image.user = "app".to_owned();
    let mut options = Options::default();
    options.severities.insert("RB103", None);
    assert!(lint::lint_image(&image, &options).1.findings.is_empty());
}

/// What is found in a text whose base `base` is at hand.
fn on(base: &ImageFacts, text: &str) -> Vec<String> {
    let images = BTreeMap::from([("base".to_owned(), Arc::new(base.clone()))]);
    let options = Options {
        images,
        ..Options::default()
    };
    let findings = lint::lint(&Source::new("", text), &options).findings;
    let shown = findings
        .iter()
        .filter(|one| !matches!(one.rule, Some("RB701" | "RB501")));
    shown
        .map(|one| {
            format!(
                "{} {} {}",
                one.rule.unwrap_or("-"),
                one.message,
                one.help.as_deref().unwrap_or_default()
            )
        })
        .collect()
}

#[test]
fn texts_are_examined_with_the_images_that_are_at_hand() {
    let mut base = sound();
    assert_eq!(
        lint::bases(&Source::new(
            "",
            "ARG B=base\nFROM $B AS x\nFROM x\nFROM scratch\nFROM $C\n"
        )),
        ["base"]
    );
    assert_eq!(on(&base, "FROM base\n"), [""; 0], "its USER is known");
    base.env.push(("KNOWN".to_owned(), "1".to_owned()));
    let found = on(&base, "FROM base\nENV A=$KNOWN B=$UNKNOWN\n");
    assert!(
        found.len() == 1 && found[0].contains("UndefinedVar") && found[0].contains("UNKNOWN"),
        "{found:?}"
    );
    let found = on(&base, "FROM base\nVOLUME /data /home/app\nUSER 7:7\n");
    assert!(
        found.len() == 1 && found[0].starts_with("RB603 /data"),
        "{found:?}"
    );
    let found = on(&base, "FROM base\nRUN make\nUSER 7:7\n");
    assert!(
        found.len() == 1 && found[0].starts_with("RB207 RUN"),
        "no shell: {found:?}"
    );
    let found = on(&base, "FROM base\nHEALTHCHECK CMD [\"/bin/probe\"]\n");
    assert!(
        found.len() == 1 && found[0].starts_with("RB502"),
        "{found:?}"
    );
    assert_eq!(
        on(&base, "FROM base\nHEALTHCHECK CMD [\"/app\"]\n"),
        [""; 0]
    );
    base.users.push(("web".to_owned(), 33, 34));
    let found = on(&base, "FROM base\nUSER web\n");
    assert!(
        found
            .iter()
            .any(|one| one.starts_with("RB103") && one.contains("USER 33:34")),
        "{found:?}"
    );
    base.account = account(0, None);
    base.user = String::new();
    assert!(on(&base, "FROM base\n")[0].starts_with("RB101 neither"));
    base.has_triggers = true;
    assert_eq!(
        on(&base, "FROM base\nENV A=$UNKNOWN\nUSER 7:7\n"),
        [""; 0],
        "its triggers may set it"
    );
}
