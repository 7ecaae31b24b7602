//! Flags that decide which stages are built and from what, and flags of other builders.

#[test]
fn a_stage_waits_for_what_it_names_and_has_it_built() {
    let site = site!(run);
    let file = "FROM busybox AS slow\nRUN sleep 1; echo slow is done\n\
                FROM --after=slow busybox\nRUN echo quick\n";
    let built = site.build(file, &["--jobs", "4"]);
    let place = |line: &str| built.stderr.find(line);
    let (slow, quick) = (place("| slow is done"), place("[stage-1 1/1] RUN"));
    assert!(slow.is_some() && slow < quick, "{}", built.stderr);
    assert_eq!(built.layers(), Vec::<Vec<String>>::new(), "order only");
    let without = site.build(&file.replace("--after=slow ", ""), &["--no-cache"]);
    assert!(!without.stderr.contains("slow"), "{}", without.stderr);
}

#[test]
fn unused_stages_are_built_where_that_is_asked_for() {
    let site = site!(run);
    let file =
        "FROM busybox AS unused\nRUN exit 7\nFROM busybox AS target\nFROM busybox\nRUN exit 8\n";
    let target = ["--target", "target"];
    site.build(file, &target);
    site.build(file, &[&target[..], &["--skip-unused-stages"]].concat());
    let said = site.fails(
        file,
        &[&target[..], &["--skip-unused-stages=false"]].concat(),
    );
    assert!(said.contains("exit code 7"), "{said}");
}

#[test]
fn the_first_stage_starts_from_what_the_command_line_says() {
    let site = site!();
    let file = "ARG NOTHING\nFROM $NOTHING AS base\nCOPY Containerfile /\nFROM base\n";
    site.fails(file, &[]);
    let built = site.build(file, &["--from", "busybox"]);
    assert_eq!(built.layer().len(), 1);
}

#[test]
fn proxies_of_the_environment_reach_run_unless_they_are_not_wanted() {
    let site = site!(run);
    let file = "FROM busybox\nRUN echo \"proxy=$http_proxy\"\n";
    let proxy = "http://proxy.example:8080";
    let built = site.built(site.command(file, &[]).env("http_proxy", proxy));
    assert!(built.said(&format!("| proxy={proxy}")), "{}", built.stderr);
    let args = ["--http-proxy=false", "--no-cache"];
    let built = site.built(site.command(file, &args).env("http_proxy", proxy));
    assert!(built.said("| proxy="), "{}", built.stderr);
}

#[test]
fn flags_of_other_builders_say_what_to_use_instead() {
    let site = site!();
    let file = "FROM scratch\nCOPY Containerfile /\n";
    for (flag, instead) in [
        ("--cache-repo=q.io/c", "use --cache-from and --cache-to"),
        ("--isolation=chroot", "RUN has user, mount, process"),
        ("--layers=false", "--squash makes one layer"),
        ("--no-push=false", "without --push nothing is pushed"),
    ] {
        let output = site.command(file, &[flag]).output().expect("it starts");
        assert_eq!(output.status.code(), Some(2), "{flag}");
        let said = String::from_utf8_lossy(&output.stderr);
        let name = flag.split('=').next().expect("a name");
        assert!(said.contains(name) && said.contains(instead), "{said}");
    }
    site.build(
        file,
        &["--layers", "--provenance=false", "--sbom", "false", "--rm"],
    );
    let (help, _) = site.place.expect(0, &["build", "--help"]);
    assert!(
        !help.contains("--cache-repo"),
        "what is not there is not shown"
    );
}
