//! `--userns keep-id`: one user of RUN is the caller, in volumes only; nothing of the caller is in an image.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;

use crate::build_oracle::Site;
use crate::support::{Degree, degree};

const KEEP: [&str; 2] = ["--userns", "keep-id:uid=1500,gid=1600"];

/// A directory of the caller with a file that nobody else may read, and the flag that shows it at /v.
fn volume(site: &Site) -> (PathBuf, String) {
    let data = site.place.path().join("data");
    fs::create_dir(&data).expect("a directory");
    fs::write(data.join("secret"), "the caller's\n").expect("a file");
    fs::set_permissions(data.join("secret"), fs::Permissions::from_mode(0o600)).expect("its mode");
    let flag = format!("{}:/v", data.display());
    (data, flag)
}

#[test]
fn the_kept_user_reads_and_writes_the_callers_files() {
    let site = site!(ids);
    let (data, flag) = volume(&site);
    let file = r#"FROM busybox
RUN stat -c '%u:%g' /v/secret && ! touch /v/roots || stat -c 'root made %u:%g' /v/roots
USER 1500:1600
RUN cat /v/secret && echo new >/v/made && mkdir /v/d && stat -c 'it made %u:%g' /v/made
USER 1501:1600
RUN ! cat /v/secret && echo refused
"#;
    let built = site.build(file, &[&KEEP[..], &["--volume", &flag]].concat());
    for line in [
        "| 1500:1600",
        "| the caller's",
        "| it made 1500:1600",
        "| refused",
    ] {
        assert!(built.said(line), "{line} is missing in {}", built.stderr);
    }
    let own = fs::metadata(&data).expect("the directory");
    for name in ["made", "d"] {
        let made = fs::metadata(data.join(name)).expect(name);
        assert_eq!((made.uid(), made.gid()), (own.uid(), own.gid()), "{name}");
    }
    assert_eq!(
        built.layers(),
        Vec::<Vec<String>>::new(),
        "nothing of it in a layer"
    );
}

/// Everything that a step can see or make as the kept user, beside a volume.
const WORK: &str = r#"FROM busybox AS other
RUN mkdir /theirs && echo theirs >/theirs/f && chmod 600 /theirs/f && chown -R 1500:1600 /theirs
FROM busybox
COPY --chown=1500:1600 data /copied/
RUN mkdir -p /home/k/deep && echo mine >/home/k/f && echo two >/home/k/deep/g && ln -s f /home/k/l \
    && echo gone >/home/k/gone && echo s >/home/k/s && chown -R 1500:1600 /home/k && chmod 4750 /home/k/s \
    && echo u >/uid && chown 1500:7 /uid && echo g >/gid && chown 7:1600 /gid && chmod 700 /home/k
USER 1500:1600
WORKDIR /work/here
RUN --mount=type=bind,from=other,source=/theirs,target=/theirs \
    --mount=type=cache,target=/cache,uid=1500,gid=1600,mode=0700 \
    --mount=type=secret,id=s,uid=1500,gid=1600 \
    --mount=type=tmpfs,target=/home/k/point \
    stat -c '%n %a %u:%g' /uid /gid /home/k /home/k/f /home/k/l /home/k/s /copied/x /work/here /work/here/. /theirs /theirs/f \
        /cache /run/secrets/s && \
    cat /theirs/f /run/secrets/s && echo kept >/cache/f && \
    echo more >>/home/k/deep/g && rm /home/k/gone && echo new >made && mkdir -p sub/dir && ln -s made link && \
    touch -d @1000000000 /home/k/f && chmod 6755 made && cp /home/k/s /work/here/s
RUN --mount=type=cache,target=/cache,uid=1500,gid=1600,mode=0700 cat /cache/f /home/k/deep/g && stat -c 'later %n %u:%g' made /home/k/f
USER 0
RUN stat -c 'root sees %n %u:%g' /work/here/made /home/k/f && chown 1500:1600 /bin/busybox
"#;

#[test]
fn images_are_the_same_whoever_the_kept_user_is() {
    let site = site!(ids);
    site.place.write("data/x", "x").write("s", "a secret\n");
    let secret = ["--secret", "id=s,src=s"];
    let kept = site.build(WORK, &[&KEEP[..], &secret].concat());
    for line in [
        "| /uid 644 1500:7",
        "| /gid 644 7:1600",
        "| /home/k 700 1500:1600",
        "| /home/k/f 644 1500:1600",
        "| /home/k/l 777 1500:1600",
        "| /home/k/s 4750 1500:1600",
        "| /copied/x 644 1500:1600",
        "| /work/here 755 1500:1600",
        "| /theirs 755 1500:1600",
        "| /theirs/f 600 1500:1600",
        "| /cache 700 1500:1600",
        "| /run/secrets/s 400 1500:1600",
        "| theirs",
        "| a secret",
        "| kept",
        "| more",
        "| later made 1500:1600",
        "| later /home/k/f 1500:1600",
        "| root sees /work/here/made 1500:1600",
        "| root sees /home/k/f 1500:1600",
    ] {
        assert!(kept.said(line), "{line} is missing in {}", kept.stderr);
    }
    let layers = kept.layers().concat();
    for line in [
        r#"f 6755 1500:1600 work/here/made = "new\n""#,
        "d 0755 1500:1600 work/here/sub/dir",
        r#"f 0644 1500:1600 home/k/deep/g = "two\nmore\n""#,
    ] {
        assert!(
            layers.iter().any(|known| known == line),
            "{line}: {layers:#?}"
        );
    }
    let plain = site.build(WORK, &secret);
    assert_eq!(plain.cached(), 1, "COPY: with other ids a RUN is another");
    assert_eq!(
        plain.id,
        kept.id,
        "{:#?}\n{:#?}",
        plain.layers(),
        kept.layers()
    );
}

#[test]
fn what_is_the_callers_on_disk_is_only_in_caches() {
    let site = site!(ids);
    site.place.write("data/x", "x").write("s", "a secret\n");
    site.build(WORK, &[&KEEP[..], &["--secret", "id=s,src=s"]].concat());
    // Whiteouts have no owner of their own.
    let steps = site.place.store().join("trees/steps");
    let (found, _) = site.place.expect(
        0,
        &[
            "unshare",
            "find",
            &steps.display().to_string(),
            "-mindepth",
            "2",
            "-uid",
            "0",
            "!",
            "-type",
            "c",
        ],
    );
    assert_eq!(found, "", "files of the caller in the trees of steps");
}

#[test]
fn an_access_list_that_names_the_kept_user_is_refused() {
    let site = site!(ids);
    let debian = requires!(base "debian");
    let context = format!("debian=oci-layout:{}", debian.display());
    // setxattr(2) of an access list (linux/posix_acl_xattr.h) that lets user 1500 read, and no other.
    let file = r#"FROM debian
RUN echo x >/f && chown 7:7 /f && perl -e '$acl = pack("V (vvV)*", 2, 1,6,-1, 2,4,1500, 4,4,-1, 16,4,-1, 32,0,-1); \
    $path = "/f"; $name = "system.posix_acl_access"; syscall(188, $path, $name, $acl, length($acl), 0) == 0 or die "$!"'
"#;
    let said = site.fails(file, &[&KEEP[..], &["--build-context", &context]].concat());
    assert!(said.contains("no id of the image"), "{said}");
}

#[test]
fn what_cannot_be_kept_is_refused() {
    let site = site!();
    for (args, word) in [
        (&["--userns", "host"][..], "never you"),
        (&["--userns", "keep-id:uid=0,gid=5"], "never you"),
        (
            &["--userns", "keep-id:uid=5,gid=5", "--network", "host"],
            "abstract",
        ),
        (
            &["--userns", "keep-id:uid=5,gid=5", "--allow", "network.host"],
            "host's network",
        ),
    ] {
        let output = site
            .command("FROM busybox\nRUN true\n", args)
            .output()
            .expect("it starts");
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            said.contains(word) || said.contains("your programs"),
            "{said}"
        );
    }
}

#[test]
fn with_one_id_there_is_nobody_else_to_be() {
    requires!(degree Degree::NoSub);
    let site = site!(run);
    let (data, flag) = volume(&site);
    let file = "FROM busybox\nRUN cat /v/secret && stat -c '%u:%g' /v/secret && touch /v/made\n";
    let said = site.fails(file, &[&KEEP[..], &["--volume", &flag]].concat());
    assert!(said.contains("without subordinate ids"), "{said}");
    let built = site.build(file, &["--volume", &flag]);
    assert!(built.said("| 0:0"), "{}", built.stderr);
    assert!(data.join("made").exists());
}

#[test]
fn ids_that_images_cannot_have_here_are_refused() {
    let site = site!(ids);
    let args = ["--userns", "keep-id:uid=70000,gid=5"];
    let said = site.fails("FROM busybox\nRUN true\n", &args);
    assert!(said.contains("70000:5") && said.contains("65535"), "{said}");
    assert_ne!(degree(), Degree::NoSub);
}
