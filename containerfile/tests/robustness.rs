//! Hostile and mutated input: nothing panics, every span is inside the text and on character boundaries (S30).
#![expect(
    clippy::print_stderr,
    reason = "a skipped test and a measured time must be seen"
)]

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use rbuild_containerfile as containerfile;

use containerfile::ignore::IgnoreFile;
use containerfile::{
    EscapeChar, Parsed, Source, Span, dump, expand, glob, parse, parse_onbuild_trigger,
};

const SEEDS: &[&str] = &[
    "# escape=`\n# check=skip=all\nARG A=1 B\nFROM --platform=$P a AS b\nRUN `\n x\n",
    "\u{feff}FROM a\r\nRUN --mount=type=cache,target=/ü,id=$x <<-'E' && cat <<F\r\n\tß\r\n\tE\r\nF\r\n",
    "FROM a\nCOPY --chmod=u=rwX --exclude=*.o <<A \"b c\" ['d' /x\n1\nA\nADD [\"a\\u00e9\", \"b\"]\n",
    "FROM a\nENV a=\"b c\" d=e\\ f\nLABEL x y z\nHEALTHCHECK --interval=1.5h CMD [\"a\"]\nONBUILD RUN <<X\ny\nX\n",
    "FROM a\nRUN a \\\n# c\n\n \\\\\n b \\\nSHELL [\"a\", 1]\nEXPOSE 1 2\nVOLUME [\"\"]\nSTOPSIGNAL ${a:-9}\nMAINTAINER 안녕\n",
];

/// All spans of a serialised tree.
fn spans(value: &serde_json::Value, found: &mut Vec<Span>) {
    match value {
        serde_json::Value::Object(fields) => {
            let number = |name: &str| {
                fields
                    .get(name)
                    .and_then(serde_json::Value::as_u64)
                    .and_then(|at| usize::try_from(at).ok())
            };
            if let (2, Some(start), Some(end)) = (fields.len(), number("start"), number("end")) {
                found.push(Span::new(start, end));
            }
            fields.values().for_each(|field| spans(field, found));
        }
        serde_json::Value::Array(elements) => {
            elements.iter().for_each(|element| spans(element, found))
        }
        _ => {}
    }
}

fn check(text: &str) -> Parsed {
    let source = Source::new("Containerfile", text);
    let parsed = parse(&source);
    let mut found = Vec::new();
    spans(
        &serde_json::to_value(&parsed).expect("a tree of plain data"),
        &mut found,
    );
    for span in found {
        assert!(
            span.start <= span.end && span.end <= text.len(),
            "{span:?} in {text:?}"
        );
        assert!(
            text.is_char_boundary(span.start) && text.is_char_boundary(span.end),
            "{span:?} in {text:?}"
        );
        let lines = source.line_range(span);
        assert!(lines.start() <= lines.end() && source.line_col(span.end).line >= *lines.start());
    }
    assert!(
        parsed
            .diagnostics
            .is_sorted_by_key(|found| found.span.start)
    );
    let _ = dump::s_expressions(&source);
    let _ = parse_onbuild_trigger(text);
    let lookup = |name: &str| Some(name.to_owned());
    for mode in [expand::Mode::Word, expand::Mode::Heredoc] {
        let _ = expand::expand(text, &lookup, EscapeChar::Backtick, mode);
    }
    let _ = expand::expand_words(text, &lookup, EscapeChar::Backslash);
    if let Ok(file) = IgnoreFile::parse(text) {
        let _ = file.matches("a/b/c.o");
    }
    let _ = glob::matches(text, "a/b");
    parsed
}

/// xorshift64*: the same mutations on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let value = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(value).expect("31 bits") % limit.max(1)
    }
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

fn mutate(text: &mut Vec<char>, random: &mut Random) {
    for _ in 0..=random.below(4) {
        let at = random.below(text.len() + 1);
        match random.below(4) {
            0 if at < text.len() => drop(text.remove(at)),
            1 if at < text.len() => {
                let end = (at + random.below(12)).min(text.len());
                let copied = text[at..end].to_vec();
                let to = random.below(text.len() + 1);
                text.splice(to..to, copied);
            }
            2 => text.truncate(at.max(8)),
            _ => drop(text.splice(at..at, TOKENS[random.below(TOKENS.len())].chars())),
        }
    }
}

#[test]
fn s30_mutated_files_never_panic() {
    let mut seeds: Vec<String> = SEEDS.iter().map(|&seed| seed.to_owned()).collect();
    let fixtures = Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../shared/fixtures/containerfiles"
    ));
    match fs::read_dir(fixtures) {
        Ok(cases) => seeds.extend(
            cases
                .flatten()
                .filter_map(|case| fs::read_to_string(case.path().join("Containerfile")).ok()),
        ),
        Err(_) => eprintln!(
            "SKIP fixtures: a part of s30_mutated_files_never_panic, {} does not exist",
            fixtures.display()
        ),
    }
    let mut random = Random(0x5EED_CAFE);
    for round in 0..6_000 {
        let mut text: Vec<char> = seeds[round % seeds.len()].chars().collect();
        mutate(&mut text, &mut random);
        check(&text.into_iter().collect::<String>());
    }
}

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
