//! `RUN --mount`: what a step sees, and that nothing of it is in a layer (containerfile.md 1.5).

#[test]
fn a_tmpfs_is_empty_bounded_and_leaves_no_mount_point() {
    let site = site!(run);
    let file = r"FROM busybox
WORKDIR /srv
RUN mkdir -p /there && echo old >/there/old
RUN --mount=type=tmpfs,target=/new/deep,size=64k,tmpfs-mode=0750 \
    --mount=type=tmpfs,target=/there \
    --mount=type=tmpfs,dst=relative \
    stat -c '%n %a %u:%g' /new /new/deep /srv/relative && \
    ! ls /there/old && echo x >/there/x && \
    ! head -c 100000 /dev/zero >/new/deep/big && echo bounded && \
    grep ' /new/deep ' /proc/mounts
RUN ls -d /new /srv/relative || ls /there
";
    let built = site.build(file, &[]);
    for line in [
        "| /new 755 0:0",
        "| /new/deep 750 0:0",
        "| /srv/relative 1777 0:0",
        "| bounded",
        "| old",
    ] {
        assert!(built.said(line), "{line} is missing in {}", built.stderr);
    }
    assert!(
        built.stderr.contains("tmpfs rw,nosuid,nodev"),
        "{}",
        built.stderr
    );
    let layers = built.layers();
    assert_eq!(layers.len(), 2, "{layers:#?}");
}

#[test]
fn what_a_step_changes_beside_its_mount_points_is_kept() {
    let site = site!(run);
    let file = r"FROM busybox
RUN mkdir -m 1750 /kept && chown 7:8 /kept && touch -d '2001-02-03 04:05:06' /kept
RUN --mount=type=tmpfs,target=/kept/a/b --mount=type=tmpfs,target=/made/c true
RUN --mount=type=tmpfs,target=/kept/a/b --mount=type=tmpfs,target=/made/c echo x >/made/d
RUN stat -c '%n %a %u:%g %y' /kept; ls /kept
";
    requires!(sub_ids);
    let built = site.build(file, &[]);
    assert!(
        built.said("| /kept 1750 7:8 2001-02-03 04:05:06.000000000 +0000"),
        "{}",
        built.stderr
    );
    let layers = built.layers();
    assert_eq!(layers.len(), 2, "{layers:#?}");
    assert_eq!(
        layers[1],
        ["d 0755 0:0 made", r#"f 0644 0:0 made/d = "x\n""#],
        "only what the step made"
    );
}

#[test]
fn mount_points_are_made_through_links_and_over_what_was_removed() {
    let site = site!(run);
    let file = r"FROM busybox
RUN mkdir -p /real/x /gone && echo 1 >/gone/f && ln -s /real /link && ln -s real/nowhere /dangling
RUN rm -rf /gone /real/x && mkdir /real/x
RUN --mount=type=tmpfs,target=/link/new/deep --mount=type=tmpfs,target=/gone/in \
    --mount=type=tmpfs,target=/dangling --mount=type=tmpfs,target=/real/x/y \
    ls -d /real/new/deep /gone/in /real/nowhere /real/x/y && ls /gone
RUN ls -d /gone /real/new /real/nowhere /real/x/y 2>/dev/null | wc -l
";
    let built = site.build(file, &[]);
    assert!(built.said("| in"), "the old file is gone: {}", built.stderr);
    assert!(built.said("| 0"), "{}", built.stderr);
    assert_eq!(built.layers().len(), 2, "{:#?}", built.layers());
}

/// S49: what an image puts where every step gets a file of its own.
#[test]
fn s49_injected_files_replace_what_the_image_made_of_them() {
    let site = site!(run);
    let file = r"FROM busybox
COPY --from=made / /
RUN cat /etc/hosts | grep localhost && ls -l /etc/resolv.conf && stat -c %n /run/stub
";
    let with = format!(
        "FROM busybox AS made\nRUN mkdir -p /out/etc && ln -s ../run/stub /out/etc/resolv.conf\n{}",
        file.replace("--from=made / /", "--from=made /out/ /")
    );
    let built = site.build(&with, &[]);
    assert!(built.said("| /run/stub"), "{}", built.stderr);
    let layers = built.layers();
    assert_eq!(
        layers,
        [[
            "d 0755 0:0 etc",
            "l 0777 0:0 etc/resolv.conf -> ../run/stub"
        ]],
        "nothing of the link's target"
    );
}

#[test]
fn s28_replacing_a_mount_points_parent_touches_nothing_outside() {
    let site = site!(run);
    site.place.write("canary/b/file", "here");
    let canary = site.place.context().join("canary");
    let file = format!(
        "FROM busybox\nRUN mkdir -p /a\nRUN --mount=type=tmpfs,target=/a/b mv /a /c; ln -sfn {} /a; true\nRUN ls -d /a /c\n",
        canary.display()
    );
    let output = site.command(&file, &[]).output().expect("it starts");
    assert!(
        matches!(output.status.code(), Some(0 | 1)),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = std::fs::read_to_string(canary.join("b/file")).expect("the canary");
    assert_eq!(text, "here");
}

#[test]
fn targets_that_cannot_be_are_refused_at_their_place() {
    let site = site!();
    for (mount, message) in [
        ("type=tmpfs,target=/", "root directory"),
        ("type=tmpfs,target=..", "root directory"),
        ("type=tmpfs", "needs a target"),
        ("type=tmpfs,target=/proc/sys", "the kernel's"),
        ("type=tmpfs,target=/sys", "the kernel's"),
        ("type=tmpfs,target=/dev", "devices"),
        (
            "type=tmpfs,target=/a --mount=type=tmpfs,target=/b/../a",
            "another mount",
        ),
        ("type=tmpfs,target=/a,uid=1", "not an option of tmpfs"),
        ("type=tmpfs,target=/a,tmpcopyup", "tmpcopyup is refused"),
        ("type=nfs,target=/a", "type=nfs"),
        ("type=tmpfs,target=/a,size=$SIZE", "size=much"),
        ("target=/a,from=$SIZE", "does not expand variables"),
        ("target=/a,from=nothing:here,U", "U is refused"),
        ("target=/a,bind-propagation=rshared", "private"),
    ] {
        let file = format!("FROM busybox\nARG SIZE=much\nRUN --mount={mount} true\n");
        let said = site.fails(&file, &[]);
        assert!(said.contains(message), "{mount}: {said}");
        assert!(said.contains("Containerfile:3"), "{mount}: {said}");
    }
}

#[test]
fn values_are_expanded_and_quoted_fields_may_hold_commas() {
    let site = site!(run);
    let file = r#"FROM busybox
ARG NAME=value
ENV SIZE=1m
RUN --mount='type=tmpfs,"target=/a,b",size=$SIZE' --mount=type=tmpfs,target=/${NAME%l*} ls -d '/a,b' /va && \
    df -k '/a,b' | grep -o ' 1024 '
"#;
    let built = site.build(file, &[]);
    for line in ["| /a,b", "| /va", "|  1024 "] {
        assert!(built.said(line), "{line} is missing in {}", built.stderr);
    }
}

#[test]
fn nested_targets_are_mounted_in_order_whatever_was_written_first() {
    let site = site!(run);
    let file = r"FROM busybox
RUN --mount=type=tmpfs,target=/a/b --mount=type=tmpfs,target=/a --mount=type=secret,id=s,target=/a/b/c \
    grep -c ' /a' /proc/mounts && cat /a/b/c
RUN ! ls /a
";
    site.place.write("s", "inside\n");
    let built = site.build(file, &["--secret", "id=s"]);
    assert!(built.said("| 3"), "{}", built.stderr);
    assert!(built.said("| inside"), "{}", built.stderr);
    assert_eq!(built.layers(), Vec::<Vec<String>>::new());
}
