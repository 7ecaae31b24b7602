//! The scripts of RUN as ShellCheck gets them, and the way back to the bytes of the file.

use rbuild_containerfile as containerfile;

use containerfile::lint::{self, Options, Script, ShellFinding, scripts};
use containerfile::{Severity, Source};

/// What a finding about some words of a script points at in the file; the words are looked for where ShellCheck counts.
fn pointed<'s>(source: &'s Source, script: &Script, words: &str) -> Option<&'s str> {
    let at = script.text.rfind(words).expect("the words");
    let place = |at: usize| {
        let before = &script.text[..at];
        let line = before.rfind('\n').map_or(0, |end| end + 1);
        (
            before.matches('\n').count() + 1,
            before[line..].chars().count() + 1,
        )
    };
    let found = finding(2086, "info", place(at), place(at + words.len()));
    script
        .place(&found)
        .map(|finding| source.slice(finding.span))
}

fn finding(code: u32, level: &str, from: (usize, usize), to: (usize, usize)) -> ShellFinding {
    let (level, message) = (level.to_owned(), "Something.".to_owned());
    ShellFinding {
        code,
        level,
        message,
        from,
        to,
    }
}

#[test]
fn scripts_are_what_the_shell_gets_with_the_variables_of_the_file() {
    let text = "ARG GLOBAL\nFROM a AS x\nARG one=1\nENV two=2 three=3\nRUN --network=none echo $one \\\n  # comment\n\n  $two\nFROM x\nRUN [\"a\"]\nRUN echo $two $http_proxy $GLOBAL\n";
    let all: Vec<String> = scripts(&Source::new("", text))
        .into_iter()
        .map(|script| script.text)
        .collect();
    assert_eq!(
        all,
        [
            "# shellcheck shell=sh\nexport one=1\nexport two=1\necho $one   $two\n",
            "# shellcheck shell=sh\nexport http_proxy=1\nexport two=1\necho $two $http_proxy $GLOBAL\n",
        ]
    );
}

#[test]
fn the_shell_is_the_one_in_effect_and_others_are_left_out() {
    let shells = |text: &str| -> Vec<String> {
        let all = scripts(&Source::new("", text)).into_iter();
        all.map(|script| script.text.lines().next().unwrap_or_default().to_owned())
            .collect()
    };
    let text = "FROM a\nSHELL [\"/bin/bash\", \"-c\"]\nRUN x\nSHELL [\"pwsh\", \"-c\"]\nRUN x\nONBUILD RUN y\nSHELL [\"/bin/ash\", \"-c\"]\nONBUILD RUN y\n";
    assert_eq!(
        shells(text),
        ["# shellcheck shell=bash", "# shellcheck shell=sh"]
    );
    let text = "FROM a\nRUN <<A\n#!/usr/bin/env bash\nx\nA\nRUN <<B\n#!/usr/bin/python3\nx\nB\n";
    assert_eq!(shells(text), ["# shellcheck shell=bash"]);
}

#[test]
fn findings_lead_back_to_the_exact_bytes() {
    let text = "FROM a\nENV x=1\nRUN echo 😀 \\\n # $no\n  $x ß$y\nRUN <<-E\n\t#!/bin/sh\n\tfor ß in $z; do\n\t:; done\nE\nONBUILD RUN cat <<E ; echo $q\n  $(w)\nE\n";
    let source = Source::new("", text);
    let all = scripts(&source);
    for (index, words) in [
        (0, "$x"),
        (0, "$y"),
        (0, "😀"),
        (1, "$z"),
        (1, "done"),
        (2, "$q"),
        (2, "$(w)"),
    ] {
        assert_eq!(pointed(&source, &all[index], words), Some(words));
    }
    assert_eq!(
        pointed(&source, &all[0], "😀   $x"),
        Some("😀 \\\n # $no\n  $x"),
        "over a continuation"
    );
    assert_eq!(
        pointed(&source, &all[0], "export x"),
        None,
        "that line is not the file's"
    );
    for place in [(1, 1), (0, 0), (99, 1), (3, 99)] {
        assert_eq!(
            all[0].place(&finding(2086, "info", place, place)),
            None,
            "{place:?}"
        );
    }
}

#[test]
fn severities_and_codes_are_shellchecks() {
    let source = Source::new("", "FROM scratch\nRUN x\nFROM unknown\nRUN x\n");
    let all = scripts(&source);
    let severity = |script: usize, code, level| {
        let found = finding(code, level, (2, 1), (2, 2));
        all[script]
            .place(&found)
            .map(|found| (found.rule, found.severity))
    };
    assert_eq!(
        severity(0, 1009, "error"),
        Some((Some("SC1009"), Severity::Error))
    );
    assert_eq!(
        severity(0, 2006, "style"),
        Some((Some("SC2006"), Severity::Info))
    );
    assert_eq!(
        severity(0, 2154, "warning"),
        Some((Some("SC2154"), Severity::Warning))
    );
    assert_eq!(
        severity(1, 2154, "warning"),
        Some((Some("SC2154"), Severity::Info)),
        "its base may set it"
    );
    assert_eq!(lint::id("sc2086"), Some("SC2086"));
    assert_eq!((lint::id("SC99"), lint::id("SCxxxx")), (None, None));
    assert_eq!(
        lint::link("SC2086").as_deref(),
        Some("https://www.shellcheck.net/wiki/SC2086")
    );
}

#[test]
fn comments_excuse_what_shellcheck_finds() {
    let text = "FROM scratch\n# rbuild ignore=SC2086 words are wanted\nRUN $a\n# hadolint ignore=SC2086,DL3006\nRUN $b\n# shellcheck disable=SC2086,SC2046\nRUN $c\nRUN $d\n# rbuild ignore=SC1000 nothing\nUSER 7:7\n";
    let source = Source::new("", text);
    let found = scripts(&source)
        .iter()
        .filter_map(|script| script.place(&finding(2086, "info", (2, 1), (2, 3))))
        .collect();
    let rules = |options: &Options| -> Vec<(String, usize)> {
        let report = lint::lint(&source, options);
        let own = report.findings.iter().filter(|one| {
            one.rule
                .is_some_and(|rule| rule.starts_with("SC") || rule.starts_with("RB00"))
        });
        own.map(|one| {
            (
                one.rule.unwrap_or_default().to_owned(),
                source.line(one.span.start()),
            )
        })
        .collect()
    };
    let mut options = Options {
        shell: Some(found),
        ..Options::default()
    };
    assert_eq!(
        rules(&options),
        [("SC2086".to_owned(), 8), ("RB002".to_owned(), 9)]
    );
    options.severities.insert("SC2086", None);
    assert_eq!(
        rules(&options)
            .iter()
            .filter(|(rule, _)| rule.starts_with("SC"))
            .count(),
        0
    );
    assert_eq!(
        rules(&Options::default()),
        [],
        "it was not asked, so no comment is of no use"
    );
}
