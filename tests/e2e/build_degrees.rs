//! Less than a whole session: no sub-ids, no user namespaces; and more than one build or layer.

use std::process::{Command, Stdio};

use crate::build_oracle::Site;
use crate::support::{Degree, binary};

const COPY_ONLY: &str = "FROM busybox AS base\nCOPY --chown=1234:4321 one /d/one\nWORKDIR /w\nADD one /w/\nCOPY --from=base /bin/busybox /b\nUSER 5:5\n";
const COPIED: [&str; 2] = ["d 0755 1234:4321 d", r#"f 0644 1234:4321 d/one = "1""#];

#[test]
fn builds_that_only_copy_work_without_sub_ids() {
    let site = site!();
    site.place.write("one", "1");
    let built = site.build(
        &COPY_ONLY.replace("COPY --from=base /bin/busybox /b\n", ""),
        &[],
    );
    let lines = built.layers().concat();
    for line in COPIED {
        assert!(lines.contains(&line.to_owned()), "{line} in {lines:#?}");
    }
}

#[test]
fn f37_builds_that_only_copy_work_where_user_namespaces_are_forbidden() {
    let site = site!();
    site.place.write("one", "1").write(
        "Containerfile",
        "FROM busybox\nCOPY --chown=1234:4321 one /d/one\nUSER 5:5\n",
    );
    let build = |file: &str| {
        let script = format!(
            "echo 0 >/proc/sys/user/max_user_namespaces || exit 99; exec setpriv --ambient-caps=-all --inh-caps=-all {} build -f {file} \
             --progress plain --network none --build-context busybox=oci-layout:{} .",
            binary().display(),
            crate::support::base("busybox")
                .expect("it is required")
                .display()
        );
        Command::new("unshare")
            .args([
                "--user",
                "--map-current-user",
                "--keep-caps",
                "sh",
                "-c",
                &script,
            ])
            .current_dir(site.place.context())
            .env("RBUILD_ROOT", site.place.store())
            .output()
            .expect("unshare starts")
    };
    let output = build("Containerfile");
    if output.status.code() == Some(99) {
        skip!("user-namespaces", "the limit cannot be set in one");
    }
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    site.place
        .write("Runs", "FROM busybox\nRUN echo ran\nUSER 5:5\n");
    let output = build("Runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        output.status.code(),
        Some(3),
        "the host is not ready: {stderr}"
    );
    assert!(stderr.contains("user namespace"), "{stderr}");
    assert!(stderr.contains("hint:"), "{stderr}");
}

#[test]
fn run_without_sub_ids_works_and_says_what_is_missing() {
    requires!(degree Degree::NoSub);
    let site = site!(run);
    let built = site.build(
        "FROM busybox\nRUN id -u; echo x >/x; mkdir /d; mv /work /d/\n",
        &[],
    );
    assert!(built.said("| 0"), "{}", built.stderr);
    assert!(
        built.stderr.contains("sub"),
        "it says what is missing: {}",
        built.stderr
    );
    assert!(
        built
            .layer()
            .contains(&r#"f 0644 0:0 x = "x\n""#.to_owned()),
        "{:#?}",
        built.layer()
    );
    let built = site.build("FROM busybox\nUSER 5:5\nRUN id -u\n", &[]);
    assert!(built.said("| 5"), "{}", built.stderr);
}

#[test]
fn f10_eight_builds_at_once_share_one_store() {
    let site = site!(run);
    site.place.write("one", "1");
    for number in 0..3 {
        site.place.write(
            &format!("File{number}"),
            format!(
                "FROM busybox\nRUN echo same >/same\nCOPY one /one\nRUN echo {number} >/own\nUSER 5:5\n"
            ),
        );
    }
    let start = |number: usize| {
        let name = format!("File{}", number % 3);
        Command::new(binary())
            .args([
                "build",
                "-q",
                "--network",
                "none",
                "-f",
                &name,
                "--build-context",
            ])
            .arg(format!(
                "busybox=oci-layout:{}",
                crate::support::base("busybox").expect("it").display()
            ))
            .arg(".")
            .current_dir(site.place.context())
            .env("RBUILD_ROOT", site.place.store())
            .env("SOURCE_DATE_EPOCH", "1700000000")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts")
    };
    let running: Vec<_> = (0..8).map(start).collect();
    let mut ids = vec![String::new(); 3];
    for (number, child) in running.into_iter().enumerate() {
        let output = child.wait_with_output().expect("it ends");
        assert!(
            output.status.success(),
            "{number}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let id = String::from_utf8_lossy(&output.stdout).into_owned();
        let known = &mut ids[number % 3];
        assert!(
            known.is_empty() || *known == id,
            "{number}: {id} is not {known}"
        );
        *known = id;
    }
    site.place.expect(0, &["images"]);
}

/// An image of busybox and more layers of one file each, made without rbuild.
fn many_layers(site: &Site, count: usize) -> String {
    let script = r#"
import gzip, hashlib, io, json, os, shutil, sys, tarfile
base, out, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
shutil.copytree(base, out)
def blob(d): return os.path.join(out, "blobs", *d.split(":"))
def put(data):
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    open(blob(digest), "wb").write(data); return digest, len(data)
index = json.load(open(os.path.join(out, "index.json")))
manifest = json.load(open(blob(index["manifests"][0]["digest"])))
config = json.load(open(blob(manifest["config"]["digest"])))
for number in range(count):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name in (f"layer-{number}", "last"):
            info = tarfile.TarInfo(name); text = str(number).encode(); info.size = len(text)
            tar.addfile(info, io.BytesIO(text))
    digest, size = put(data.getvalue())
    manifest["layers"].append({"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest, "size": size})
    config["rootfs"]["diff_ids"].append(digest)
    config.setdefault("history", []).append({"created_by": f"layer {number}"})
digest, size = put(json.dumps(config).encode()); manifest["config"].update(digest=digest, size=size)
digest, size = put(json.dumps(manifest).encode()); index["manifests"][0].update(digest=digest, size=size)
json.dump(index, open(os.path.join(out, "index.json"), "w"))
"#;
    let base = std::fs::canonicalize(crate::support::base("busybox").expect("it is required"))
        .expect("a path");
    let out = site.place.path().join("many");
    crate::build_oracle::python(
        script,
        &[base.into(), out.clone().into(), count.to_string().into()],
    );
    format!("many=oci-layout:{}", out.display())
}

#[test]
fn f27_an_image_of_130_layers_builds_and_runs() {
    let site = site!(run);
    let context = many_layers(&site, 130);
    let file = "FROM many\nRUN ls -d /layer-* | wc -l; cat /last; echo 'echo started' >/x\nUSER 5:5\nCMD [\"/bin/sh\", \"/x\"]\n";
    let built = site.build(file, &["--build-context", &context, "-t", "many"]);
    assert!(
        built.said("| 130") && built.stderr.contains("| 129"),
        "{}",
        built.stderr
    );
    assert_eq!(
        built.layers_above(131).concat(),
        [r#"f 0644 0:0 x = "echo started\n""#]
    );
    let (stdout, _) = site.place.expect(0, &["run", "--network", "none", "many"]);
    assert_eq!(stdout, "started\n");
}
