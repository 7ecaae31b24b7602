//! What a RUN's layer holds: exactly the changes. No mount point, no entry of the user who builds.

use std::collections::BTreeSet;

use crate::support::Degree;

#[test]
fn new_changed_and_removed_files_are_in_the_layer_and_nothing_else() {
    let site = site!(ids);
    let file = r"FROM busybox
RUN echo new >/work/new && echo extra >>/etc/group && rm /bin/true && rmdir /var && \
    chmod 0750 /usr && chown 7:8 /bin/busybox && touch /tmp && cat /etc/passwd >/dev/null
";
    let built = site.build(file, &[]);
    let mut lines: BTreeSet<String> = built.layer().into_iter().collect();
    let busybox = lines
        .iter()
        .find(|line| line.starts_with("f 0755 7:8 bin/busybox = "))
        .cloned();
    assert!(lines.remove(&busybox.expect("its owner changed")));
    let expected = [
        "d 0750 0:0 usr",
        "d 0755 0:0 bin",
        "d 0755 0:0 etc",
        "d 0755 0:0 work",
        "d 1777 0:0 tmp",
        r#"f 0644 0:0 .wh.var = """#,
        r#"f 0644 0:0 bin/.wh.true = """#,
        r#"f 0644 0:0 etc/group = "root:x:0:\nnogroup:x:65534:\nextra\n""#,
        r#"f 0644 0:0 work/new = "new\n""#,
    ];
    lines.remove("d 0755 0:0 .");
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    assert_eq!(lines, expected);
}

#[test]
fn a_directory_made_again_hides_the_lower_one() {
    let site = site!(ids);
    let file = "FROM busybox\nRUN mkdir /work/a && echo old >/work/a/old\nRUN rm -r /work/a && mkdir /work/a && echo new >/work/a/new\nRUN ls /work/a\n";
    let built = site.build(file, &[]);
    assert!(
        built.said("| new") && !built.said("| old"),
        "{}",
        built.stderr
    );
    let layers = built.layers();
    assert_eq!(layers.len(), 2, "{layers:#?}");
    assert!(
        layers[1].contains(&r#"f 0644 0:0 work/a/.wh..wh..opq = """#.to_owned())
            || layers[1].contains(&r#"f 0644 0:0 work/a/.wh.old = """#.to_owned()),
        "{layers:#?}"
    );
}

#[test]
fn f31_a_renamed_lower_directory_is_a_whiteout_and_the_whole_tree() {
    let site = site!(ids);
    let file = "FROM busybox\nRUN mkdir -p /a/b && echo 1 >/a/b/one && chown 5:6 /a/b/one && ln -s one /a/b/link\nRUN mv /a /moved\n";
    let built = site.build(file, &[]);
    let layers = built.layers();
    for line in [
        r#"f 0644 0:0 .wh.a = """#,
        "d 0755 0:0 moved",
        "d 0755 0:0 moved/b",
        r#"f 0644 5:6 moved/b/one = "1\n""#,
        "l 0777 0:0 moved/b/link -> one",
    ] {
        assert!(
            layers[1].contains(&line.to_owned()),
            "{line} in {layers:#?}"
        );
    }
}

#[test]
fn replaced_kinds_are_what_they_became() {
    let site = site!(ids);
    let file = r"FROM busybox
RUN mkdir /d && echo x >/d/x && echo f >/f && ln -s f /l
RUN rm -r /d && echo file >/d && rm /f && mkdir /f && echo y >/f/y && rm /l && mkdir /l
RUN rm /d && ln -s f /d && rm -r /f && echo again >/f
";
    let built = site.build(file, &["-o", "type=oci,dest=layout", "-o", "type=store"]);
    let tree = crate::build_oracle::tree_of(&site.place.context().join("layout"));
    for line in [
        "l 0777 0:0 d -> f\n",
        "f 0644 0:0 f = \"again\\n\"\n",
        "d 0755 0:0 l\n",
    ] {
        assert!(tree.contains(line), "{line} in {tree}");
    }
    assert!(!tree.contains(" f/y"), "{tree}");
    assert_eq!(built.layers().len(), 3);
}

#[test]
fn hard_links_special_modes_fifos_and_devices_are_kept_and_sockets_are_not() {
    let site = site!(ids);
    let file = r#"FROM busybox
RUN cd /work && echo same >one && ln one two && echo s >suid && chmod 6755 suid && mkdir sticky && chmod 3777 sticky && \
    mkfifo -m 0622 fifo && ln -s /no/where dangling && ln -s /work/socket /dev/log && syslogd && while ! test -S socket; do usleep 1000; done
"#;
    let built = site.build(file, &[]);
    let lines = built.layer();
    for line in [
        r#"f 0644 0:0 work/one = "same\n""#,
        "h 0644 0:0 work/two => work/one",
        r#"f 6755 0:0 work/suid = "s\n""#,
        "d 3777 0:0 work/sticky",
        "p 0622 0:0 work/fifo",
        "l 0777 0:0 work/dangling -> /no/where",
    ] {
        assert!(lines.contains(&line.to_owned()), "{line} in {lines:#?}");
    }
    assert!(
        !lines.iter().any(|line| line.contains("socket")),
        "{lines:#?}"
    );
    assert!(
        built.stderr.contains("work/socket"),
        "it is told: {}",
        built.stderr
    );
}

#[test]
fn file_capabilities_work_in_run_and_are_written_without_a_root_id() {
    let site = site!(ids);
    // vfs_ns_cap_data version 2 (linux/capability.h): cap_net_bind_service=ep, no root id.
    let capability = "0100000200040000000000000000000000000000";
    let script = r#"
import json, os, sys, tarfile
layout, out, capability = sys.argv[1:]
def blob(d): return os.path.join(layout, "blobs", *d.split(":"))
index = json.load(open(os.path.join(layout, "index.json")))
layer = json.load(open(blob(index["manifests"][0]["digest"])))["layers"][0]["digest"]
base = tarfile.open(blob(layer))
info = tarfile.TarInfo("cap/busybox")
data = base.extractfile("./bin/busybox")
info.size, info.mode = base.getmember("./bin/busybox").size, 0o755
info.pax_headers = {"SCHILY.xattr.security.capability": bytes.fromhex(capability).decode()}
with tarfile.open(out, "w", format=tarfile.PAX_FORMAT) as tar:
    tar.addfile(info, data)
"#;
    let layout = crate::support::base("busybox").expect("it is required");
    let out = site.place.context().join("cap.tar");
    crate::build_oracle::python(script, &[layout.into(), out.into(), capability.into()]);
    let file = "FROM busybox\nADD cap.tar /\nUSER 1000:1000\nRUN /cap/busybox grep CapEff /proc/self/status\n\
                USER 0\nRUN mv /cap/busybox /cap/moved\n";
    let built = site.build(file, &[]);
    assert!(
        built.stderr.contains("0000000000000400"),
        "{}",
        built.stderr
    );
    let ending = format!(r#"{{"security.capability": "{capability}"}}"#);
    for (layer, name) in [(0, "cap/busybox"), (1, "cap/moved")] {
        let lines = &built.layers()[layer];
        let line = lines
            .iter()
            .find(|line| line.contains(&format!("{name} = ")))
            .unwrap_or_else(|| panic!("{name} in {lines:#?}"));
        assert!(line.ends_with(&ending), "{line}");
    }
}

#[test]
fn run_leaves_no_trace_of_its_mount_points() {
    let site = site!(run);
    // Missing in the base: all of them. Then present, with content of the image's own.
    for preparation in ["", "COPY image/ /\n"] {
        site.place
            .write("image/etc/hosts", "own\n")
            .write("image/etc/resolv.conf", "own\n")
            .write("image/etc/hostname", "own\n")
            .write("image/dev/own", "own\n")
            .write("image/proc/own", "own\n")
            .write("image/sys/own", "own\n");
        let file = format!(
            "FROM scratch\nCOPY --from=busybox /bin/ /bin/\n{preparation}RUN true\nRUN : >/made && ls /etc /dev /proc /sys >/dev/null\n"
        );
        let built = site.build(&file, &[]);
        let layers = built.layers_above(0);
        assert_eq!(
            layers.last().expect("a layer"),
            &[r#"f 0644 0:0 made = """#],
            "{preparation}"
        );
        let before = if preparation.is_empty() { 2 } else { 3 };
        assert_eq!(layers.len(), before, "RUN true makes no layer: {layers:#?}");
        if preparation.is_empty() {
            continue;
        }
        for file in ["etc/hosts", "etc/resolv.conf", "dev/own", "proc/own"] {
            let line = format!(r#"f 0644 0:0 {file} = "own\n""#);
            assert!(layers[1].contains(&line), "{line} in {layers:#?}");
        }
    }
}

#[test]
fn no_layer_holds_an_entry_of_the_user_who_builds() {
    let site = site!(ids);
    // Session id 0 would be image id -1, so it could only appear as an owner that nobody asked for.
    let file = r"FROM busybox
COPY Containerfile /copied/deep/
WORKDIR /made/by/workdir
RUN mkdir -p a/b && echo x >a/b/c && cp -a /etc /saved && mv /var /renamed && ln -s x y && mkfifo p && ln a/b/c hard
USER 65532:65532
RUN mkdir /tmp/mine && echo x >/tmp/mine/x
WORKDIR /tmp/theirs
";
    let built = site.build(file, &[]);
    for line in built.layers().concat() {
        let owner = line.split(' ').nth(2).expect("an owner");
        assert!(
            owner == "0:0" || (owner == "65532:65532" && line.contains(" tmp/")),
            "{line}"
        );
    }
}

#[test]
fn names_of_any_bytes_go_through_f26() {
    let site = site!(ids);
    let file = r#"FROM busybox
RUN cd /work && touch -- -dash 'colon:comma,back\slash' "$(printf 'new\nline')" "$(printf 'latin\344')" && \
    touch "$(head -c 255 /dev/zero | tr '\0' n)"
COPY Containerfile /work/
RUN rm -- '/work/colon:comma,back\slash'
"#;
    let built = site.build(file, &["-o", "type=tar,dest=out.tar", "-o", "type=store"]);
    let layers = built.layers();
    assert_eq!(layers.len(), 3);
    let text = layers[0].join("\n");
    assert!(text.contains("work/-dash = "), "{text}");
    assert!(text.contains(r"work/colon:comma,back\slash = "), "{text}");
    assert!(text.contains("work/new\nline = "), "{text}");
    assert!(
        text.contains(&format!("work/{} = ", "n".repeat(255))),
        "{text}"
    );
    assert!(layers[2].contains(&r#"f 0644 0:0 work/.wh.colon:comma,back\slash = """#.to_owned()));
}

/// The kernel stacks 500 directories, and an image has 127 layers in most registries.
#[test]
fn more_steps_than_can_be_stacked_are_no_trouble_where_they_change_nothing() {
    // It is about a number, not about users, and it takes its time.
    requires!(degree Degree::SubIds);
    let site = site!(run);
    let nothing = "RUN true\n".repeat(510);
    let file = format!(
        "FROM busybox\nRUN echo first >/first\n{nothing}RUN cat first && echo last >/last\n"
    );
    let built = site.build(&file, &["-t", "many"]);
    assert!(built.said("| first"), "{}", built.stderr);
    let wanted = [
        r#"f 0644 0:0 first = "first\n""#,
        r#"f 0644 0:0 last = "last\n""#,
    ];
    assert_eq!(built.layers(), wanted.map(|line| vec![line.to_owned()]));
    let history = built.config["history"].as_array().expect("a history");
    let empty = history.iter().filter(|step| step["empty_layer"] == true);
    assert!(empty.count() >= 510, "each is told in the history");
    let run = ["run", "--network", "none", "many", "cat", "/first", "/last"];
    assert_eq!(site.place.expect(0, &run).0, "first\nlast\n");
    // Nothing of it is stacked when it goes on from there.
    let more = format!("{file}RUN cat last\n");
    let again = site.build(&more, &[]);
    assert!(
        again.said("| last") && again.cached() == 512,
        "{}",
        again.stderr
    );
}
