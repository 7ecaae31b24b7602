//! ONBUILD: stored, fired, cleared (containerfile.md 1.3).

use image::ImageConfig;
use rbuild_builder::{CopyFrom, StageId};

use crate::support::{of, plan, shown};

fn triggers<const N: usize>(texts: [&'static str; N]) -> impl FnOnce(&mut ImageConfig) {
    move |config| config.config.on_build = texts.map(str::to_owned).to_vec()
}

#[test]
fn triggers_of_a_stage_fire_first_in_its_children_and_are_cleared() {
    let text = "FROM scratch AS parent\nONBUILD ARG g=hello\nONBUILD ENV e=$g\nONBUILD COPY a /b\nFROM parent AS child\nRUN [\"x\"]\nFROM child AS grandchild\n";
    let planned = plan(text);
    assert_eq!(
        planned.stage("parent").config.config.on_build,
        ["ARG g=hello", "ENV e=$g", "COPY a /b"]
    );
    assert!(planned.stage("parent").history.is_empty());
    let child = planned.stage("child");
    assert!(child.config.config.on_build.is_empty());
    assert_eq!(
        child
            .steps
            .iter()
            .map(|step| step.label.text.as_str())
            .collect::<Vec<_>>(),
        ["COPY a /b", "RUN [\"x\"]"]
    );
    assert_eq!(
        &text[child.steps[0].label.span.unwrap().0..][..9],
        "COPY a /b"
    );
    assert!(planned.stage("grandchild").steps.is_empty());
    assert_eq!(planned.env(), ["e=hello"]);
}

#[test]
fn triggers_of_an_image_fire_without_a_place() {
    let planned = of("FROM x\nENV last=$e\n")
        .image(
            "x:latest",
            triggers(["ENV e=1", "RUN made $e", "COPY . /app"]),
        )
        .plan();
    assert_eq!(planned.env(), ["e=1", "last=1"]);
    assert_eq!(planned.run(0).argv[2], "made $e");
    assert_eq!(
        (
            planned.step(0).label.text.as_str(),
            planned.step(0).label.span
        ),
        ("RUN made $e", None)
    );
    assert!(planned.config().on_build.is_empty());
    assert_eq!(
        planned.history(),
        [
            "ENV e=1",
            "0: RUN /bin/sh -c made $e",
            "1: COPY . /app",
            "ENV last=1"
        ]
    );
}

#[test]
fn triggers_of_an_image_do_not_fire_twice() {
    let planned = of("FROM x AS a\nFROM a\n")
        .image("x:latest", triggers(["RUN [\"y\"]"]))
        .plan();
    assert_eq!(planned.stage("a").steps.len(), 1);
    assert!(planned.target().steps.is_empty());
}

#[test]
fn a_trigger_may_bring_stages_and_images() {
    let text = "FROM scratch AS assets\nFROM scratch AS unused\nFROM x\n";
    let image = || {
        triggers([
            "COPY --from=assets /a /b",
            "COPY --from=tools:1 /c /d",
            "ARG given",
            "ENV e=$given",
        ])
    };
    assert_eq!(
        of(text).image("x:latest", image()).rounds(),
        [["x:latest"], ["tools:1"]]
    );
    let planned = of(text).image("x:latest", image()).arg("given", "1").plan();
    assert_eq!(planned.stage_names(), ["assets", "2"]);
    assert_eq!(planned.copy(0).from, CopyFrom::Stage(StageId(0)));
    assert_eq!(planned.copy(1).from, CopyFrom::Image(1));
    assert_eq!(planned.plan.images[1].name, "tools:1");
    assert!(planned.warnings.is_empty());
    assert_eq!(planned.env(), ["e=1"]);
}

#[test]
fn a_trigger_with_a_heredoc_keeps_it() {
    let planned = plan(
        "FROM scratch AS a\nONBUILD COPY <<f /d/\n$PATH\nf\nFROM a\nONBUILD RUN <<EOF\nx\nEOF\n",
    );
    assert!(planned.copy(0).inline[0].1.starts_with("/usr/local"));
    assert_eq!(planned.config().on_build, ["RUN <<EOF\nx\nEOF"]);
    let image = of("FROM x\n")
        .image("x:latest", triggers(["RUN <<EOF\nx\nEOF"]))
        .plan();
    assert_eq!(image.run(0).argv[2], "x\n");
}

#[test]
fn a_bad_trigger_is_reported_at_the_from_that_fires_it() {
    let found = of("FROM x\n")
        .image(
            "x:latest",
            triggers(["FROM y", "STOPSIGNAL wat", "COPY --from=9 / /"]),
        )
        .errors();
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(
        found
            .iter()
            .all(|error| error.starts_with("FROM x | ") && error.contains("trigger: ONBUILD")),
        "{found:?}"
    );
}

#[test]
fn arguments_of_triggers_are_inherited_like_others() {
    let planned = plan("FROM scratch AS a\nONBUILD ARG v=1\nFROM a AS b\nFROM b\nRUN [\"x\"]\n");
    assert_eq!(shown(&planned.run(0).args), ["v=1"]);
}
