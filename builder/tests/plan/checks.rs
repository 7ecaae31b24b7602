//! The `check` directive and its build argument.

use crate::support::of;

const WARNED: &str = "FROM scratch AS Base\nENV old form\nFROM base\n";

fn with(directive: &str) -> String {
    format!("{directive}\n{WARNED}")
}

fn rules(text: &str) -> Vec<&'static str> {
    let planned = of(text).plan();
    planned
        .warnings
        .iter()
        .filter_map(|found| found.rule)
        .collect()
}

#[test]
fn what_the_parser_noticed_is_a_warning_of_the_build() {
    assert_eq!(rules(WARNED), ["StageNameCasing", "LegacyKeyValueFormat"]);
}

#[test]
fn rules_that_are_skipped_stay_silent() {
    let one = with("# check=skip=StageNameCasing");
    assert_eq!(rules(&one), ["LegacyKeyValueFormat"]);
    let both = with("# check=skip=StageNameCasing, LegacyKeyValueFormat;error=true");
    assert_eq!(rules(&both), [""; 0]);
    assert_eq!(rules(&with("# check=skip=all;error=true")), [""; 0]);
}

#[test]
fn error_true_makes_every_warning_an_error_at_the_directive() {
    let found = of(&with("# check=skip=StageNameCasing;error=true")).errors();
    assert_eq!(
        found,
        [
            "skip=StageNameCasing;error=true | checks found LegacyKeyValueFormat, and error=true was asked for"
        ]
    );
}

#[test]
fn the_build_argument_comes_before_the_directive() {
    let name = "BUILDKIT_DOCKERFILE_CHECK";
    let text = with("# check=error=true");
    let planned = of(&text).arg(name, "skip=StageNameCasing").plan();
    assert_eq!(planned.warnings.len(), 1, "{:?}", planned.warnings);
    assert_eq!(of(WARNED).arg(name, "error=true").errors().len(), 1);
    let unreadable = of(WARNED).arg(name, "sikp=a").errors();
    assert!(unreadable[0].contains("sikp=a"), "{unreadable:?}");
}
