//! The `plan` and `config` rows of the realistic Containerfiles.

use std::fs;
use std::path::{Path, PathBuf};

use rbuild_builder::StepKind;

use crate::support::{Planned, of, plan};

fn fixtures() -> Option<PathBuf> {
    let folder = Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../shared/fixtures/containerfiles"
    ));
    if !folder.is_dir() {
        #[expect(clippy::print_stderr, reason = "a skipped test says so")]
        {
            eprintln!("SKIP fixtures: {} does not exist", folder.display());
        }
        return None;
    }
    Some(folder.to_owned())
}

fn planned(folder: &Path) -> Planned {
    let text = fs::read_to_string(folder.join("Containerfile")).unwrap();
    plan(&text)
}

#[test]
fn config_rows_hold() {
    let Some(fixtures) = fixtures() else { return };
    let mut checked = 0;
    for folder in fs::read_dir(fixtures)
        .unwrap()
        .map(|entry| entry.unwrap().path())
    {
        let rows = fs::read_to_string(folder.join("expect.tsv")).unwrap();
        let rows: Vec<Vec<&str>> = rows.lines().map(|row| row.split('\t').collect()).collect();
        for row in rows.iter().filter(|row| row[1] == "config") {
            let planned = planned(&folder);
            let config = planned.config();
            let found = match row[2] {
                "User" => config.user.clone(),
                "WorkingDir" => config.working_dir.clone(),
                "StopSignal" => config.stop_signal.clone().unwrap_or_default(),
                "Entrypoint" => serde_json::to_string(&config.entrypoint).unwrap(),
                "ExposedPorts" => config
                    .exposed_ports
                    .keys()
                    .cloned()
                    .collect::<Vec<_>>()
                    .join(" "),
                other => panic!("{}: unknown subject {other}", folder.display()),
            };
            assert_eq!(found, row[4], "{} of {}", row[2], folder.display());
            checked += 1;
        }
    }
    assert!(checked >= 12, "only {checked} rows");
}

#[test]
fn plan_rows_hold() {
    let Some(fixtures) = fixtures() else { return };
    let planned = planned(&fixtures.join("10-mounts-and-heredocs"));
    assert_eq!(planned.stage_names(), ["tools", "parent", "data", "final"]);
    assert_eq!(
        planned.env(),
        ["API_TOKEN=abc123", "A=1", "B=", "C=fallback", "D="]
    );
    let mounts = planned
        .stage("tools")
        .steps
        .iter()
        .find_map(|step| match &step.step.kind {
            StepKind::Run(run) => Some(format!("{:?}", run.mounts)),
            _ => None,
        });
    let id = "id: \"apt-none\"";
    assert!(
        mounts.as_ref().is_some_and(|mounts| mounts.contains(id)),
        "{mounts:?}"
    );
    let data = planned.stage("data");
    let first: Vec<_> = data
        .steps
        .iter()
        .map(|step| step.label.text.as_str())
        .collect();
    assert_eq!(first[0], "COPY --chmod=0444 app/motd /etc/motd");
    assert_eq!(data.history[0].created_by, "ARG GREETING=hello");
    assert_eq!(
        planned.config().cmd.as_ref().unwrap()[2],
        "[\"/usr/bin/sqlite3\", '/data/app.db']"
    );
}

#[test]
fn a_default_hides_the_target_of_case_02() {
    let Some(fixtures) = fixtures() else { return };
    let text = fs::read_to_string(fixtures.join("02-prebuilt-arch-trap/Containerfile")).unwrap();
    let planned = of(&text).platform("linux/arm64").plan();
    let args = planned
        .stage("fetch")
        .steps
        .iter()
        .find_map(|step| match &step.step.kind {
            StepKind::Run(run) if !run.args.is_empty() => Some(run.args.clone()),
            _ => None,
        });
    assert!(
        args.unwrap()
            .contains(&("TARGETARCH".into(), "amd64".into()))
    );
}

#[test]
fn all_fixtures_are_planned() {
    let Some(fixtures) = fixtures() else { return };
    let folders: Vec<_> = fs::read_dir(fixtures)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert!(folders.len() >= 10);
    for folder in folders {
        assert!(!planned(&folder).plan.stages.is_empty());
    }
}

#[test]
fn no_broken_file_makes_the_planner_panic() {
    let Some(fixtures) = fixtures() else { return };
    for folder in fs::read_dir(fixtures)
        .unwrap()
        .map(|entry| entry.unwrap().path())
    {
        let text = fs::read_to_string(folder.join("Containerfile")).unwrap();
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        for cut in 0..lines.len() {
            let (before, after) = lines.split_at(cut);
            let _ = of(&before.concat()).attempt();
            let _ = of(&after.concat()).attempt();
            let _ = of(&[before.concat(), after[1..].concat()].concat()).attempt();
            let _ = of(&[after.concat(), before.concat()].concat()).attempt();
        }
    }
}

/// What each kind of row is compared with: a test of this file, or why it is not compared yet.
const KINDS: [(&str, &str); 10] = [
    ("config", "config_rows_hold"),
    ("plan", "plan_rows_hold"),
    ("must", "containerfile/tests/lint.rs"),
    ("must-not", "containerfile/tests/lint.rs"),
    ("none", "containerfile/tests/lint.rs"),
    ("image", "tests/e2e/language_fixture_images.rs"),
    ("closure", "tests/e2e/language_fixture_images.rs"),
    ("file", "tests/e2e/language_fixtures.rs"),
    ("run", "tests/e2e/language_fixture_images.rs"),
    ("note", "says what to keep in mind"),
];

#[test]
fn every_row_is_compared_or_says_why_not() {
    let Some(fixtures) = fixtures() else { return };
    for folder in fs::read_dir(fixtures).unwrap() {
        let path = folder.unwrap().path().join("expect.tsv");
        let rows = fs::read_to_string(&path).unwrap();
        for row in rows.lines().filter(|row| !row.starts_with("file\tkind")) {
            let kind = row.split('\t').nth(1).unwrap();
            let known = KINDS.iter().any(|(known, _)| *known == kind);
            assert!(known, "{}: a row of an unknown kind: {row}", path.display());
        }
    }
}
