//! Stage selection, names and contexts: containerfile.md 1.3 (FROM) and 1.7.

use std::path::PathBuf;

use containerfile::Severity;
use image::Reference;
use rbuild_builder::plan::PlanError;
use rbuild_builder::{Base, CopyFrom, NamedContext, StageId};

use crate::support::{errors, of, plan};

#[test]
fn only_stages_that_the_target_needs_are_planned() {
    let text = "FROM a AS one\nFROM b AS two\nRUN exit 1\nFROM scratch AS three\nCOPY --from=one / /\nFROM three AS four\n";
    assert_eq!(plan(text).stage_names(), ["one", "three", "four"]);
    assert_eq!(of(text).rounds(), [["a:latest"]]);
    assert_eq!(of(text).target("two").plan().stage_names(), ["two"]);
}

#[test]
fn unused_stages_above_the_target_may_be_asked_for() {
    let text = "FROM a AS one\nFROM b AS two\nFROM scratch AS three\nFROM c AS four\n";
    let all = of(text).with_unused_stages();
    assert_eq!(all.plan().stage_names(), ["one", "two", "three", "four"]);
    let some = of(text).with_unused_stages().target("three");
    assert_eq!(some.plan().stage_names(), ["one", "two", "three"]);
}

#[test]
fn a_stage_waits_for_those_that_it_names() {
    let text = "FROM a AS one\nFROM a AS two\nFROM --after=ONE --after=1 scratch\n";
    let planned = plan(text);
    assert_eq!(planned.stage_names(), ["one", "two", "2"]);
    assert_eq!(planned.target().needs(), [StageId(0), StageId(1)]);
    assert_eq!(planned.target().base, Base::Scratch);
    let replaced = of(text).context("one", layout()).context("two", layout());
    assert!(
        replaced.plan().target().needs().is_empty(),
        "they are there"
    );
    for (text, said) in [
        ("FROM --after=x scratch\n", "there is no such stage"),
        ("FROM --after=0 scratch AS x\n", "only stages above"),
        (
            "FROM --after=x scratch\nFROM scratch AS x\nCOPY --from=0 / /\n",
            "only stages above",
        ),
    ] {
        let errors = errors(text);
        assert!(
            errors.iter().any(|error| error.contains(said)),
            "{text}: {errors:?}"
        );
    }
}

#[test]
fn the_first_stage_may_start_from_another_image() {
    let text = "ARG BASE\nFROM $BASE AS one\nFROM b\nCOPY --from=one / /\n";
    assert_eq!(of(text).from("c:2").rounds(), [["c:2", "b:latest"]]);
    let none = of(text).from("scratch").plan();
    assert_eq!(none.stage("one").base, Base::Scratch);
}

#[test]
fn a_target_is_a_name_in_any_case_or_a_number() {
    let text = "FROM scratch AS Build\nFROM scratch\nFROM scratch AS last\n";
    assert_eq!(of(text).target("BUILD").plan().plan.target, StageId(0));
    assert_eq!(of(text).target("1").plan().plan.target, StageId(1));
    assert_eq!(plan(text).plan.target, StageId(2));
    assert_eq!(of(text).target("1").plan().stage_names(), ["1"]);
}

#[test]
fn an_unknown_target_is_an_error_with_a_suggestion() {
    let text = "FROM scratch AS builder\nFROM scratch AS final\n";
    let PlanError::UnknownTarget {
        name,
        nearest,
        stages,
    } = of(text).target("bulder").error()
    else {
        panic!("another error");
    };
    assert_eq!(
        (name.as_str(), nearest.as_deref()),
        ("bulder", Some("builder"))
    );
    assert_eq!(stages, ["builder", "final"]);
    assert!(matches!(
        of(text).target("9").error(),
        PlanError::UnknownTarget { nearest: None, .. }
    ));
}

#[test]
fn an_earlier_stage_shadows_an_image_in_any_case() {
    let planned = plan("FROM scratch AS debian\nFROM Debian\n");
    assert_eq!(planned.target().base, Base::Stage(StageId(0)));
    assert!(planned.plan.images.is_empty());
}

#[test]
fn an_image_that_may_have_been_meant_as_a_stage_says_so() {
    let later = "FROM later AS first\nFROM scratch AS later\nCOPY --from=first / /\n";
    assert_eq!(of(later).rounds(), [["later:latest"]]);
    let hint = |text| of(text).meant().unwrap_or_default();
    assert!(hint(later).contains("comes later"));
    let near = "FROM scratch AS builder\nFROM scratch\nCOPY --from=bulder / /\n";
    assert_eq!(hint(near), "did you mean the stage \"builder\"?");
    assert_eq!(hint("FROM scratch AS builder\nFROM alpine\n"), "");
}

#[test]
fn the_last_of_equal_names_above_is_meant() {
    let planned = plan("FROM scratch AS a\nFROM scratch AS a\nFROM a\nCOPY --from=a / /\n");
    assert_eq!(planned.target().base, Base::Stage(StageId(1)));
    assert_eq!(planned.copy(0).from, CopyFrom::Stage(StageId(1)));
}

#[test]
fn a_blank_base_is_an_error_that_names_the_variable() {
    let found = of("ARG set=1\nFROM ${missing}\n").diagnostics();
    assert_eq!(
        found[0].message,
        "the base image's name is blank after expansion"
    );
    assert!(found[0].help.as_ref().unwrap().contains("$missing"));
    assert_eq!(errors("FROM $missing AS unused\nFROM scratch\n").len(), 1);
}

#[test]
fn a_malformed_image_name_is_an_error_at_its_place() {
    let found = errors("FROM Debian::x\n");
    assert!(
        found[0].starts_with("Debian::x | cannot parse image name"),
        "{found:?}"
    );
}

#[test]
fn a_base_may_have_its_own_platform() {
    let planned = of("FROM --platform=$BUILDPLATFORM x AS a\nFROM x\nCOPY --from=a / /\n").plan();
    let architectures: Vec<_> = planned
        .plan
        .images
        .iter()
        .map(|pinned| pinned.image.config().architecture.as_str())
        .collect();
    assert_eq!(architectures, ["arm64", "amd64"]);
    assert_eq!(planned.stage("a").config.architecture, "arm64");
    assert_eq!(planned.target().config.architecture, "amd64");
}

#[test]
fn bad_platforms_are_errors() {
    assert_eq!(
        errors("FROM --platform=$none x\n"),
        ["$none | --platform is blank after expansion"]
    );
    assert!(errors("FROM --platform=a/b/c/d x\n")[0].contains("cannot parse platform"));
    assert!(errors("FROM --platform=linux/amd64,linux/arm64 x\n")[0].contains("several platforms"));
}

#[test]
fn an_image_for_another_platform_is_a_warning() {
    let planned = of("FROM x\n")
        .image("x:latest", |config| config.architecture = "s390x".into())
        .plan();
    assert_eq!(
        planned.warned(),
        ["x:latest is for linux/s390x, not for linux/amd64"]
    );
    assert_eq!(planned.warnings[0].severity, Severity::Warning);
    // The image says what its files are.
    assert_eq!(planned.target().config.architecture, "s390x");
}

#[test]
fn an_image_is_looked_up_once_however_often_it_is_named() {
    let text = "FROM debian AS a\nFROM docker.io/library/debian:latest AS b\nCOPY --from=debian / /\nCOPY --from=a / /\n";
    assert_eq!(of(text).rounds(), [["debian:latest"]]);
    assert_eq!(plan(text).copy(0).from, CopyFrom::Image(0));
}

fn layout() -> NamedContext {
    NamedContext::OciLayout {
        directory: PathBuf::from("/layout"),
        version: None,
    }
}

#[test]
fn a_named_context_replaces_an_image_however_it_is_written() {
    for name in ["debian:12", "docker.io/library/debian:12"] {
        for base in ["debian:12", "docker.io/debian:12"] {
            let asked = of(&format!("FROM {base}\n")).context(name, layout());
            assert_eq!(asked.rounds(), [[name]]);
        }
    }
    assert_eq!(
        of("FROM debian:13\n")
            .context("debian:12", layout())
            .rounds(),
        [["debian:13"]]
    );
}

#[test]
fn a_named_context_replaces_a_stage_and_its_instructions() {
    let text = "FROM other AS base\nRUN exit 1\nFROM base\nCOPY --from=base /a /b\n";
    let planned = of(text).context("base", layout()).plan();
    assert_eq!(planned.stage_names(), ["1"]);
    assert_eq!(planned.target().base, Base::Image(0));
    assert_eq!(planned.copy(0).from, CopyFrom::Image(0));
    assert_eq!(planned.plan.images[0].name, "base");
    let alone = of(text).context("base", layout()).target("base").plan();
    assert!(alone.target().steps.is_empty());
}

#[test]
fn scratch_is_never_a_named_context() {
    let planned = of("FROM scratch\n").context("scratch", layout()).plan();
    assert_eq!(planned.target().base, Base::Scratch);
}

#[test]
fn a_directory_is_copied_from_and_no_base_yet() {
    let directory = || NamedContext::Directory(PathBuf::from("/d"));
    let planned = of("FROM scratch\nCOPY --from=debs /a /b\n")
        .context("debs", directory())
        .plan();
    assert_eq!(planned.copy(0).from, CopyFrom::NamedContext("debs".into()));
    let found = of("FROM debs\n").context("debs", directory()).errors();
    assert!(found[0].contains("is a directory"), "{found:?}");
}

#[test]
fn a_named_context_may_be_another_image() {
    let other = NamedContext::Image(Reference::from_static("alpine:3"));
    let planned = of("FROM scratch\nCOPY --from=tools /a /b\n")
        .context("tools", other)
        .plan();
    assert_eq!(planned.plan.images[0].name, "tools");
}

#[test]
fn a_stage_must_come_before_the_one_that_copies_from_it() {
    assert_eq!(
        errors("FROM scratch AS a\nCOPY --from=b / /\nFROM scratch AS b\nFROM a\n"),
        ["b | cannot copy from stage \"b\": it comes after stage \"a\""]
    );
    assert_eq!(
        errors("FROM scratch\nCOPY --from=0 / /\n"),
        ["0 | stage \"0\" cannot copy from itself"]
    );
    assert_eq!(
        errors("FROM scratch AS a\nCOPY --from=A / /\n"),
        ["A | stage \"a\" cannot copy from itself"]
    );
    assert_eq!(
        errors("FROM scratch\nCOPY --from=3 / /\n"),
        ["3 | there is no stage 3: the file has 1, counted from 0"]
    );
    assert!(errors("FROM scratch\nCOPY --from=scratch / /\n")[0].contains("scratch is empty"));
}

#[test]
fn stages_that_need_each_other_are_a_cycle() {
    assert_eq!(
        errors("FROM scratch AS a\nCOPY --from=c / /\nFROM a AS b\nFROM b AS c\n"),
        ["c | stages \"a\" and \"c\" need each other: a cycle"]
    );
    assert_eq!(
        errors("FROM scratch AS a\nCOPY --from=1 / /\nFROM scratch AS b\nCOPY --from=a / /\n"),
        ["1 | stages \"a\" and \"b\" need each other: a cycle"]
    );
}

#[test]
fn stages_are_found_by_number_and_name() {
    let planned = plan(
        "FROM scratch AS a\nFROM scratch\nFROM scratch\nCOPY --from=1 / /\nCOPY --from=A / /\n",
    );
    assert_eq!(planned.copy(0).from, CopyFrom::Stage(StageId(1)));
    assert_eq!(planned.copy(1).from, CopyFrom::Stage(StageId(0)));
    assert_eq!(planned.target().needs(), [StageId(0), StageId(1)]);
}

#[test]
fn from_with_a_variable_is_an_explicit_error() {
    let found = errors("FROM scratch\nCOPY --from=$image / /\n");
    assert!(
        found[0].contains("--from does not expand variables"),
        "{found:?}"
    );
}

#[test]
fn everything_wrong_is_reported_at_once_in_the_order_of_the_text() {
    let text = "FROM base AS a\nRUN --device=a.b/c=d true\nCOPY --from=7 / /\nFROM scratch\nSTOPSIGNAL NO\nEXPOSE x\nCOPY --from=a / /\n";
    let found = errors(text);
    assert_eq!(found.len(), 4, "{found:#?}");
    assert!(found[0].contains("--device") && found[1].contains("no stage 7"));
    assert!(
        found[2].contains("\"NO\" is not a signal") && found[3].contains("\"x\" is not a port")
    );
}

#[test]
fn errors_in_a_stage_that_is_not_built_do_not_count() {
    assert_eq!(
        plan("FROM scratch AS a\nSTOPSIGNAL NO\nRUN --security=insecure x\nFROM scratch\n")
            .stage_names(),
        ["1"]
    );
}

#[test]
fn a_file_that_does_not_parse_is_not_planned() {
    assert!(matches!(
        of("FROM scratch\nNONSENSE\n").error(),
        PlanError::Invalid(_)
    ));
    assert!(matches!(of("").error(), PlanError::Invalid(_)));
}
