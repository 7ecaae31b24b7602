//! Hostile input: nothing panics, every span is inside the text and on character boundaries (S30). The checks are those of the
//! fuzz targets; tests/fuzz.rs of the workspace runs these on mutations.

extern crate rbuild_containerfile as containerfile;

#[expect(
    unreachable_pub,
    reason = "it is also a module of the library that the fuzz targets use"
)]
#[path = "../../fuzz/src/language.rs"]
mod language;

use containerfile::{EscapeChar, expand, glob};
use proptest::prelude::*;

/// All targets on one text.
fn check(text: &str) {
    language::containerfile(text.as_bytes());
    language::linter(text.as_bytes());
    language::unit(text.as_bytes());
    language::expand(text.as_bytes());
    language::ignore(text.as_bytes());
}

const TOKENS: &[&str] = &[
    "\\",
    "\n",
    "\r\n",
    "`",
    "\"",
    "'",
    "$",
    "${",
    "}",
    "<<E",
    "<<-'E'",
    "[",
    "]",
    ",",
    "=",
    "--",
    "--mount=",
    "#",
    "\t",
    " ",
    "ß",
    "☃",
    "\u{feff}",
    "\0",
    "FROM ",
    "RUN ",
    "COPY ",
    "ONBUILD ",
    "HEALTHCHECK CMD ",
    "USER ",
    "# rbuild ignore=RB103 x\n",
    "case $a in ",
    "$(",
    " | ",
    ";;",
    "\\u12",
    "\\ud800",
    ":-",
    "##",
    "//",
    "E\n",
    "\u{a0}",
    "\u{2028}",
    "\u{85}",
];

#[test]
fn s30_nesting_and_length_are_bounded() {
    let deep = format!("{}x{}", "${a:-".repeat(10_000), "}".repeat(10_000));
    assert_eq!(
        expand::expand(&deep, &|_| None, EscapeChar::Backslash, expand::Mode::Word),
        Err(expand::ExpandError::TooDeep)
    );
    let long = "$a".repeat(40_000);
    let value = "x".repeat(1000);
    let result = expand::expand(
        &long,
        &|_| Some(value.clone()),
        EscapeChar::Backslash,
        expand::Mode::Word,
    );
    assert_eq!(result, Err(expand::ExpandError::TooLong));
    check(&format!("FROM a\nRUN {} <<E\nE\n", "\"${".repeat(20_000)));
    check(&format!("FROM a\nCMD {}\n", "[".repeat(60_000)));
    check(&format!("FROM a\n{} RUN x\n", "ONBUILD ".repeat(7_000)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_parses_to_something(text in "\\PC{0,200}") {
        check(&text);
    }

    #[test]
    fn any_sequence_of_grammar_parses_to_something(parts in proptest::collection::vec(proptest::sample::select(TOKENS), 0..60)) {
        check(&parts.concat());
    }

    #[test]
    fn quoting_a_value_protects_it(value in "[^'\\n]{0,40}") {
        let expanded = expand::expand(&format!("'{value}'"), &|_| None, EscapeChar::Backslash, expand::Mode::Word);
        prop_assert_eq!(expanded.map(|one| one.text), Ok(value));
    }

    #[test]
    fn a_literal_pattern_matches_itself_only(left in "[a-z/]{1,8}", right in "[a-z/]{1,8}") {
        prop_assert_eq!(glob::matches(&left, &right), Ok(left == right));
    }
}
