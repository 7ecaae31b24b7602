//! Programs that open much by themselves: from scratch, with what `--closure auto` adds, they print what they print in the whole
//! system. Every program runs in both, as 65532, under keep-id, with a read-only root and without a network.

use std::fmt::Write as _;

use crate::support::{Degree, Place};

/// A place with the base image `NAME` as the context `base`.
struct Site {
    place: Place,
    context: String,
}

macro_rules! site {
    ($base:expr) => {{
        // What a program needs does not depend on the user, and these tests take their time.
        requires!(degree Degree::SubIds);
        let layout = requires!(base $base);
        requires!(execution);
        Site {
            place: Place::new(),
            context: format!("base=oci-layout:{}", layout.display()),
        }
    }};
}

/// What a program printed, and its exit code.
type Said = (Option<i32>, String, String);

impl Site {
    fn build(&self, name: &str, containerfile: &str) {
        self.place.write("Containerfile", containerfile);
        let args = ["build", "--progress", "plain", "--closure", "auto"];
        let more = [
            "--network",
            "none",
            "--build-context",
            &self.context,
            "-t",
            name,
            ".",
        ];
        self.place.expect(0, &[&args[..], &more[..]].concat());
    }

    fn run(&self, name: &str, args: &[&str]) -> Said {
        let mut command = self.place.rbuild();
        let scratch = tempfile::tempdir_in(self.place.path()).expect("a directory");
        let volume = format!("{}:/tmp", scratch.path().display());
        command.args(["run", "--read-only", "--network", "none"]);
        command.args(["--volume", &volume, name]);
        let output = command.args(args).output().expect("it starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            output.status.code(),
            text(&output.stdout),
            text(&output.stderr),
        )
    }

    /// What the arguments say in the whole system, and from scratch with `copies` alone.
    fn both(&self, whole: &str, env: &str, copies: &str, args: &[&str]) -> (Said, Said) {
        let tail = format!("{env}\nUSER 65532:65532\nCMD [\"{}\"]\n", args[0]);
        self.build("whole", &format!("FROM base AS b\n{whole}\n{tail}"));
        let scratch = format!("FROM base AS b\n{whole}\nFROM scratch\n{env}\n{copies}\n{tail}");
        self.build("scratch", &scratch);
        (self.run("whole", args), self.run("scratch", args))
    }
}

/// What a program is, and how its two runs are compared.
struct Case {
    name: &'static str,
    env: &'static str,
    copies: &'static str,
    args: &'static [&'static str],
    /// What standard output must hold in both.
    holds: &'static str,
}

const CASES: &[Case] = &[
    Case {
        name: "case 10, gconv: SHIFT_JIS",
        env: "",
        copies: "COPY --from=b /usr/bin/iconv /usr/bin/iconv\nCOPY --from=b /in /in",
        args: &["/usr/bin/iconv", "-f", "UTF-8", "-t", "SHIFT_JIS", "/in"],
        holds: "A\n",
    },
    Case {
        name: "case 10, gconv: UTF-16LE",
        env: "",
        copies: "COPY --from=b /usr/bin/iconv /usr/bin/iconv\nCOPY --from=b /in /in",
        args: &["/usr/bin/iconv", "-f", "UTF-8", "-t", "UTF-16LE", "/in"],
        holds: "A\0",
    },
    Case {
        name: "case 11, locale",
        env: "ENV LC_ALL=C.UTF-8",
        copies: "COPY --from=b /usr/bin/locale /usr/bin/locale",
        args: &["/usr/bin/locale", "charmap"],
        holds: "UTF-8\n",
    },
    Case {
        name: "case 13, OpenSSL's legacy provider",
        env: "",
        copies: "COPY --from=b /usr/bin/openssl /usr/bin/openssl\nCOPY --from=b /in /in",
        args: &[
            "/usr/bin/openssl",
            "dgst",
            "-md4",
            "-provider",
            "legacy",
            "-provider",
            "default",
            "/in",
        ],
        holds: "MD4(/in)= ",
    },
    Case {
        name: "case 14, Python's extension modules",
        env: "",
        copies: "COPY --from=b /usr/bin/python3 /usr/bin/python3",
        args: &[
            "/usr/bin/python3",
            "-c",
            "import ssl, sqlite3, ctypes, zoneinfo, json; print(ssl.OPENSSL_VERSION, sqlite3.connect(':memory:').execute('select 1').fetchone(), ctypes.CDLL('libc.so.6').abs(-3), zoneinfo.ZoneInfo('Asia/Tokyo'))",
        ],
        holds: "(1,) 3 Asia/Tokyo\n",
    },
    Case {
        name: "Perl's modules",
        env: "",
        copies: "COPY --from=b /usr/bin/perl /usr/bin/perl",
        args: &[
            "/usr/bin/perl",
            "-MPOSIX",
            "-MDigest::SHA=sha1_hex",
            "-MEncode",
            "-e",
            "print POSIX::floor(1.5), sha1_hex('a'), encode('iso-8859-1', 'x'), \"\\n\"",
        ],
        holds: "86f7e437",
    },
    Case {
        name: "case 15, nginx with a module",
        env: "",
        copies: "COPY --from=b /usr/sbin/nginx /usr/sbin/nginx\nCOPY --from=b /nginx.conf /nginx.conf",
        args: &["/usr/sbin/nginx", "-t", "-c", "/nginx.conf", "-e", "stderr"],
        holds: "",
    },
    Case {
        name: "case 16, git's helper for https",
        env: "",
        copies: "COPY --from=b /usr/bin/git /usr/bin/git",
        args: &["/usr/bin/git", "ls-remote", "https://127.0.0.1:1/x"],
        holds: "",
    },
    Case {
        name: "git's templates",
        env: "",
        copies: "COPY --from=b /usr/bin/git /usr/bin/git",
        args: &["/usr/bin/git", "init", "--bare", "/tmp/r"],
        holds: "Initialized empty Git repository in /tmp/r/\n",
    },
    Case {
        name: "time zones",
        env: "ENV TZ=Asia/Tokyo",
        copies: "COPY --from=b /usr/bin/date /usr/bin/date",
        args: &["/usr/bin/date", "-d", "@0"],
        holds: "09:00:00",
    },
    Case {
        name: "graphviz: plug-ins",
        env: "",
        copies: "COPY --from=b /usr/bin/dot /usr/bin/dot\nCOPY --from=b /g.dot /g.dot",
        args: &["/usr/bin/dot", "-Tsvg", "/g.dot"],
        holds: "hello",
    },
    Case {
        name: "graphviz: fonts in a picture",
        env: "ENV XDG_CACHE_HOME=/tmp",
        copies: "COPY --from=b /usr/bin/dot /usr/bin/dot\nCOPY --from=b /g.dot /g.dot",
        args: &["/usr/bin/dot", "-Tpng", "/g.dot"],
        holds: "PNG",
    },
    Case {
        name: "terminfo",
        env: "ENV TERM=xterm",
        copies: "COPY --from=b /usr/bin/tput /usr/bin/tput",
        args: &["/usr/bin/tput", "-T", "xterm-256color", "colors"],
        holds: "256\n",
    },
    Case {
        name: "case 5, a deep tree",
        env: "",
        copies: "COPY --from=b /usr/bin/curl /usr/bin/curl\nCOPY --from=b /in /in",
        args: &["/usr/bin/curl", "-sS", "file:///in"],
        holds: "A\n",
    },
    Case {
        name: "case 3, a plain one",
        env: "",
        copies: "COPY --from=b /usr/bin/sqlite3 /usr/bin/sqlite3",
        args: &["/usr/bin/sqlite3", ":memory:", "select 1"],
        holds: "1\n",
    },
];

/// Files that the programs read.
const INPUT: &str = r#"RUN printf 'A\n' >/in && echo 'digraph { hello -> world }' >/g.dot && printf '%s\n' 'load_module modules/ngx_http_echo_module.so;' 'pid /tmp/pid;' 'events {}' 'http { access_log off; client_body_temp_path /tmp/b; proxy_temp_path /tmp/p; fastcgi_temp_path /tmp/f; uwsgi_temp_path /tmp/u; scgi_temp_path /tmp/s; server { listen 8080; location / { echo hi; } } }' >/nginx.conf"#;

#[test]
fn cases_03_to_16_programs_say_from_scratch_what_they_say_in_the_whole_system() {
    let site = site!("debian-programs");
    let mut wrong = String::new();
    for case in CASES {
        let (whole, scratch) = site.both(INPUT, case.env, case.copies, case.args);
        if whole != scratch || !whole.1.contains(case.holds) {
            let _ = writeln!(
                wrong,
                "{}\nwhole: {whole:?}\nscratch: {scratch:?}\n",
                case.name
            );
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn case_09_names_of_users_come_through_the_modules_that_nsswitch_names() {
    let site = site!("debian-programs");
    let whole = "RUN printf 'passwd: compat\\ngroup: compat\\n' >/etc/nsswitch.conf && echo 'me:x:65532:65532::/:/x' >>/etc/passwd";
    let copies =
        "COPY --from=b /usr/bin/getent /usr/bin/getent\nCOPY --from=b /etc/passwd /etc/passwd";
    let args = ["/usr/bin/getent", "passwd", "65532"];
    let (whole, scratch) = site.both(whole, "", copies, &args);
    assert_eq!(
        whole,
        (
            Some(0),
            "me:x:65532:65532::/:/x\n".to_owned(),
            String::new()
        )
    );
    assert_eq!(whole, scratch);
}

#[test]
fn gpg_finds_its_agent() {
    let site = site!("debian-programs");
    let copies = "COPY --from=b /usr/bin/gpg /usr/bin/gpg";
    let args = [
        "/usr/bin/gpg",
        "--homedir",
        "/tmp",
        "--batch",
        "--passphrase",
        "",
        "--quick-gen-key",
        "a@b",
    ];
    let (whole, scratch) = site.both("", "", copies, &args);
    assert_eq!(
        (whole.0, scratch.0),
        (Some(0), Some(0)),
        "{whole:?}\n{scratch:?}"
    );
}

#[test]
fn case_12_threads_can_be_cancelled() {
    let site = site!("debian-gcc");
    let program = "#include <pthread.h>\\n#include <unistd.h>\\n#include <stdio.h>\\nstatic void *run(void *x) { for (;;) sleep(1); }\\nint main(void) { pthread_t t; void *r; pthread_create(&t, 0, run, 0); pthread_cancel(t); pthread_join(t, &r); puts(r == PTHREAD_CANCELED ? \\\"cancelled\\\" : \\\"?\\\"); }\\n";
    let whole = format!("RUN printf \"{program}\" >/a.c && gcc -o /a /a.c");
    let (whole, scratch) = site.both(&whole, "", "COPY --from=b /a /a", &["/a"]);
    assert_eq!((whole.0, whole.1.as_str()), (Some(0), "cancelled\n"));
    assert_eq!(whole, scratch);
}

#[test]
fn rules_can_be_named_and_left_out_and_users_have_their_own() {
    let site = site!("debian-programs");
    let build = |line: &str, more: &[&str], code: i32| {
        let file = format!(
            "FROM base AS b\nFROM scratch\n# rbuild:closure {line}\nCOPY --from=b /usr/bin/sqlite3 /usr/bin/\nUSER 1:1\nCMD [\"/usr/bin/sqlite3\"]\n"
        );
        site.place.write("Containerfile", file);
        let own = [
            "build",
            "--progress",
            "plain",
            "--build-context",
            &site.context,
            "-t",
            "t",
            "--package-records",
            "off",
            ".",
        ];
        site.place.expect(code, &[&own[..], more].concat()).1
    };
    let files = || site.place.expect(0, &["inspect", "--files", "t"]).0;
    build("", &[], 0);
    let plain = files();
    assert!(
        !plain.contains("/gconv/") && !plain.contains("/zoneinfo/Asia"),
        "{plain}"
    );
    build("with=gconv,timezone:Asia/Tokyo without=nss,netbase", &[], 0);
    let more = files();
    assert!(
        more.contains("/gconv/SJIS.so") && more.contains("/zoneinfo/Asia/Tokyo"),
        "{more}"
    );
    assert!(!more.contains("/Europe/"), "{more}");

    let said = build("with=gcnov", &[], 1);
    assert!(
        said.contains("there is no closure rule \"gcnov\"") && said.contains("did you mean gconv?"),
        "{said}"
    );
    let said = build("with=timezone:Nowhere", &[], 1);
    assert!(
        said.contains("with=timezone names nothing that is in the stage"),
        "{said}"
    );
    let said = build("also=/nowhere", &[], 1);
    assert!(
        said.contains("also=/nowhere names nothing that is in the stage"),
        "{said}"
    );

    let rule =
        "rule mine\nwhy sqlite3 reads it here\nwhen file **/sqlite3\nadd /etc/debian_version\n";
    site.place.write("rules/mine.rule", rule);
    build("", &["--closure-rules", "rules"], 0);
    assert!(files().contains("/etc/debian_version"), "{}", files());
    build("without=mine", &["--closure-rules", "rules"], 0);
    assert!(!files().contains("/etc/debian_version"), "{}", files());
    site.place
        .write("rules/mine.rule", "rule mine\nwhen moon full\n");
    let said = build("", &["--closure-rules", "rules"], 2);
    assert!(
        said.contains("line 2: there is no \"moon\" to wait for"),
        "{said}"
    );
}
