//! The realistic Containerfiles, built: the `file` rows of their `expect.tsv`, and the `config` rows once more. The invariant: the
//! Containerfiles are taken as they are. What they would get from a network has a stand-in in the base image: an apt-get that
//! installs nothing, and what it would have installed, as far as the files that are compared do not depend on it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::build_oracle::{Built, Site, python};

/// The cases that have `file` rows.
const CASES: [&str; 4] = [
    "01-static-web",
    "03-prebuilt-clean",
    "04-go-tunnel",
    "10-mounts-and-heredocs",
];

/// What the programs of a base are that would be installed.
const STAND_INS: [(&str, &str); 3] = [
    ("apt-get", "#!/bin/sh\n"),
    // go build -ldflags ... -o FILE .
    (
        "go",
        "#!/bin/sh\nwhile [ \"$1\" != -o ]; do shift; done\nmkdir -p \"${2%/*}\" && echo built >\"$2\"\n",
    ),
    // sqlite3 DATABASE <STATEMENTS
    ("sqlite3", "#!/bin/sh\ncat >>\"$1\"\n"),
];

/// The base image has some hundred megabytes.
const PATIENCE: Duration = Duration::from_secs(600);

fn fixtures() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/fixtures/containerfiles");
    folder.is_dir().then_some(folder)
}

/// A layout of Debian with the stand-ins, in `../stand-in` of the context.
fn stand_in(site: &Site) -> PathBuf {
    let layout = site.place.path().join("stand-in");
    for (name, text) in STAND_INS {
        site.place.write_program(&format!("bin/{name}"), text);
    }
    site.place.write("ca-certificates.crt", "authorities\n");
    let file = "FROM busybox\nCOPY bin /usr/local/bin\nCOPY --chmod=0755 bin/sqlite3 /usr/bin/sqlite3\n\
                COPY --chmod=0644 ca-certificates.crt /etc/ssl/certs/\n";
    let outputs = [
        "-o",
        "type=oci,dest=../stand-in,compression=uncompressed",
        "-o",
        "type=store",
    ];
    site.built(site.command(file, &outputs).timeout(PATIENCE));
    layout
}

/// A package for case 03, and the sums that its context holds.
fn package(site: &Site, context: &Path) -> String {
    let debs = site.place.path().join("debs");
    let tree = site.place.path().join("package");
    for directory in ["bin", "DEBIAN"] {
        fs::create_dir_all(tree.join(directory)).expect("a directory");
    }
    fs::create_dir_all(&debs).expect("a directory");
    fs::write(tree.join("bin/busybox"), "of the package\n").expect("a file");
    let control = "Package: busybox-static\nVersion: 1\nArchitecture: all\nMaintainer: n <a@b>\nDescription: d\n";
    fs::write(tree.join("DEBIAN/control"), control).expect("a file");
    let machine = if cfg!(target_arch = "x86_64") {
        "amd64"
    } else {
        "arm64"
    };
    let name = format!("busybox-static_{machine}.deb");
    let made = std::process::Command::new("dpkg-deb")
        .args(["--root-owner-group", "-Znone", "--build"])
        .args([&tree, &debs.join(&name)])
        .output()
        .expect("dpkg-deb starts");
    assert!(made.status.success(), "{made:?}");
    let sum = "import hashlib, sys; print(hashlib.sha256(open(sys.argv[1], 'rb').read()).hexdigest(), end='')";
    let sum = python(sum, &[debs.join(&name).into()]);
    let sums = context.join("assets/SHA256SUMS");
    fs::remove_file(&sums).expect("it is there");
    fs::write(sums, format!("{sum}  {name}\n")).expect("a file");
    format!("debs={}", debs.display())
}

/// A copy of a case, modes as in a checkout: the fixtures may be read-only.
fn copied(from: &Path, to: &Path) {
    let script = "import os, shutil, sys\nfor path, names, files in os.walk(shutil.copytree(sys.argv[1], sys.argv[2])):\n    os.chmod(path, 0o755)\n    for name in files:\n        os.chmod(os.path.join(path, name), 0o644)\n";
    python(script, &[from.into(), to.into()]);
}

fn built(site: &Site, case: &str, base: &Path) -> Built {
    let context = site.place.path().join(case);
    copied(&fixtures().expect("it is there").join(case), &context);
    let base = format!("oci-layout://{}", base.display());
    let mut args: Vec<String> = ["debian:bookworm-slim", "debian:bookworm"]
        .into_iter()
        .map(|name| format!("--build-context={name}={base}"))
        .collect();
    if case == "03-prebuilt-clean" {
        args.push(format!("--build-context={}", package(site, &context)));
        args.push(format!(
            "--build-context=debian:bookworm-slim@{PLACEHOLDER}={base}"
        ));
    }
    let mut command = site.place.rbuild();
    command
        .timeout(PATIENCE)
        .args([
            "build",
            "--progress",
            "plain",
            "--network",
            "none",
            "--user-policy",
            "off",
            "--closure",
            "off",
        ])
        .args(args)
        .arg(&context);
    site.built(&mut command)
}

/// The digest that case 03 writes until somebody pins an image.
const PLACEHOLDER: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Whether the image has the file of a row: `MODE OWNER`, or `text "BEGINNING", MODE OWNER`, or `extracted, MODE OWNER`.
fn holds(lines: &[String], path: &str, detail: &str) -> bool {
    let (what, access) = detail.rsplit_once(", ").unwrap_or(("", detail));
    let place = format!("{access} {}", path.trim_start_matches('/'));
    let text = what
        .strip_prefix("text ")
        .map(|text| text.trim_matches('"'));
    lines.iter().any(|line| {
        let Some((_, rest)) = line.split_once(' ') else {
            return false;
        };
        let Some(content) = rest.strip_prefix(&place) else {
            return false;
        };
        // The same name and no longer one; the newest layer has the last word, and these files are in one.
        (content.is_empty() || content.starts_with(' '))
            && text.is_none_or(|text| content == format!(" = \"{text}\\n\""))
    })
}

fn config(built: &Built, subject: &str) -> String {
    let value = &built.config["config"][subject];
    match subject {
        "ExposedPorts" => {
            let ports = value
                .as_object()
                .into_iter()
                .flat_map(serde_json::Map::keys);
            ports.cloned().collect::<Vec<_>>().join(" ")
        }
        _ => value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned),
    }
}

#[test]
fn file_rows_hold() {
    let Some(fixtures) = fixtures() else {
        skip!("fixtures", "they do not lie beside the checkout");
    };
    requires!(sub_ids);
    requires!(execution);
    requires!(program "dpkg-deb");
    let site = Site::new(requires!(base "debian-gcc"));
    let base = stand_in(&site);
    let (mut wrong, mut checked) = (Vec::new(), 0);
    for folder in fs::read_dir(&fixtures).expect("the fixtures").flatten() {
        let case = folder.file_name().into_string().expect("a name");
        let rows = fs::read_to_string(folder.path().join("expect.tsv")).expect("the rows");
        let rows: Vec<Vec<&str>> = rows.lines().map(|row| row.split('\t').collect()).collect();
        if !rows.iter().any(|row| row[1] == "file") {
            continue;
        }
        assert!(CASES.contains(&case.as_str()), "{case} is not built");
        let built = built(&site, &case, &base);
        let lines = built.scratch();
        for row in rows {
            let good = match row[1] {
                "file" => holds(&lines, row[2], row[4]),
                "config" => config(&built, row[2]) == row[4],
                _ => continue,
            };
            checked += 1;
            if !good {
                wrong.push(format!(
                    "{case}: {row:?} in {lines:#?} {}",
                    built.config["config"]
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(checked >= 20, "only {checked} rows");
}
