//! Large files: the time is in proportion to the text, and what is said about it is bounded. Measured is the processor's time of
//! this thread, so that a busy machine changes nothing; an optimised build is ten times faster than what is allowed here.

use std::fs;
use std::time::Duration;

use rbuild_containerfile as containerfile;

use containerfile::{Parsed, Severity, Source, lint, parse};

/// Enough that a time in the square of it is far beyond the limit.
const LINES: usize = 20_000;

/// What parsing a text takes at most in a build without optimisation.
const LIMIT: Duration = Duration::from_secs(4);

/// What this thread has computed so far: proc(5), stat, fields 14 and 15, in hundredths of a second.
fn computed() -> Duration {
    let stat = fs::read_to_string("/proc/thread-self/stat").expect("proc");
    let (_, fields) = stat.rsplit_once(')').expect("a name in brackets");
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks = ticks.map(|field| field.parse::<u64>().expect("a number"));
    Duration::from_millis(ticks.sum::<u64>() * 10)
}

/// A rule that looks at all instructions for each of them would take minutes.
#[track_caller]
fn linted(what: &str, source: &Source) {
    let start = computed();
    let report = lint::lint(source, &lint::Options::default());
    let time = computed() - start;
    assert!(time < LIMIT, "linting {what}: {time:?}");
    assert!(report.findings.len() <= 1001, "{what}");
}

#[track_caller]
fn timed(what: &str, text: String) -> (Source, Parsed) {
    let source = Source::new("Containerfile", text);
    let start = computed();
    let parsed = parse(&source);
    let time = computed() - start;
    assert!(time < LIMIT, "{what}: {time:?}");
    (source, parsed)
}

/// A file whose lines are made from their numbers.
fn lines(first: &str, line: impl Fn(usize) -> String) -> String {
    std::iter::once(first.to_owned())
        .chain((0..LINES).map(line))
        .collect()
}

#[test]
fn many_lines_of_any_shape_take_linear_time() {
    let same = |line: &'static str| move |_| line.to_owned();
    for (what, text) in [
        (
            "exec forms",
            lines("FROM a\n", same("RUN [\"/x\", \"1\"]\n")),
        ),
        (
            "variables",
            lines("FROM a\n", |n| format!("ENV a{n}=b$a{n}\n")),
        ),
        (
            "pairs of one ENV",
            lines("FROM a\nENV x=y \\\n", |n| format!("a{n}=b \\\n")),
        ),
        (
            "arguments",
            lines("", |n| format!("ARG a{n}=b\n")) + "FROM a\n",
        ),
        ("stages", lines("", |n| format!("FROM a AS s{n}\n"))),
        (
            "continuations",
            lines("FROM a\nRUN true \\\n", |n| format!(" && echo {n} \\\n")) + "x\n",
        ),
        (
            "comments in a continuation",
            lines("FROM a\nRUN true \\\n", same("# note\n")) + "x\n",
        ),
        (
            "one heredoc",
            lines("FROM a\nRUN <<E\n", same("echo\n")) + "E\n",
        ),
        ("heredocs", lines("FROM a\n", same("COPY <<E /\nE\n"))),
        (
            "flags",
            lines("FROM a\nCOPY \\\n", same("--exclude=x \\\n")) + "a /\n",
        ),
        (
            "mounts",
            lines(
                "FROM a\nRUN \\\n",
                same("--mount=type=tmpfs,target=/a \\\n"),
            ) + "a\n",
        ),
        (
            "sources",
            lines("FROM a\nCOPY \\\n", same("s \\\n")) + "/\n",
        ),
        (
            "strings",
            lines("FROM a\nRUN [\\\n", same("\"y\", \\\n")) + "\"x\"]\n",
        ),
        ("triggers", lines("FROM a\n", same("ONBUILD RUN x\n"))),
        (
            "a chain of stages",
            lines("FROM scratch AS s0\n", |n| {
                format!("FROM s{n} AS s{}\nENV a=$a\n", n + 1)
            }),
        ),
        (
            "volumes and copies",
            lines("FROM debian AS b\nFROM scratch\n", |n| {
                format!("COPY --from=b /out/{n} /d/\nVOLUME /v{n}\n")
            }) + "USER 7:7\n",
        ),
        (
            "accounts",
            lines("FROM debian AS b\n", same("RUN useradd -m x\n")) + "FROM scratch\n",
        ),
        (
            "owners",
            lines("FROM debian\n", same("COPY x /x\nRUN chown -R 7:7 /y\n")),
        ),
        (
            "comments that ignore",
            lines("FROM a\n", same("# rbuild ignore=RB101 x\nRUN x\n")),
        ),
    ] {
        let (source, parsed) = timed(what, text);
        assert!(
            !parsed.has_errors(),
            "{what}: {:?}",
            parsed.diagnostics.first()
        );
        linted(what, &source);
    }
}

#[test]
fn a_file_of_100_000_lines_is_parsed_and_linted_in_seconds_even_without_optimisation() {
    let part = "FROM a AS s\nARG v=1\nENV a=$v b=\"two words\"\nCOPY --chown=1:2 x y /d/\nRUN --mount=type=cache,target=/c a && \\\n  # note\n    b\nCOPY <<E /f\n$v\nE\n";
    let text = part
        .replace(" AS s", "")
        .repeat(100_000 / part.lines().count());
    let (source, parsed) = timed("a file", text);
    assert!(!parsed.has_errors());
    let last = parsed.file.stages.last().expect("stages");
    assert_eq!(*source.line_range(last.span).end(), 100_000);
    linted("a file", &source);
}

#[test]
fn findings_are_bounded_and_errors_outlive_warnings() {
    for (what, line) in [
        ("unknown instructions", "BOGUS x\n"),
        ("unknown flags", "COPY --bogus=1 a b\n"),
        ("warnings", "ENV a b\n"),
        (
            "a flag a thousand times",
            "COPY --link=x --link=x --link=x --link=x a b\n",
        ),
    ] {
        let text = lines("FROM a\n", |_| line.to_owned()) + "COPY [1]\n";
        let (_, parsed) = timed(what, text);
        let findings = &parsed.diagnostics;
        assert_eq!(findings.len(), 1001, "{what}");
        assert!(
            parsed.has_errors(),
            "{what}: the last line's error is not forgotten"
        );
        let last = &findings[1000];
        assert_eq!(last.severity, Severity::Info);
        assert!(
            last.message.ends_with("more findings are not shown"),
            "{}",
            last.message
        );
    }
}

#[test]
fn a_message_does_not_repeat_a_long_line_whole() {
    let long = "x".repeat(60_000);
    for text in [
        format!("FROM a\n{long} y\n"),
        format!("FROM a\nCOPY --{long} a b\n"),
        format!("FROM a\nENV a=1 {long}\n"),
        format!("FROM a\nENV {long}\n"),
        format!("FROM a AS ß{long}\n"),
        format!("FROM a\nRUN --mount=type={long} x\n"),
        format!("FROM a\nHEALTHCHECK --timeout={long} CMD x\n"),
        format!("# check={long}\nFROM a\n"),
    ] {
        let (_, parsed) = timed("a long line", text);
        assert!(parsed.has_errors());
        for found in &parsed.diagnostics {
            let help = found.help.as_deref().unwrap_or_default();
            assert!(
                found.message.len().max(help.len()) < 1100,
                "{} bytes",
                found.message.len()
            );
        }
    }
}
