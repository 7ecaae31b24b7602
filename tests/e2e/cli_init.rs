//! `rbuild init`: what it writes is examined as a user's files are, and the cheap ones are built and run. All of them are by
//! tests/examples.sh, with Debian's packages.

use std::fs;

use crate::support::{Degree, Place};

/// The names that `rbuild init --list` prints, those of CI systems without `ci`.
fn listed(place: &Place) -> (Vec<String>, Vec<String>) {
    let (text, _) = place.expect(0, &["init", "--list"]);
    let (ci, templates): (Vec<_>, Vec<_>) = text.lines().partition(|line| line.starts_with("ci "));
    let word = |line: &&str, at: usize| line.split_whitespace().nth(at).map(str::to_owned);
    let templates = templates.iter().filter_map(|line| word(line, 0)).collect();
    let ci = ci.iter().filter_map(|line| word(line, 1)).collect();
    (templates, ci)
}

#[test]
fn the_linter_finds_nothing_in_what_is_written() {
    let place = Place::new();
    let (templates, _) = listed(&place);
    assert_eq!(templates.len(), 10, "{templates:?}");
    for name in &templates {
        place.expect(0, &["init", name, name]);
        let (found, said) = place.expect(0, &["lint", "--fail-on", "info", name]);
        assert!(
            found.is_empty() && said.contains("no findings in 2 files"),
            "{found}{said}"
        );
    }
}

#[test]
fn nothing_is_overwritten_and_then_nothing_is_written() {
    let place = Place::new();
    place.write("x/main.c", "mine");
    std::os::unix::fs::symlink("/nowhere", place.context().join("x/Containerfile")).unwrap();
    let (_, said) = place.expect(1, &["init", "static-c", "x"]);
    assert!(
        said.contains("Containerfile, main.c is there already"),
        "{said}"
    );
    let mut left: Vec<_> = fs::read_dir(place.context().join("x"))
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["Containerfile", "main.c"]);
    assert_eq!(
        fs::read_to_string(place.context().join("x/main.c")).unwrap(),
        "mine"
    );

    let (written, _) = place.expect(0, &["init", "ci", "gitlab", "x"]);
    assert_eq!(written, "x/.gitlab-ci.yml\n");
    place.expect(1, &["init", "ci", "gitlab", "x"]);
}

#[test]
fn names_of_images_go_into_the_files() {
    let place = Place::new();
    let image = "registry.example/team/shop:2";
    let (written, _) = place.expect(0, &["init", "go", "--image", image]);
    assert!(written.contains("shop.container"), "{written}");
    let unit = fs::read_to_string(place.context().join("shop.container")).unwrap();
    assert!(unit.contains(&format!("Image={image}\n")), "{unit}");
    let (_, ci) = listed(&place);
    for system in ci {
        place.expect(0, &["init", "ci", &system, &system, "--image", image]);
    }
    let job = fs::read_to_string(place.context().join("kubernetes/rbuild-job.yaml")).unwrap();
    assert!(
        job.contains(&format!("--tag={image}\n")) && job.contains("secretName: shop-registry"),
        "{job}"
    );
}

/// YAML is read by Python where it has a reader, and the pod settings are looked at there.
#[test]
fn ci_files_are_yaml_and_pods_get_no_privilege() {
    requires!(program "python3");
    let place = Place::new();
    let (_, ci) = listed(&place);
    for system in &ci {
        place.expect(0, &["init", "ci", system, "."]);
    }
    let script = r#"
import sys
try:
    import yaml
except ImportError:
    print("SKIP"); sys.exit()
load = lambda path: yaml.safe_load(open(path))
pod = load("rbuild-job.yaml")["spec"]["template"]["spec"]
own = pod["containers"][0]["securityContext"]
assert own["capabilities"] == {"drop": ["ALL"]} and own["allowPrivilegeEscalation"] is False, own
assert own["readOnlyRootFilesystem"] and not own.get("privileged"), own
assert pod["securityContext"]["runAsNonRoot"] and pod["hostUsers"] is False and not pod["automountServiceAccountToken"], pod
assert not any("hostPath" in volume for volume in pod["volumes"]), pod
step = load("rbuild-task.yaml")["spec"]["stepTemplate"]["securityContext"]
assert step["capabilities"] == {"drop": ["ALL"]} and step["allowPrivilegeEscalation"] is False, step
flow = load(".github/workflows/image.yaml")
assert flow["permissions"] == {"contents": "read"}, flow
assert load(".gitlab-ci.yml")["build"]["script"]
"#;
    let output = assert_cmd::Command::new("python3")
        .current_dir(place.context())
        .args(["-c", script])
        .output()
        .expect("it starts");
    if output.stdout.starts_with(b"SKIP") {
        skip!("pyyaml", "python3 has no module yaml");
    }
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A template without the line that installs packages: the base has them.
fn offline(place: &Place, name: &str) {
    place.expect(0, &["init", name, name]);
    let path = place.context().join(name).join("Containerfile");
    let text = fs::read_to_string(&path).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with("RUN apt-get"));
    fs::write(
        &path,
        lines.map(|line| format!("{line}\n")).collect::<String>(),
    )
    .unwrap();
}

#[test]
fn cheap_templates_build_and_run_without_privileges_or_a_writable_root() {
    requires!(degree Degree::SubIds);
    requires!(execution);
    let place = Place::new();
    for (name, base, args, said) in [
        ("static-c", "debian-gcc", &["--version"][..], "app 1.0"),
        (
            "python",
            "debian-programs",
            &["--version"],
            " certificate authorities",
        ),
        ("nginx", "debian-programs", &["-t"], "test is successful"),
    ] {
        let layout = requires!(base base);
        offline(&place, name);
        let context = format!(
            "docker.io/library/debian:12-slim=oci-layout:{}",
            layout.display()
        );
        let build = [
            "build",
            "--network",
            "none",
            "--build-context",
            &context,
            "-t",
            name,
            name,
        ];
        place.expect(0, &build);
        let run = [
            "run",
            "--read-only",
            "--cap-drop",
            "ALL",
            "--network",
            "none",
            "--tmpfs",
            "/tmp:mode=1777",
            name,
        ];
        let (out, err) = place.expect(0, &[&run[..], args].concat());
        assert!(
            out.contains(said) || err.contains(said),
            "{name}: {out}{err}"
        );
    }
}
