//! Several stages: where they come from, which are built, and in which order.

use std::time::{Duration, Instant};

#[track_caller]
fn has(lines: &[String], wanted: &str) {
    assert!(lines.iter().any(|l| l == wanted), "{wanted} in {lines:#?}");
}

#[test]
fn copy_takes_from_names_numbers_images_and_contexts() {
    let site = site!();
    site.place.write("one", "1").write("../other/two", "2");
    let busybox = crate::support::base("busybox").expect("it is required");
    let file = "FROM scratch AS First\nCOPY one /one\nFROM scratch\nCOPY one /numbered\nFROM scratch\n\
                COPY --from=first /one /named\nCOPY --from=1 /numbered /\nCOPY --from=busybox /etc/group /\n\
                COPY --from=dir two /\nCOPY --from=layout /etc/group /again\n";
    let context = site.place.path().join("other");
    let built = site.build(
        file,
        &[
            "--build-context",
            &format!("dir={}", context.display()),
            "--build-context",
            &format!("layout=oci-layout:{}", busybox.display()),
        ],
    );
    let lines = built.scratch();
    has(&lines, r#"f 0644 0:0 named = "1""#);
    has(&lines, r#"f 0644 0:0 numbered = "1""#);
    has(
        &lines,
        r#"f 0644 0:0 group = "root:x:0:\nnogroup:x:65534:\n""#,
    );
    has(&lines, r#"f 0644 0:0 two = "2""#);
    has(
        &lines,
        r#"f 0644 0:0 again = "root:x:0:\nnogroup:x:65534:\n""#,
    );
}

#[test]
fn stages_that_the_target_does_not_need_are_not_built() {
    let site = site!(run);
    let file = "FROM busybox AS unused\nRUN exit 42\nFROM busybox AS used\nRUN echo x >/x\nFROM scratch AS final\nCOPY --from=used /x /\n\
                FROM final AS later\nCOPY --from=unused /y /\n";
    let built = site.build(file, &["--target", "Final"]);
    has(&built.scratch(), r#"f 0644 0:0 x = "x\n""#);
    let stderr = site.fails(file, &[]);
    assert!(stderr.contains("exit code 42"), "{stderr}");
    let stderr = site.fails(file, &["--target", "finl"]);
    assert!(stderr.contains("final"), "it suggests: {stderr}");
}

#[test]
fn a_stage_on_a_stage_has_its_files_configuration_and_arguments() {
    let site = site!(run);
    let file = "FROM busybox AS a\nARG V=inherited\nENV E=env\nUSER 5:6\nWORKDIR /tmp/w\nRUN echo $V >f\nFROM a\nRUN echo $V $E $(id -u) $PWD && cat f\n";
    if crate::support::degree() == crate::support::Degree::NoSub {
        skip!("sub-ids", "the user has none");
    }
    let built = site.build(file, &[]);
    assert!(built.said("| inherited env 5 /tmp/w"), "{}", built.stderr);
    assert!(built.said("| inherited"), "{}", built.stderr);
    assert_eq!(built.field("User"), r#""5:6""#);
    assert_eq!(built.layers().len(), 2, "no more than WORKDIR's and RUN's");
}

#[test]
fn unknown_later_and_circular_stages_are_errors_with_their_place() {
    let site = site!();
    for (file, part) in [
        (
            "FROM scratch AS early\nCOPY --from=later /x /\nFROM scratch AS later\nFROM early\n",
            "Containerfile:2:",
        ),
        (
            "FROM scratch AS me\nCOPY --from=me /x /\n",
            "Containerfile:2:",
        ),
        ("FROM scratch\nCOPY --from=5 /x /\n", "Containerfile:2:"),
        ("FROM scratch\nCOPY --from=$X /x /\n", "Containerfile:2:"),
    ] {
        let output = site.command(file, &[]).output().expect("it starts");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && stderr.contains(part),
            "{file}: {stderr}"
        );
    }
}

#[test]
fn triggers_of_a_base_image_and_of_a_stage_run_right_after_from() {
    let site = site!(run);
    site.place.write("one", "1");
    let base = "FROM busybox\nONBUILD COPY one /from-trigger\nONBUILD RUN echo triggered=$(cat /from-trigger)\nONBUILD ENV T=1\n";
    let built = site.build(
        base,
        &[
            "-t",
            "localhost/base",
            "-o",
            "type=oci,dest=../base",
            "-o",
            "type=store",
        ],
    );
    assert!(
        built.field("OnBuild").contains("COPY one /from-trigger"),
        "{}",
        built.config
    );
    assert!(!built.stderr.contains("triggered=1"), "{}", built.stderr);
    let layout = format!(
        "trigger=oci-layout:{}",
        site.place.path().join("base").display()
    );
    for (file, args) in [
        (
            base.replace("FROM busybox", "FROM busybox AS trigger")
                + "FROM trigger\nRUN echo T=$T\n",
            vec![],
        ),
        (
            "FROM trigger\nRUN echo T=$T\n".to_owned(),
            vec!["--no-cache", "--build-context", &layout],
        ),
    ] {
        let child = site.build(&file, &args);
        assert!(
            child.said("| triggered=1") && child.said("| T=1"),
            "{}",
            child.stderr
        );
        assert_eq!(child.field("OnBuild"), "null", "cleared in the child");
        has(&child.layers().concat(), r#"f 0644 0:0 from-trigger = "1""#);
    }
}

#[test]
fn independent_stages_run_at_the_same_time() {
    let site = site!(run);
    let file = "FROM busybox AS a\nRUN sleep 1; echo a >/a\nFROM busybox AS b\nRUN sleep 1; echo b >/b\n\
                FROM busybox AS c\nRUN sleep 1; echo c >/c\nFROM scratch\nCOPY --from=a /a /\nCOPY --from=b /b /\nCOPY --from=c /c /\n";
    let started = Instant::now();
    let built = site.build(file, &[]);
    // Three seconds one after the other; the machine may be busy.
    assert!(
        started.elapsed() < Duration::from_millis(2800),
        "{:?}",
        started.elapsed()
    );
    has(&built.scratch(), r#"f 0644 0:0 c = "c\n""#);
}

#[test]
fn a_failing_stage_ends_the_others_and_keeps_what_they_had_done() {
    let site = site!(run);
    let file = "FROM busybox AS a\nRUN echo a >/a\nRUN sleep 30\nFROM busybox AS b\nRUN sleep 0.4; exit 9\n\
                FROM scratch\nCOPY --from=a /a /\nCOPY --from=b /b /\n";
    let started = Instant::now();
    let stderr = site.fails(file, &[]);
    assert!(
        stderr.contains("exit code 9") && stderr.contains("Containerfile:5:1"),
        "{stderr}"
    );
    assert!(
        started.elapsed() < Duration::from_secs(15),
        "{:?}",
        started.elapsed()
    );
    let built = site.build("FROM busybox AS a\nRUN echo a >/a\n", &[]);
    assert_eq!(built.cached(), 1, "{}", built.stderr);
}
