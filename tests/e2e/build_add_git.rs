//! ADD of git repositories and git contexts, from a web server that is git's own (smart) or none at all (dumb).

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::build_oracle::Site;
use crate::web::{Answer, Request, Web};

/// A repository of a test, `r.git` of a server.
struct Repository {
    root: PathBuf,
}

impl Repository {
    fn new(site: &Site) -> Self {
        let repository = Self {
            root: site.place.path().join("served"),
        };
        fs::create_dir_all(repository.work()).expect("a directory");
        repository.git(&["init", "-q", "-b", "main"]);
        repository
    }

    fn work(&self) -> PathBuf {
        self.root.join("r.git")
    }

    fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .args([
                "-c",
                "user.name=n",
                "-c",
                "user.email=a@b",
                "-c",
                "protocol.file.allow=always",
            ])
            .args(arguments)
            .current_dir(self.work())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_AUTHOR_DATE", "1000000000 +0000")
            .env("GIT_COMMITTER_DATE", "1000000000 +0000")
            .output()
            .expect("git starts");
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn write(&self, name: &str, text: &str) -> &Self {
        let path = self.work().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, text).expect("a file");
        self
    }

    /// Commits everything and returns the commit.
    fn commit(&self, message: &str) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", message]);
        self.git(&["update-server-info"]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Files and nothing else, as any web server.
    fn dumb(&self) -> Web {
        let root = self.root.clone();
        Web::start(move |request| {
            let path = request.path.split('?').next().unwrap_or_default();
            let file = path.replacen("/r.git/", "r.git/.git/", 1);
            fs::read(root.join(file.trim_start_matches('/')))
                .map_or_else(|_| Answer::status(404), Answer::ok)
        })
    }

    /// git-http-backend(1).
    fn smart(&self) -> Web {
        let root = self.root.clone();
        Web::start(move |request| backend(&root, request))
    }
}

fn backend(root: &Path, request: &Request) -> Answer {
    use std::io::Write as _;
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    let mut child = Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "safe.directory")
        .env("GIT_CONFIG_VALUE_0", "*")
        .env("REQUEST_METHOD", &request.method)
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env(
            "CONTENT_TYPE",
            request
                .headers
                .get("content-type")
                .cloned()
                .unwrap_or_default(),
        )
        .env(
            "HTTP_CONTENT_ENCODING",
            request
                .headers
                .get("content-encoding")
                .cloned()
                .unwrap_or_default(),
        )
        .env(
            "GIT_PROTOCOL",
            request
                .headers
                .get("git-protocol")
                .cloned()
                .unwrap_or_default(),
        )
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("git starts");
    let mut stdin = child.stdin.take().expect("its input");
    let body = request.body.clone();
    let writer = std::thread::spawn(move || stdin.write_all(&body));
    let output = child.wait_with_output().expect("it ends").stdout;
    let _ = writer.join();
    let end = output
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap_or(output.len());
    let mut answer = Answer::ok(output.get(end + 4..).unwrap_or_default());
    for line in String::from_utf8_lossy(&output[..end]).lines() {
        match line.split_once(": ") {
            Some(("Status", status)) => answer.status = status[..3].parse().expect("a number"),
            Some((name, value)) => answer = answer.header(name, value),
            None => {}
        }
    }
    answer
}

/// A sample: branches, a tag, modes, links, and a directory.
fn sample(site: &Site) -> (Repository, String, String) {
    let repository = Repository::new(site);
    repository
        .write("file", "one")
        .write("dir/sub/f", "deep")
        .write(".dockerignore", "file\n");
    repository.write("run", "#!/bin/sh\n");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    fs::set_permissions(repository.work().join("run"), mode).expect("its mode");
    symlink("file", repository.work().join("link")).expect("a link");
    symlink("/", repository.work().join("proj")).expect("a link");
    symlink("dir", repository.work().join("alias")).expect("a link");
    let first = repository.commit("first");
    repository.git(&["tag", "-a", "-m", "v1", "v1"]);
    repository.git(&["branch", "old"]);
    let second = repository.write("file", "two").commit("second");
    (repository, first, second)
}

macro_rules! git_site {
    () => {{
        requires!(program "git");
        site!()
    }};
}

#[track_caller]
fn has(lines: &[String], wanted: &[&str]) {
    for line in wanted {
        assert!(lines.iter().any(|l| l == line), "{line} in {lines:#?}");
    }
}

#[test]
fn a_repository_is_added_by_branch_tag_and_commit() {
    let site = git_site!();
    let (repository, first, second) = sample(&site);
    for web in [repository.smart(), repository.dumb()] {
        let url = web.url("/r.git");
        for (which, text) in [
            (String::new(), "two"),
            ("#main".into(), "two"),
            ("#old".into(), "one"),
            ("#refs/heads/old".into(), "one"),
            ("?branch=old".into(), "one"),
            ("#v1".into(), "one"),
            ("?tag=v1".into(), "one"),
            (format!("#{first}"), "one"),
            (format!("?ref={second}"), "two"),
        ] {
            let lines = site
                .build(&format!("FROM scratch\nADD {url}{which} /x/\n"), &[])
                .scratch();
            has(
                &lines,
                &[
                    &format!("f 0644 0:0 x/file = {text:?}"),
                    "f 0755 0:0 x/run = \"#!/bin/sh\\n\"",
                    "l 0777 0:0 x/link -> file",
                    "d 0755 0:0 x/dir",
                    "f 0644 0:0 x/dir/sub/f = \"deep\"",
                    // The ignore file of a repository is a file of it.
                    "f 0644 0:0 x/.dockerignore = \"file\\n\"",
                ],
            );
            assert!(
                !lines.iter().any(|line| line.contains(".git/")),
                "{lines:#?}"
            );
        }
    }
}

#[test]
fn a_commit_is_fetched_once_and_pinned() {
    let site = git_site!();
    let (repository, first, second) = sample(&site);
    let web = repository.smart();
    let file = |which: &str| {
        format!(
            "FROM scratch\nADD {} /x/\n",
            web.url(&format!("/r.git{which}"))
        )
    };
    site.build(&file("#main"), &[]);
    let asked = web.requests().len();
    assert_eq!(site.build(&file("#main"), &[]).cached(), 1);
    assert_eq!(site.build(&file(&format!("#{second}")), &[]).cached(), 1);
    let fetches = |request: &&Request| {
        request
            .body
            .windows(13)
            .any(|part| part == b"command=fetch")
    };
    let after = web.requests();
    assert_eq!(
        after.iter().filter(fetches).count(),
        after[..asked].iter().filter(fetches).count()
    );
    assert!(after[..asked].iter().any(|request| fetches(&request)));
    // The branch moves on.
    repository.write("file", "three").commit("third");
    let lines = site.build(&file("#main"), &[]).scratch();
    has(&lines, &["f 0644 0:0 x/file = \"three\""]);
    for (flag, which, fine) in [
        (&first[..7], "#v1", true),
        (first.as_str(), "#v1", true),
        (&second[..12], "#v1", false),
    ] {
        let text = format!(
            "FROM scratch\nADD --checksum={flag} {} /x/\n",
            web.url(&format!("/r.git{which}"))
        );
        if fine {
            site.build(&text, &[]);
            continue;
        }
        let stderr = site.fails(&text, &[]);
        assert!(
            stderr.contains(&first) && stderr.contains(flag) && stderr.contains("Containerfile:2:"),
            "{stderr}"
        );
    }
}

#[test]
fn a_directory_of_it_is_looked_for_inside_s32() {
    let site = git_site!();
    let (repository, ..) = sample(&site);
    let web = repository.smart();
    let add = |which: &str| {
        format!(
            "FROM scratch\nADD {} /x/\n",
            web.url(&format!("/r.git{which}"))
        )
    };
    for which in ["#main:dir", "?subdir=dir", "#main:/dir/./", "#:alias"] {
        let lines = site.build(&add(which), &[]).scratch();
        assert_eq!(
            lines,
            [
                "d 0755 0:0 x",
                "d 0755 0:0 x/sub",
                "f 0644 0:0 x/sub/f = \"deep\""
            ],
            "{which}"
        );
    }
    fs::write(site.place.path().join("CANARY"), "secret").expect("the canary");
    let outside = site.place.path().display().to_string();
    for which in [
        format!("#main:proj{outside}"),
        "#main:proj/etc".into(),
        "#main:none".into(),
    ] {
        let stderr = site.fails(&add(&which), &[]);
        assert!(stderr.contains("find '"), "{stderr}");
    }
}

#[test]
fn the_git_directory_is_kept_when_asked() {
    let site = git_site!();
    let (repository, ..) = sample(&site);
    let web = repository.smart();
    for text in [
        format!("ADD --keep-git-dir=true {} /x/", web.url("/r.git#v1")),
        format!("ADD {} /x/", web.url("/r.git?keep-git-dir=true#v1")),
    ] {
        let lines = site
            .build(&format!("FROM scratch\n{text}\n"), &[])
            .scratch();
        assert!(
            lines
                .iter()
                .any(|line| line.starts_with("f 0644 0:0 x/.git/HEAD")),
            "{lines:#?}"
        );
        assert!(
            !lines.iter().any(|line| line.contains("x/.git/hooks")),
            "{lines:#?}"
        );
    }
}

#[test]
fn s34_nothing_of_the_host_is_run_or_read() {
    let site = git_site!();
    let (repository, ..) = sample(&site);
    let home = site.place.path();
    let trace = home.join("ran");
    let script = home.join("evil");
    fs::write(
        &script,
        format!("#!/bin/sh\ntouch {}\ncat\n", trace.display()),
    )
    .expect("a script");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&script, mode).expect("its mode");
    // The caller's own configuration, hooks and filters.
    let evil = script.display();
    fs::create_dir(home.join("hooks")).expect("a directory");
    fs::copy(&script, home.join("hooks/post-checkout")).expect("a hook");
    fs::write(
        home.join(".gitconfig"),
        format!(
            "[core]\n\thooksPath = {}/hooks\n\tfsmonitor = {evil}\n[filter \"x\"]\n\tsmudge = {evil}\n\tclean = {evil}\n[credential]\n\thelper = {evil}\n[init]\n\ttemplateDir = {}/hooks\n",
            home.display(),
            home.display()
        ),
    )
    .expect("a configuration");
    // A submodule that is a directory of the host, and one that is a command.
    repository
        .write(".gitattributes", "* filter=x\n")
        .commit("filtered");
    let web = repository.smart();
    let url = web.url("/r.git");
    let lines = site
        .build(&format!("FROM scratch\nADD {url} /x/\n"), &[])
        .scratch();
    has(&lines, &["f 0644 0:0 x/file = \"two\""]);
    assert!(!trace.exists(), "something of the caller ran");
    let other = home.join("host");
    fs::create_dir(&other).expect("a directory");
    let local = Repository {
        root: other.clone(),
    };
    fs::create_dir(local.work()).expect("a directory");
    local.git(&["init", "-q", "-b", "main"]);
    local.write("secret", "secret").commit("secret");
    repository.git(&[
        "submodule",
        "add",
        "-q",
        &local.work().display().to_string(),
        "sub",
    ]);
    repository.commit("a submodule of the host");
    let stderr = site.fails(&format!("FROM scratch\nADD {url} /x/\n"), &[]);
    assert!(stderr.contains("not allowed"), "{stderr}");
    site.build(
        &format!("FROM scratch\nADD {url}?submodules=false /x/\n"),
        &[],
    );
    for source in [
        "ssh://-oProxyCommand=touch/a",
        "git@-oProxyCommand=x:a",
        "https://127.0.0.1:1/a.git#-x",
    ] {
        site.fails(&format!("FROM scratch\nADD {source} /x/\n"), &[]);
    }
    assert!(!trace.exists());
}

#[test]
fn submodules_of_the_same_server_are_taken() {
    let site = git_site!();
    let (repository, ..) = sample(&site);
    let module = Repository {
        root: repository.root.join("m"),
    };
    fs::create_dir_all(module.work()).expect("a directory");
    module.git(&["init", "-q", "-b", "main"]);
    module.write("inside", "inside").commit("inside");
    let web = repository.smart();
    repository.git(&["submodule", "add", "-q", &web.url("/m/r.git"), "sub"]);
    repository.commit("a submodule");
    let lines = site
        .build(
            &format!("FROM scratch\nADD {} /x/\n", web.url("/r.git")),
            &[],
        )
        .scratch();
    has(&lines, &["f 0644 0:0 x/sub/inside = \"inside\""]);
    assert!(
        !lines
            .iter()
            .any(|line| line.ends_with("/.git") || line.contains("/.git ")),
        "{lines:#?}"
    );
}

#[test]
fn s56_passwords_go_to_their_server_only() {
    let site = git_site!();
    let (repository, ..) = sample(&site);
    let root = repository.root.clone();
    let seen = Arc::new(AtomicBool::new(false));
    let noted = Arc::clone(&seen);
    let web = Web::start(move |request| {
        if request.headers.get("authorization").map(String::as_str) != Some("Basic bWU6czNjcmV0") {
            return Answer::status(401).header("www-authenticate", "Basic realm=\"x\"");
        }
        noted.store(true, Ordering::SeqCst);
        backend(&root, request)
    });
    let built = site.build(
        &format!(
            "FROM scratch\nADD --keep-git-dir=true http://me:s3cret@{}/r.git#v1 /x/\n",
            web.host()
        ),
        &[],
    );
    assert!(seen.load(Ordering::SeqCst));
    let layer = format!("{}{:?}", built.config, built.scratch());
    assert!(
        !layer.contains("s3cret") && !layer.contains("bWU6czNjcmV0"),
        "{layer}"
    );
    let stderr = site.fails(
        &format!(
            "FROM scratch\nADD http://me:wrong0@{}/r.git#old /x/\n",
            web.host()
        ),
        &[],
    );
    assert!(
        !stderr
            .lines()
            .filter(|line| !line.contains("ADD http"))
            .any(|line| line.contains("wrong0")),
        "{stderr}"
    );
    // Another host gets nothing, because a redirect is not followed then.
    let other = repository.smart();
    let target = other.url("");
    let away = Web::start(move |request| {
        Answer::status(302).header("location", &format!("{target}{}", request.path))
    });
    site.fails(
        &format!(
            "FROM scratch\nADD http://me:s3cret@{}/r.git#old /x/\n",
            away.host()
        ),
        &[],
    );
    assert!(other.requests().is_empty());
}

#[test]
fn a_repository_is_a_context_and_a_named_one() {
    let site = git_site!();
    let (repository, ..) = sample(&site);
    repository
        .write("dir/Dockerfile", "FROM scratch\nCOPY . /x/\nUSER 1:1\n")
        .write("dir/.dockerignore", "Dockerfile\n.dockerignore\n")
        .commit("a build");
    let web = repository.smart();
    let tree = [
        "d 0755 0:0 x",
        "d 0755 0:0 x/sub",
        "f 0644 0:0 x/sub/f = \"deep\"",
    ];
    let mut command = site.place.rbuild();
    command.args(["build", "--progress", "plain", &web.url("/r.git#main:dir")]);
    assert_eq!(site.built(&mut command).scratch(), tree);
    let context = format!("other={}", web.url("/r.git#main:dir"));
    let lines = site
        .build(
            "FROM scratch\nCOPY --from=other . /x/\n",
            &["--build-context", &context],
        )
        .scratch();
    assert_eq!(lines, tree);
    for which in ["#main:proj", "#main:file", "#main:none"] {
        let url = web.url(&format!("/r.git{which}"));
        let (_, stderr) = site.place.expect(1, &["build", &url]);
        assert!(
            stderr.contains("there is no directory") || stderr.contains("find a Containerfile"),
            "{which}: {stderr}"
        );
    }
}

#[test]
fn what_cannot_be_fetched_is_said_with_the_line() {
    let site = git_site!();
    let (repository, ..) = sample(&site);
    let web = repository.smart();
    for (which, part) in [
        ("/r.git#nowhere", "find nowhere"),
        ("/gone.git", "git ls-remote"),
    ] {
        let stderr = site.fails(&format!("FROM scratch\nADD {} /x/\n", web.url(which)), &[]);
        assert!(
            stderr.contains(part) && stderr.contains("Containerfile:2:"),
            "{stderr}"
        );
    }
    let output = site
        .command(
            &format!("FROM scratch\nADD {} /x/\n", web.url("/r.git")),
            &[],
        )
        .env("PATH", "/nowhere")
        .output()
        .expect("it starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("install the package git"), "{stderr}");
}

/// Two sites at two moments: neither knows the other's store.
#[test]
fn a_kept_git_directory_and_a_git_context_are_the_same_at_any_time() {
    let one = git_site!();
    let two = Site::new(one.busybox().to_owned());
    let (repository, ..) = sample(&one);
    // More objects than git unpacks, so that there is a pack of the server's.
    for number in 0..150 {
        repository.write(&format!("many/{number}"), &format!("file {number}"));
    }
    repository.write("Containerfile", "FROM scratch\nCOPY . /\nWORKDIR /w\n");
    let commit = repository.commit("many");
    let web = repository.smart();
    let add = format!(
        "FROM scratch\nADD {} /x/\n",
        web.url("/r.git?keep-git-dir=true#main")
    );
    let context = web.url("/r.git#main");
    let build = |site: &Site| {
        let added = site.build(&add, &[]);
        let output = site
            .place
            .rbuild()
            .args(["build", "--user-policy", "off", &context])
            .output()
            .expect("it starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        let id = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        (added.id.clone(), added.scratch(), id)
    };
    let first = build(&one);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let second = build(&two);
    assert_eq!(first.1, second.1);
    assert_eq!((first.0, &first.2), (second.0, &second.2));
    let (json, _) = one
        .place
        .expect(0, &["inspect", &first.2, "--format", "json"]);
    assert!(
        json.contains("2001-09-09T01:46:40Z"),
        "the commit's time: {json}"
    );
    // BuildKit's argument about the context; the URL's own parameter comes before it.
    for (url, value, kept) in [
        ("/r.git#main", "1", true),
        ("/r.git#main", "false", false),
        ("/r.git?keep-git-dir=false#main", "true", false),
    ] {
        let (url, out) = (web.url(url), format!("../git-{value}"));
        let argument = format!("BUILDKIT_CONTEXT_KEEP_GIT_DIR={value}");
        let args = [
            "build",
            "--user-policy",
            "off",
            "--build-arg",
            &argument,
            "-o",
            &out,
            &url,
        ];
        let (_, said) = one.place.expect(0, &args);
        let there = one.place.context().join(out).join(".git/HEAD").exists();
        assert_eq!(there, kept, "{url} {value}: {said}");
        assert!(!said.contains("does nothing"), "{said}");
    }
    // git takes the index for one that is to be refreshed.
    one.place
        .expect(0, &["build", "-o", "../out", "--user-policy", "off", "."]);
    let tree = one.place.path().join("out/x");
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            .args(["-c", "safe.directory=*"])
            .args(arguments)
            .current_dir(&tree)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .expect("git starts");
        assert!(output.status.success(), "{arguments:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    assert_eq!(git(&["rev-parse", "HEAD"]), commit);
    assert_eq!(git(&["status", "--porcelain"]), "");
    assert!(!tree.join(".git/logs").exists());
}

#[test]
fn s56_tokens_of_secrets_go_to_their_host_only() {
    let site = git_site!();
    let (repository, ..) = sample(&site);
    repository
        .write("dir/Dockerfile", "FROM scratch\nCOPY . /x/\nUSER 1:1\n")
        .commit("a build");
    let root = repository.root.clone();
    let web = Web::start(move |request| {
        // x-access-token:tok
        match request.headers.get("authorization").map(String::as_str) {
            Some("Basic eC1hY2Nlc3MtdG9rZW46dG9r") => backend(&root, request),
            _ => Answer::status(401).header("www-authenticate", "Basic realm=\"x\""),
        }
    });
    let secret = |id: &str, value: &str| {
        let path = site.place.path().join("token");
        fs::write(&path, value).expect("a secret");
        format!("id={id},src={}", path.display())
    };
    let file = format!("FROM scratch\nADD {}#v1 /x/\n", web.url("/r.git"));
    let own = format!("GIT_AUTH_TOKEN.{}", web.host());
    site.fails(&file, &[]);
    for (id, value) in [
        ("GIT_AUTH_TOKEN.example.org", "tok"),
        (own.as_str(), "wrong"),
    ] {
        let stderr = site.fails(&file, &["--secret", &secret(id, value)]);
        assert!(!stderr.contains("wrong"), "{stderr}");
    }
    let context = web.url("/r.git#main:dir");
    let header = "Basic eC1hY2Nlc3MtdG9rZW46dG9r";
    for (id, value) in [
        (own.as_str(), "tok"),
        ("GIT_AUTH_TOKEN", "tok\n"),
        ("GIT_AUTH_HEADER", header),
    ] {
        let given = secret(id, value);
        let built = site.build(&file, &["--no-cache", "--secret", &given]);
        assert!(!format!("{}{:?}", built.config, built.scratch()).contains("eC1hY2Nl"));
        let args = ["build", "--network", "none", "--secret", &given, &context];
        site.place.expect(0, &args);
        site.place.expect(0, &["prune", "--all"]);
    }
    // Another host gets nothing, because a redirect is not followed then.
    let other = repository.smart();
    let target = other.url("");
    let away = Web::start(move |request| {
        Answer::status(302).header("location", &format!("{target}{}", request.path))
    });
    let file = format!("FROM scratch\nADD {} /x/\n", away.url("/r.git#old"));
    site.fails(&file, &["--secret", &secret("GIT_AUTH_TOKEN", "tok")]);
    assert!(other.requests().is_empty());
}

#[test]
fn f17_a_busy_git_server_is_asked_again_and_one_that_says_no_is_not() {
    let site = git_site!();
    let (repository, ..) = sample(&site);
    let root = repository.root.clone();
    let count = std::sync::atomic::AtomicUsize::new(0);
    let web = Web::start(move |request| match count.fetch_add(1, Ordering::SeqCst) {
        0 | 2 => Answer::status(503),
        _ => backend(&root, request),
    });
    let built = site.build(
        &format!("FROM scratch\nADD {} /x/\n", web.url("/r.git#v1")),
        &[],
    );
    assert_eq!(
        built.stderr.matches("trying again").count(),
        2,
        "{}",
        built.stderr
    );
    for (status, tries) in [(403, 1), (503, 4)] {
        let web = Web::start(move |_| Answer::status(status));
        let stderr = site.fails(
            &format!("FROM scratch\nADD {} /x/\n", web.url("/r.git")),
            &[],
        );
        assert!(stderr.contains("Containerfile:2:"), "{stderr}");
        assert_eq!(web.requests().len(), tries, "{stderr}");
    }
}

#[test]
fn another_commit_is_what_an_explanation_names() {
    let site = git_site!();
    let (repository, _, second) = sample(&site);
    let web = repository.smart();
    let file = format!("FROM scratch\nADD {} /x/\n", web.url("/r.git#main"));
    site.build(&file, &[]);
    let third = repository.write("file", "three").commit("third");
    let told = site.build(&file, &["--explain-cache"]).stderr;
    let expected = format!("which is fetched, changed (commit {second} -> commit {third})");
    assert!(told.contains(&expected), "{told}");
}
