//! `rbuild closure`: what programs of a directory, an image and a layout need, beside what their own loader says; that nothing of
//! them is executed, and nothing outside of the root is opened; and that a program starts from scratch with just that.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::Place;

/// Paths in the first answer, links first or not at all.
fn paths(json: &str, links: bool) -> BTreeSet<String> {
    let answer: serde_json::Value = serde_json::from_str(json).expect("JSON");
    let files = answer[0]["files"].as_array().expect("files").clone();
    let wanted = files
        .iter()
        .filter(|file| links || file["target"].is_null());
    wanted
        .map(|file| file["path"].as_str().expect("a path").to_owned())
        .collect()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

#[test]
fn closure_of_a_layout_is_what_the_loader_of_the_image_maps() {
    let layout = requires!(base "debian");
    requires!(execution);
    let place = Place::new();
    let program = "/usr/bin/apt-get";
    let args = [
        "closure",
        program,
        "--format",
        "json",
        "--oci-layout",
        text(&layout),
    ];
    let (json, _) = place.expect(0, &args);
    let own = paths(&json, false);
    let answer: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let files = answer[0]["files"].as_array().expect("files");
    let libc = files.iter().find(|file| {
        file["path"]
            .as_str()
            .is_some_and(|path| path.ends_with("/libc.so.6"))
    });
    assert_eq!(libc.expect("a C library")["package"], "libc6");
    assert_eq!(
        (&answer[0]["program"], &answer[0]["missing"]),
        (&program.into(), &serde_json::json!([]))
    );

    let context = format!("debian=oci-layout:{}", layout.display());
    place.build(
        "FROM debian\nUSER 65532\n",
        &["--build-context", &context, "-t", "debian"],
    );
    let script = r#"for file in $("$1" --list "$2" | sed -n 's/.*[ \t]\(\/[^ ]*\) (0x.*/\1/p'); do readlink -f "$file"; done"#;
    let loader = "/lib64/ld-linux-x86-64.so.2";
    if !own.iter().any(|path| path.contains("ld-linux-x86-64")) {
        skip!("x86-64", "the base is for another machine");
    }
    let (listed, _) = place.expect(
        0,
        &[
            "run", "debian", "/bin/sh", "-c", script, "sh", loader, program,
        ],
    );
    let mut listed: BTreeSet<String> = listed.lines().map(str::to_owned).collect();
    let (real, _) = place.expect(0, &["run", "debian", "readlink", "-f", loader]);
    listed.insert(real.trim().to_owned());
    assert_eq!(own, listed);

    // The same from the image in the store, and again.
    let (again, _) = place.expect(
        0,
        &["closure", program, "--format", "json", "--image", "debian"],
    );
    assert_eq!(again, json);
}

#[test]
fn case_03_a_dynamic_program_starts_from_scratch_with_its_closure_alone() {
    let layout = requires!(base "debian");
    requires!(execution);
    let place = Place::new();
    let context = format!("debian=oci-layout:{}", layout.display());
    place.build(
        "FROM debian\n",
        &[
            "--user-policy",
            "off",
            "--build-context",
            &context,
            "-o",
            "whole",
        ],
    );
    let program = "/bin/bash";
    let whole = place.context().join("whole");
    let (json, _) = place.expect(
        0,
        &[
            "closure",
            program,
            "--format",
            "json",
            "--root",
            text(&whole),
        ],
    );
    let mut wanted = paths(&json, true);
    wanted.insert(program.to_owned());
    let scratch = place.context().join("scratch");
    for path in wanted {
        let (from, to) = (whole.join(&path[1..]), scratch.join(&path[1..]));
        if fs::symlink_metadata(&to).is_ok() || path == program {
            continue;
        }
        fs::create_dir_all(to.parent().expect("a parent")).expect("a directory");
        match fs::read_link(&from) {
            Ok(target) => symlink(target, to).expect("a link"),
            Err(_) => drop(fs::copy(&from, &to).expect("a file")),
        }
    }
    fs::remove_dir_all(&whole).expect("it is not needed any more");
    place.build(
        "FROM scratch\nCOPY scratch /\nUSER 65532:65532\n",
        &["-t", "bash"],
    );
    let (said, _) = place.expect(0, &["run", "bash", program, "-c", "echo $((40 + 2)) $UID"]);
    assert_eq!(said, "42 65532\n");
}

#[test]
fn case_01_a_static_program_of_an_image_needs_nothing() {
    let layout = requires!(base "busybox");
    let place = Place::new();
    let (json, _) = place.expect(
        0,
        &[
            "closure",
            "/bin/busybox",
            "--format",
            "json",
            "--oci-layout",
            text(&layout),
        ],
    );
    assert_eq!(paths(&json, true), BTreeSet::new());
    let args = ["closure", "/bin/sh", "--oci-layout", text(&layout)];
    let (said, _) = place.expect(0, &args);
    let lines = [
        "/bin/sh",
        "  /bin/busybox         -  /bin/sh leads to it",
        "  /bin/sh -> busybox  -  link to /bin/busybox",
    ];
    assert_eq!(said.lines().next(), Some(lines[0]));
    assert!(
        said.contains("/bin/sh -> busybox") && said.contains("/bin/sh leads to it"),
        "{said}"
    );
}

#[test]
fn case_19_an_image_of_another_platform_is_read_and_a_wrong_platform_is_named() {
    let layout = requires!(base "busybox-arm64");
    let place = Place::new();
    let with = |platform: &str, code| {
        place.expect(
            code,
            &[
                "closure",
                "/bin/busybox",
                "--oci-layout",
                text(&layout),
                "--platform",
                platform,
            ],
        )
    };
    with("linux/arm64", 0);
    let unpacked = place.context().join("r");
    fs::create_dir_all(&unpacked).expect("a directory");
    fs::copy("/proc/self/exe", unpacked.join("own")).expect("a program");
    let (said, _) = place.expect(
        1,
        &[
            "closure",
            "/own",
            "--root",
            text(&unpacked),
            "--platform",
            "linux/riscv64",
        ],
    );
    assert!(
        said.contains("Exec format error: it is for") && said.contains("not for riscv64"),
        "{said}"
    );
}

/// A root with a program whose library is there, or is not.
fn compiled(place: &Place, library: bool) -> PathBuf {
    let root = place.context().join("root");
    fs::create_dir_all(root.join("lib64")).expect("a directory");
    fs::create_dir_all(root.join("opt")).expect("a directory");
    place
        .write("z.c", "int z(void) { return 0; }")
        .write("main.c", "int z(void); int main(void) { return z(); }");
    let gcc = |args: &[&str]| {
        let status = Command::new("gcc")
            .current_dir(place.context())
            .args(args)
            .status()
            .expect("gcc");
        assert!(status.success());
    };
    gcc(&[
        "-shared",
        "-fPIC",
        "-nostdlib",
        "-Wl,-soname,libz1.so.1",
        "-o",
        "root/opt/libz1.so.1",
        "z.c",
    ]);
    gcc(&[
        "-nostdlib",
        "-Wl,-e,main",
        "-Wl,-rpath,$ORIGIN/opt",
        "-Wl,--dynamic-linker=/lib64/canary",
        "-o",
        "root/prog",
        "main.c",
        "root/opt/libz1.so.1",
    ]);
    if !library {
        fs::remove_file(root.join("opt/libz1.so.1")).expect("it");
    }
    root
}

#[test]
fn case_04_nothing_of_the_root_is_executed_and_nothing_outside_is_opened() {
    requires!(program "gcc");
    requires!(program "strace");
    let place = Place::new();
    let root = compiled(&place, true);
    let canary = "#!/bin/sh\ntouch executed\n";
    place.write_program("root/lib64/canary", canary);
    // Links that lead out, where a search passes.
    symlink("/../../../../../../../../etc", root.join("etc")).expect("a link");
    symlink("../../../../../../../../../usr/lib", root.join("usr")).expect("a link");
    let trace = place.path().join("trace");
    let mut command = Command::new("strace");
    command
        .args([
            "-f",
            "-y",
            "-qq",
            "-e",
            "trace=execve,execveat,open,openat,openat2,creat",
            "-o",
        ])
        .arg(&trace)
        .arg(crate::support::binary())
        .args(["closure", "/prog", "--root"])
        .arg(&root)
        .current_dir(place.context())
        .env("HOME", place.path());
    let output = command.output().expect("strace");
    // The canary is no ELF file: that is found, not executed.
    assert_eq!(
        output.status.code(),
        Some(1),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        said.contains("/opt/libz1.so.1") && said.contains("/lib64/canary"),
        "{said}"
    );
    assert!(!place.context().join("executed").exists());
    let trace = fs::read_to_string(trace).expect("a trace");
    let executed = trace.lines().filter(|line| line.contains("execve"));
    assert_eq!(
        executed.count(),
        1,
        "rbuild itself, and nothing else:\n{trace}"
    );
    let root = fs::canonicalize(&root).expect("it");
    let inside = format!("<{}", root.display());
    let own = [
        "\"/proc/".to_owned(),
        "\"/sys/".to_owned(),
        format!("\"{}\"", root.display()),
    ];
    let mut opened = 0;
    for line in trace.lines().filter(|line| line.contains("open")) {
        if line.contains("openat2(") {
            let how = line.contains("RESOLVE_IN_ROOT") || line.contains("RESOLVE_BENEATH");
            assert!(how, "{line}");
        } else if line.contains("AT_FDCWD") {
            assert!(own.iter().any(|path| line.contains(path)), "{line}");
            continue;
        }
        // By a handle: what came of it is inside.
        let result = line.rsplit(" = ").next().expect("a result");
        assert!(
            result.starts_with('-') || result.contains(&inside),
            "{line}"
        );
        opened += 1;
    }
    assert!(opened > 3, "{trace}");
}

#[test]
fn case_06_what_is_missing_is_data_and_exit_code_1() {
    requires!(program "gcc");
    let place = Place::new();
    let root = compiled(&place, false);
    let (json, _) = place.expect(
        1,
        &[
            "closure",
            "/prog",
            "--root",
            text(&root),
            "--format",
            "json",
        ],
    );
    let answer: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(
        answer[0]["missing"],
        serde_json::json!(["/lib64/canary", "libz1.so.1"])
    );
    let finding = &answer[0]["findings"][1];
    let message = "libz1.so.1: cannot open shared object file: No such file or directory";
    assert_eq!(
        (&finding["path"], &finding["message"]),
        (&"/prog".into(), &message.into())
    );
    let (said, _) = place.expect(1, &["closure", "prog", "--root", text(&root)]);
    assert!(
        said.contains("  missing: libz1.so.1\n") && said.contains(message),
        "{said}"
    );
    let (said, _) = place.expect(
        1,
        &["closure", "/prog", "--root", text(&root), "--format", "dot"],
    );
    assert!(said.starts_with("digraph closure {\n"), "{said}");
    assert!(
        said.contains(r#""/prog" -> "libz1.so.1" [style=dashed, label="missing"];"#),
        "{said}"
    );
}

#[test]
fn a_root_or_image_that_is_not_there_is_an_error() {
    let place = Place::new();
    let (_, said) = place.expect(1, &["closure", "/prog", "--root", "nowhere"]);
    assert!(said.contains("look for programs in nowhere"), "{said}");
    let (_, said) = place.expect(1, &["closure", "/prog", "--image", "nowhere"]);
    assert!(said.contains("nowhere"), "{said}");
    place.expect(2, &["closure"]);
}
