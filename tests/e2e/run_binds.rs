//! `RUN --mount=type=bind`: files of the context, of stages and of images, as the step sees them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::support::{Degree, degree};

#[test]
fn files_of_the_context_are_roots_without_what_is_ignored() {
    let site = site!(run);
    site.place
        .write("src/a", "A\n")
        .write("src/deep/b", "B\n")
        .write("src/ignored/c", "C\n")
        .write(".dockerignore", "src/ignored\n**/*.log\n")
        .write("src/x.log", "log\n");
    let context = site.place.context();
    fs::set_permissions(context.join("src/a"), fs::Permissions::from_mode(0o600)).expect("mode");
    std::os::unix::fs::symlink("deep/b", context.join("src/link")).expect("a link");
    std::os::unix::fs::symlink("/etc/passwd", context.join("out")).expect("a link");
    let file = r"FROM busybox
WORKDIR /w
RUN --mount=target=. find . -name Containerfile -o -path './src/*' | sort && stat -c '%n %a %u:%g' src/a src/deep src && cat src/link
RUN --mount=type=bind,source=src,target=/s ls /s && ! touch /s/new && ! rm /s/a
RUN --mount=type=bind,source=src/a,target=/etc/deep/file cat /etc/deep/file && stat -c '%n %u:%g' /etc/deep/file
RUN --mount=type=bind,src=/src/deep/../a,dst=/one,ro cat /one
RUN ls -d /s /etc/deep /one 2>/dev/null | wc -l
";
    let built = site.build(file, &[]);
    for line in [
        "| ./src/a",
        "| ./src/deep/b",
        "| src/a 600 0:0",
        "| /etc/deep/file 0:0",
        "| A",
        "| B",
        "| 0",
    ] {
        assert!(built.said(line), "{line} is missing in {}", built.stderr);
    }
    for line in ["ignored", "x.log"] {
        assert!(!built.said(line), "{line} is visible: {}", built.stderr);
    }
    assert_eq!(
        built.layers().len(),
        1,
        "only WORKDIR: {:#?}",
        built.layers()
    );
}

#[test]
fn s38_writes_to_a_writable_bind_are_thrown_away() {
    let site = site!(run);
    site.place.write("src/a", "A\n");
    let file = r"FROM busybox AS made
RUN mkdir /m && echo made >/m/f
FROM busybox
RUN --mount=target=/s,source=src,rw --mount=from=made,source=/m,target=/m,readwrite \
    echo changed >/s/a && rm /m/f && touch /s/new /m/new && cat /s/a && ls /m
RUN --mount=target=/s,source=src --mount=from=made,source=/m,target=/m cat /s/a /m/f && ls /s | wc -l
";
    let built = site.build(file, &[]);
    for line in ["| changed", "| new", "| A", "| made", "| 1"] {
        assert!(built.said(line), "{line} is missing in {}", built.stderr);
    }
    let context = site.place.context();
    assert_eq!(fs::read_to_string(context.join("src/a")).expect("a"), "A\n");
    assert!(!context.join("src/new").exists());
    assert_eq!(built.layers(), Vec::<Vec<String>>::new());
}

#[test]
fn stages_images_and_named_contexts_are_sources() {
    let site = site!(ids);
    site.place.write("other/n", "named\n");
    let file = r"FROM scratch AS copied
COPY other /data
FROM busybox AS ran
RUN mkdir -p /d/e && echo ran >/d/e/f && chown -R 5:6 /d && ln -s e /d/link
FROM busybox
RUN --mount=from=copied,target=/c cat /c/data/n
RUN --mount=from=ran,source=d/link,target=/r stat -c '%u:%g' /r/f && cat /r/f
RUN --mount=from=1,source=/d/e/f,target=/f cat /f
RUN --mount=from=busybox,source=/bin,target=/b /b/busybox echo image
RUN --mount=from=extra,target=/x cat /x/n && stat -c '%n %u:%g' /x/n
RUN ls -d /c /r /f /b /x 2>/dev/null | wc -l
";
    let built = site.build(file, &["--build-context", "extra=other"]);
    for line in ["| named", "| 5:6", "| ran", "| image", "| /x/n 0:0", "| 0"] {
        assert!(built.said(line), "{line} is missing in {}", built.stderr);
    }
    assert_eq!(built.layers(), Vec::<Vec<String>>::new());
}

#[test]
fn s23_a_link_in_the_source_never_leads_to_the_machine() {
    let site = site!(run);
    let file = r"FROM busybox AS base
RUN ln -s / /rootdir && ln -s /etc/hostname /name && ln -s ../../../../../../.. /up && echo inside >/marker
FROM busybox
RUN --mount=type=bind,from=base,source=/rootdir,target=/m,rw cat /m/marker && touch /m/written
RUN --mount=type=bind,from=base,source=/up,target=/m cat /m/marker
RUN --mount=type=bind,from=base,source=/up/../../marker,target=/m cat /m
";
    let built = site.build(file, &[]);
    assert_eq!(
        built.stderr.matches("| inside").count(),
        3,
        "{}",
        built.stderr
    );
    assert!(!std::path::Path::new("/written").exists());
}

#[test]
fn a_source_that_is_not_there_or_ignored_fails_by_name() {
    let site = site!(run);
    site.place
        .write("src/a", "A\n")
        .write(".dockerignore", "hidden\n")
        .write("hidden", "H\n");
    for (mount, word) in [
        ("source=nowhere,target=/m", "nowhere"),
        ("source=hidden,target=/m", "ignore file"),
        ("from=busybox,source=/nowhere,target=/m", "/nowhere"),
    ] {
        let said = site.fails(&format!("FROM busybox\nRUN --mount={mount} true\n"), &[]);
        assert!(
            said.contains(word) && said.contains("Containerfile:2"),
            "{said}"
        );
    }
}

#[test]
fn what_is_mounted_is_part_of_the_key_and_what_is_not_is_not() {
    let site = site!(run);
    site.place.write("src/a", "1\n").write("other", "1\n");
    let file = "FROM busybox\nRUN --mount=source=src,target=/s cat /s/a >/copy\n";
    assert_eq!(site.build(file, &[]).cached(), 0);
    assert_eq!(site.build(file, &[]).cached(), 1);
    site.place.write("other", "2\n");
    assert_eq!(site.build(file, &[]).cached(), 1, "not mounted");
    site.place.write("src/a", "2\n");
    let changed = site.build(file, &[]);
    assert_eq!(changed.cached(), 0);
    assert_eq!(changed.layer(), [r#"f 0644 0:0 copy = "2\n""#]);

    let staged = "FROM busybox AS a\nARG V=1\nRUN echo $V >/v\nFROM busybox\nRUN --mount=from=a,target=/m cat /m/v\n";
    assert_eq!(site.build(staged, &[]).cached(), 0);
    assert_eq!(site.build(staged, &[]).cached(), 2);
    let other = site.build(staged, &["--build-arg", "V=2"]);
    assert!(other.cached() == 0 && other.said("| 2"), "{}", other.stderr);
}

#[test]
fn programs_that_look_at_owners_are_content() {
    let site = site!(ids);
    // What git asks (setup.c, ensure_valid_ownership): do the work tree and its .git belong to me?
    site.place.write("repo/.git/HEAD", "ref: refs/heads/main\n");
    let file = "FROM busybox\nRUN --mount=source=repo,target=/r test -O /r/.git && test -O /r/.git/HEAD && test -G /r && echo mine\n";
    let built = site.build(file, &[]);
    assert!(built.said("| mine"), "{}", built.stderr);
}

#[test]
fn f27_a_stage_of_many_layers_can_be_mounted() {
    if degree() == Degree::NoSub {
        skip!("sub-ids", "one degree less is enough for 200 steps");
    }
    let site = site!(run);
    let mut file = "FROM busybox AS many\n".to_owned();
    for number in 0..200 {
        file += &format!("COPY Containerfile /f{number}\n");
    }
    file += "FROM busybox\nRUN --mount=from=many,target=/m ls /m | grep -c ^f\n";
    let built = site.build(&file, &[]);
    assert!(built.said("| 200"), "{}", built.stderr);
}
