//! `# rbuild:closure` and `--closure auto` in plans.

use crate::support::{of, plan};

const FILE: &str = "FROM scratch AS tools
COPY a /a
FROM scratch AS two
ENV TZ=UTC PATH=/p
# rbuild:closure with=gconv,locale:C.UTF-8 without=nss also=/x
COPY --from=tools /a /a
COPY --from=tools /b /b
COPY c /c
FROM two
COPY --from=tools /d /d
";

#[test]
fn a_comment_is_part_of_the_step_below_it_alone() {
    let planned = plan(FILE);
    let two = planned.stage("two");
    let closure = |index: usize| match &two.steps[index].step.kind {
        rbuild_builder::StepKind::Copy(copy) => copy.closure.clone(),
        other => panic!("{other:?}"),
    };
    let own = closure(0).expect("the comment's");
    assert!(own.asked);
    assert_eq!(
        (own.with.join(" "), own.without.join(" ")),
        ("gconv locale:C.UTF-8".into(), "nss".into())
    );
    assert_eq!((own.also.join(" "), own.path.as_str()), ("/x".into(), "/p"));
    assert_eq!(own.env, [("TZ".to_owned(), "UTC".to_owned())]);
    assert_eq!(own.architecture, "amd64");
    assert_eq!((closure(1), closure(2)), (None, None));
    assert_eq!(planned.copy(0).closure, None);
}

#[test]
fn auto_completes_what_comes_from_stages_into_the_image_and_nothing_else() {
    let mut asked = of(FILE);
    asked.complete = true;
    let planned = asked.plan();
    let completed = |stage: &str| -> Vec<Option<bool>> {
        let steps = planned.stage(stage).steps.iter();
        let closures = steps.filter_map(|planned| match &planned.step.kind {
            rbuild_builder::StepKind::Copy(copy) => Some(copy.closure.as_ref()),
            _ => None,
        });
        closures
            .map(|closure| closure.map(|closure| closure.asked))
            .collect()
    };
    assert_eq!(completed("tools"), [None]);
    assert_eq!(completed("two"), [Some(true), Some(false), None]);
    assert_eq!(completed("2"), [Some(false)]);
}
