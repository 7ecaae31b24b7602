//! Every flag of `build`, from the command line to its setting.

use std::path::Path;

use builder::{NamedContext, PullPolicy, Squash, Times, UserPolicy};
use image::{Format, Platform, Reference};

use super::*;
use crate::args::{Command, tests::parse};

fn settings_in(here: &Surroundings, line: &str) -> Result<BuildSettings, Failure> {
    match parse(line)
        .unwrap_or_else(|error| panic!("{line}: {error}"))
        .command
    {
        Command::Build(args) => args.settings(here),
        other => panic!("{line} is {other:?}"),
    }
}

fn settings(line: &str) -> BuildSettings {
    settings_in(&Surroundings::of(&[("V", "env"), ("EMPTY", "")]), line)
        .unwrap_or_else(|error| panic!("{line}: {error}"))
}

fn refused(line: &str) -> String {
    let failure = settings_in(&Surroundings::of(&[]), line).expect_err(line);
    assert_eq!(failure.code(), 2, "{failure}");
    failure.to_string()
}

fn misused(line: &str) -> String {
    parse(line).expect_err(line).to_string()
}

#[test]
fn the_shortest_build_has_the_documented_defaults() {
    let got = settings("build");
    assert_eq!(got.sources.containerfile, ContainerfileSource::InContext);
    assert_eq!(got.sources.context, ContextSource::Path(".".into()));
    assert_eq!(got.results.outputs, [Output::Store(plain())]);
    assert_eq!(got.results.progress, Progress::Plain);
    assert_eq!(got.image.user_policy, UserPolicy::Enforce);
    assert_eq!(got.image.platforms, [Platform::host()]);
    assert_eq!(got.image.jobs, 4);
    let isolation = Isolation {
        network: NetworkArg::Default,
        http_proxy: true,
        allow_host_network: false,
        no_new_privileges: false,
    };
    assert_eq!(got.isolation, isolation);
    assert!(!got.dry_run && !got.image.no_cache);
}

#[test]
fn the_cards_own_call_is_a_build() {
    let got = settings("-f Containerfile .");
    assert_eq!(
        got.sources.containerfile,
        ContainerfileSource::File("Containerfile".into())
    );
    assert_eq!(got.sources, settings("build -f Containerfile .").sources);
}

#[test]
fn standard_input_may_be_the_containerfile() {
    let with_files = settings("-f - ctx").sources;
    assert_eq!(with_files.containerfile, ContainerfileSource::Stdin);
    assert_eq!(with_files.context, ContextSource::Path("ctx".into()));
    let without = settings("-f - -").sources;
    assert_eq!(
        (without.containerfile, without.context),
        (ContainerfileSource::Stdin, ContextSource::Empty)
    );
    for (line, file) in [
        ("-", ContainerfileSource::InContext),
        ("-f sub/F -", ContainerfileSource::File("sub/F".into())),
    ] {
        let packed = settings(line).sources;
        assert_eq!(
            (packed.containerfile, packed.context),
            (file, ContextSource::Stdin)
        );
    }
}

#[test]
fn a_build_arg_keeps_the_git_directory_of_the_context() {
    let kept = |line: &str| match settings(line).sources.context {
        ContextSource::Remote(RemoteSource::Git(source)) => source.keep_git_dir,
        other => panic!("{other:?}"),
    };
    let arg = "--build-arg BUILDKIT_CONTEXT_KEEP_GIT_DIR";
    assert_eq!(kept(&format!("{arg}=1 https://x.io/a.git")), Some(true));
    assert_eq!(
        kept(&format!("{arg}=False https://x.io/a.git")),
        Some(false)
    );
    let own = "https://x.io/a.git?keep-git-dir=0";
    assert_eq!(kept(&format!("{arg}=1 {own}")), Some(false));
    assert_eq!(kept("https://x.io/a.git"), None);
    assert!(refused(&format!("{arg}=maybe .")).contains("BUILDKIT_CONTEXT_KEEP_GIT_DIR=maybe"));
}

#[test]
fn build_args_take_their_value_from_the_line_or_the_environment() {
    let got = settings(
        "--build-arg A=1=2 --build-arg V --build-arg EMPTY --build-arg UNSET --build-arg B= .",
    );
    let args: Vec<_> = got
        .image
        .build_args
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    assert_eq!(args, ["A=1=2", "B=", "EMPTY=", "V=env"]);
    assert!(refused("--build-arg =x .").contains("--build-arg"));
}

#[test]
fn build_contexts_are_directories_layouts_or_images() {
    let context = |source: &str| {
        let mut got = settings(&format!("--build-context n={source} ."))
            .sources
            .named;
        got.remove("n").expect("the context is there")
    };
    let layout = |directory: &str, version: Option<&str>| NamedContext::OciLayout {
        directory: directory.into(),
        version: version.map(str::to_owned),
    };
    let digest = format!("sha256:{}", "a".repeat(64));
    assert_eq!(context("./dir"), NamedContext::Directory("./dir".into()));
    assert_eq!(context("oci-layout:/a/b"), layout("/a/b", None));
    assert_eq!(context("oci-layout:/a/b:tag"), layout("/a/b", Some("tag")));
    assert_eq!(context("oci-layout:/a:b/c"), layout("/a:b/c", None));
    assert_eq!(
        context("oci-layout:///a/b:tag"),
        layout("/a/b", Some("tag"))
    );
    assert_eq!(context("oci-layout://rel:1"), layout("rel", Some("1")));
    assert_eq!(
        context(&format!("oci-layout:///a@{digest}")),
        layout("/a", Some(&digest))
    );
    assert_eq!(
        context("docker-image://debian"),
        NamedContext::Image(Reference::from_static("debian"))
    );
    for (line, word) in [
        ("--build-context x .", "NAME=SOURCE"),
        ("--build-context =x .", "NAME=SOURCE"),
        ("--build-context n=ftp://x/y .", "ftp://"),
        ("--build-context n=oci-layout: .", "directory"),
        ("--build-context n=oci-layout:/a@sha256:zz .", "digest"),
        ("--build-context n=a --build-context n=b .", "twice"),
        ("--build-context n=docker-image://UPPER .", "UPPER"),
    ] {
        assert!(refused(line).contains(word), "{line}: {}", refused(line));
    }
}

#[test]
fn flags_of_the_image_reach_their_settings() {
    let got = settings(
        "-t one --tag two:2 --target rel --label a=b=c --label d= --annotation x=y --no-cache --jobs 9 \
         --platform linux/arm64 --user-policy rewrite --dry-run ctx",
    );
    let tags: Vec<_> = got.image.tags.iter().map(Reference::familiar).collect();
    assert_eq!(tags, ["one:latest", "two:2"]);
    assert_eq!(got.image.target.as_deref(), Some("rel"));
    assert_eq!(
        got.image.labels,
        [("a".into(), "b=c".into()), ("d".into(), String::new())]
    );
    let annotations = got.image.shape.annotations;
    assert_eq!(annotations.len(), 1);
    assert_eq!((&*annotations[0].name, &*annotations[0].value), ("x", "y"));
    assert!(got.image.no_cache && got.dry_run);
    assert_eq!(got.image.jobs, 9);
    assert_eq!(got.image.platforms, [Platform::linux("arm64")]);
    assert_eq!(got.image.user_policy, UserPolicy::Rewrite);
    assert_eq!(got.sources.context, ContextSource::Path("ctx".into()));
    for (word, policy) in [
        ("enforce", UserPolicy::Enforce),
        ("warn", UserPolicy::Warn),
        ("off", UserPolicy::Off),
    ] {
        assert_eq!(
            settings(&format!("--user-policy {word}")).image.user_policy,
            policy
        );
    }
}

#[test]
fn flags_of_run_steps_reach_their_settings() {
    for (word, network) in [
        ("default", NetworkArg::Default),
        ("none", NetworkArg::None),
        ("host", NetworkArg::Host),
        ("pasta", NetworkArg::Pasta),
    ] {
        let got = settings(&format!("--network {word}")).isolation;
        assert_eq!(
            (got.network, got.allow_host_network),
            (network, network == NetworkArg::Host)
        );
    }
    assert!(
        settings("--network none --allow network.host")
            .isolation
            .allow_host_network
    );
    assert!(
        settings("--security-opt no-new-privileges")
            .isolation
            .no_new_privileges
    );
}

#[test]
fn flags_of_results_reach_their_settings() {
    let got = settings("-o out -o type=oci,dest=x.tar --iidfile id --progress json").results;
    assert_eq!(
        got.outputs,
        [
            Output::Local("out".into()),
            Output::OciArchive(Some("x.tar".into()), plain())
        ]
    );
    assert_eq!(got.iidfile.as_deref(), Some(Path::new("id")));
    assert_eq!(got.progress, Progress::Json);
    for (line, progress) in [
        ("-q", Progress::Quiet),
        ("--progress quiet", Progress::Quiet),
        ("--progress none", Progress::Quiet),
        ("--progress rawjson", Progress::Json),
    ] {
        assert_eq!(settings(line).results.progress, progress, "{line}");
    }
    let files = settings("--metadata-file m --logfile l").results;
    assert_eq!(files.metadata_file.as_deref(), Some(Path::new("m")));
    assert_eq!(files.logfile.as_deref(), Some(Path::new("l")));
    assert!(refused("--progress tty .").contains("terminal"));
    let mut terminal = Surroundings::of(&[]);
    (terminal.live_terminal, terminal.stdout_is_terminal) = (true, true);
    for line in [".", "--progress tty"] {
        assert_eq!(
            settings_in(&terminal, line).unwrap().results.progress,
            Progress::Tty
        );
    }
    assert!(
        settings_in(&terminal, "-o - .")
            .unwrap_err()
            .to_string()
            .contains("terminal")
    );
    assert!(refused("-o - -o type=oci,dest=- .").contains("only one"));
}

#[test]
fn push_and_load_are_outputs() {
    let outputs = |line: &str| settings(line).results.outputs;
    let (store, registry) = (Output::Store(plain()), Output::Registry(plain()));
    assert_eq!(outputs("-t x --push"), std::slice::from_ref(&registry));
    assert_eq!(outputs("-t x --push --load"), [store.clone(), registry]);
    assert_eq!(outputs("-t x --push -o type=registry").len(), 1);
    assert_eq!(outputs("--load"), std::slice::from_ref(&store));
    assert_eq!(outputs("-o type=cacheonly"), []);
    assert_eq!(outputs("-o type=local,dest=x --load")[1], store);
    assert!(refused("--push .").contains("name"));
    assert!(refused("-o type=registry .").contains("name"));
}

#[test]
fn the_shape_of_an_image_reaches_its_settings() {
    let shape = |line: &str| settings(line).image.shape;
    assert_eq!(shape(".").format, Format::Oci);
    assert_eq!(shape("--format docker").format, Format::Docker);
    assert_eq!(shape(".").squash, Squash::No);
    assert_eq!(shape("--squash").squash, Squash::Built);
    assert_eq!(shape("--squash-all").squash, Squash::All);
    assert!(shape("--omit-history").omit_history);
    assert!(!settings("--inherit-labels=false").image.inherit_labels);
    assert!(settings(".").image.inherit_labels);
    assert_eq!(
        settings("--no-cache-filter a,b --no-cache-filter c")
            .image
            .no_cache_stages,
        ["a", "b", "c"]
    );
    for (line, policy) in [
        (".", PullPolicy::Missing),
        ("--pull .", PullPolicy::Always),
        ("--pull=true .", PullPolicy::Always),
        ("--pull=false .", PullPolicy::Missing),
        ("--pull=never .", PullPolicy::Never),
        ("--pull=newer .", PullPolicy::Newer),
    ] {
        assert_eq!(settings(line).image.pull, policy, "{line}");
    }
}

#[test]
fn what_an_output_cannot_carry_is_refused() {
    for (line, named) in [
        ("--format docker --annotation a=b .", "no annotations"),
        (
            "--format docker -o type=oci,dest=x,compression=zstd .",
            "no zstd",
        ),
        (
            "-o type=oci,dest=x,oci-mediatypes=false,compression=zstd .",
            "no zstd",
        ),
        (
            "-o type=oci,dest=x,oci-mediatypes=false,annotation.a=b .",
            "no annotations",
        ),
        ("--annotation manifest-descriptor:a=b .", "type=oci"),
        ("--annotation index:a=b .", "no index"),
        (
            "--annotation index-descriptor:a=b -o type=oci,dest=x .",
            "no index",
        ),
        (
            "--platform linux/amd64,linux/arm64 --annotation index-descriptor:a=b .",
            "type=oci",
        ),
        (
            "--platform linux/amd64 --annotation manifest[linux/arm64]:a=b .",
            "its platform",
        ),
    ] {
        assert!(refused(line).contains(named), "{line}: {}", refused(line));
    }
    settings("--annotation manifest-descriptor:a=b -o type=oci,dest=x .");
    settings("--platform linux/amd64,linux/arm64 --annotation index,manifest[linux/arm64]:a=b .");
}

#[test]
fn build_args_may_stand_in_a_file() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "# no\n\nA=1=2\nB=file\nV\nUNSET\n").expect("written");
    let got = settings(&format!(
        "--build-arg B=line --build-arg-file {} .",
        file.path().display()
    ));
    let args: Vec<_> = got.image.build_args.into_iter().collect();
    let text = |pair: &(String, String)| format!("{}={}", pair.0, pair.1);
    assert_eq!(
        args.iter().map(text).collect::<Vec<_>>(),
        ["A=1=2", "B=line", "V=env"]
    );
    std::fs::write(file.path(), "A=1\n=2\n").expect("written");
    let line = format!("--build-arg-file {} .", file.path().display());
    assert!(refused(&line).contains("line 2"));
    assert!(refused("--build-arg-file /no/such/file .").contains("/no/such/file"));
}

#[test]
fn flags_of_registries_reach_their_settings() {
    let got = settings("--authfile a.json --insecure-registry localhost:5000 .").registry;
    assert_eq!(got.auth.candidates, [Path::new("a.json")]);
    assert!(got.auth.required);
    assert_eq!(got.insecure, ["localhost:5000"]);
    assert!(settings("--tls-verify .").registry.insecure.is_empty());
    assert!(settings("--creds a:b:c .").registry.creds.is_some());
    for creds in ["s3cret", ":s3cret", "s3cret:"] {
        let said = refused(&format!("--creds {creds} ."));
        assert!(
            said.contains("USER:PASSWORD") && !said.contains("s3cret"),
            "{said}"
        );
    }
    assert!(misused("--creds a:b --authfile c .").contains("--authfile"));
    let options = settings("--retry 0 --retry-delay 2s .").registry.options();
    assert_eq!((options.tries, options.backoff.as_secs()), (1, 2));
    let options = settings(".").registry.options();
    assert_eq!((options.tries, options.backoff.as_millis()), (4, 500));
    assert!(refused("--tls-verify=false .").contains("--tls-verify=false"));
    for host in ["http://x", "debian", "a/b"] {
        assert!(
            refused(&format!("--insecure-registry {host} .")).contains("HOST"),
            "{host}"
        );
    }
}

#[test]
fn what_makes_no_sense_is_refused_by_name() {
    assert!(refused("-t UPPER .").contains("UPPER"));
    assert!(refused(&format!("-t x@sha256:{} .", "a".repeat(64))).contains("digest"));
    assert!(refused("--label x .").contains("--label"));
    assert!(refused("--annotation =x .").contains("--annotation"));
    for (line, word) in [
        ("--network bridge .", "bridge"),
        ("--allow security.insecure .", "security.insecure"),
        ("--security-opt seccomp=unconfined .", "seccomp"),
        ("--jobs 0 .", "--jobs"),
        ("--platform a/b/c/d .", "--platform"),
        ("--user-policy maybe .", "maybe"),
        ("--progress plain -q .", "--progress"),
        ("--squash --squash-all .", "--squash"),
        ("--pull=sometimes .", "sometimes"),
        ("--format v1 .", "v1"),
        ("--retry-delay soon .", "soon"),
        ("a b", "b"),
    ] {
        assert!(misused(line).contains(word), "{line}: {}", misused(line));
    }
}

#[test]
fn f23_a_source_date_epoch_that_is_no_number_is_an_error() {
    let times = |env: &[(&str, &str)], line: &str| {
        settings_in(&Surroundings::of(env), line).map(|settings| settings.image.times.asked)
    };
    let variable = [("SOURCE_DATE_EPOCH", "12")];
    assert_eq!(times(&[], "build").unwrap(), None);
    assert_eq!(times(&[("SOURCE_DATE_EPOCH", "")], "build").unwrap(), None);
    assert_eq!(
        times(&variable, "build").unwrap(),
        Some(Times::NotAfter(12))
    );
    let argument = "build --build-arg SOURCE_DATE_EPOCH=13";
    assert_eq!(
        times(&variable, argument).unwrap(),
        Some(Times::NotAfter(13))
    );
    let flag = format!("{argument} --source-date-epoch 14");
    assert_eq!(times(&variable, &flag).unwrap(), Some(Times::NotAfter(14)));
    assert_eq!(
        times(&variable, "build --source-date-epoch context").unwrap(),
        None
    );
    let exact = times(&variable, "build --timestamp 15").unwrap();
    assert_eq!(exact, Some(Times::Exactly(15)));
    for text in ["yesterday", "-1", "1.5"] {
        assert!(times(&[("SOURCE_DATE_EPOCH", text)], "build").is_err());
    }
    assert!(misused("build --timestamp 1 --source-date-epoch 2").contains("cannot be used"));
}

#[test]
fn file_times_can_be_left_alone() {
    assert!(settings("build").image.times.rewrite);
    assert!(settings("build --rewrite-timestamp").image.times.rewrite);
    assert!(
        !settings("build --rewrite-timestamp=false")
            .image
            .times
            .rewrite
    );
}
