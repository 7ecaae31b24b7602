//! `RUN --mount` and the flags about RUN, as planned.

use rbuild_builder::{CopyFrom, RunMountSource, StageId};

use crate::support::{errors, of, plan};

fn targets(text: &str) -> Vec<String> {
    let planned = plan(text);
    let mounts = &planned.run(planned.target().steps.len() - 1).mounts;
    mounts.iter().map(|mount| mount.target.clone()).collect()
}

#[test]
fn parents_are_mounted_first_and_targets_count_from_the_working_directory() {
    let text = "FROM scratch\nWORKDIR /w\nRUN --mount=type=tmpfs,target=/a/b/c --mount=type=tmpfs,target=d \
                --mount=type=tmpfs,target=/a x\n";
    assert_eq!(targets(text), ["/a", "/w/d", "/a/b/c"]);
}

#[test]
fn a_secret_has_no_value_in_the_plan_and_a_stage_that_is_mounted_is_built() {
    let text = "FROM scratch AS one\nCOPY a /a\nFROM scratch AS unused\nFROM scratch\n\
                RUN --mount=from=one,target=/m --mount=type=secret,id=s,env=E x\n";
    let planned = plan(text);
    assert_eq!(planned.stage_names(), ["one", "2"]);
    assert_eq!(planned.target().needs(), [StageId(0)]);
    let run = planned.run(0);
    assert!(matches!(
        &run.mounts[0].source,
        RunMountSource::Bind { from: CopyFrom::Stage(StageId(0)), source, writable: false } if source == "/"
    ));
    assert_eq!((run.mounts.len(), run.secret_env.len()), (1, 1));
}

#[test]
fn a_source_that_is_not_there_is_an_error_at_its_place() {
    let found = errors(
        "FROM scratch AS one\nRUN --mount=from=later,target=/m x\nFROM scratch AS later\nCOPY --from=one a b\n",
    );
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("later | "), "{found:?}");
}

#[test]
fn the_command_line_sets_and_unsets_what_the_image_has() {
    let planned = of("FROM scratch AS a\nENV X=file Y=2\nFROM a\nRUN x\n")
        .env("X", "line")
        .env("Z", "3")
        .unset("Y")
        .plan();
    assert_eq!(
        planned.env(),
        ["X=file", "Z=3"],
        "ENV of the file comes later"
    );
    let first = &planned.step(0).step.env;
    assert!(
        first.contains(&("Y".into(), "2".into())),
        "RUN still has it"
    );
}
