//! `RUN --mount` and the flags about RUN, as planned.

use crate::support::{of, plan};

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
