//! Table 1.1 of the Containerfile reference, the lexical layer, row by row. The invariant: a row that is refused says where.

use crate::language::Is::{Entry, Field, Silent, Warns};
use crate::language::{builds, check, refused};

#[test]
fn directives() {
    let rows = [
        builds(
            "syntax is noted and never fetched",
            "# syntax=registry.invalid/frontend:99\nFROM scratch\nLABEL a=1\n",
            [Field("Labels", r#"{"a":"1"}"#)],
        ),
        builds(
            "also below a first line that starts with #!",
            "#!/usr/bin/env rbuild\n# syntax=registry.invalid/frontend:99\nFROM scratch\nLABEL a=1\n",
            [Field("Labels", r#"{"a":"1"}"#)],
        ),
        builds(
            "escape governs continuations and words, its key in any case and blanks anywhere",
            "#  ESCAPE = `\nFROM scratch\nLABEL a=1 `\n b=C:\\x c=x` y\n",
            [Field("Labels", r#"{"a":"1","b":"C:\\x","c":"x y"}"#)],
        ),
        refused(
            "only two characters escape",
            "# escape=x\nFROM scratch\n",
            ["must be ` or \\", "Containerfile:1:10"],
        ),
        refused(
            "a directive stands once",
            "# escape=`\n# Escape=\\\nFROM scratch\n",
            ["only one escape", "Containerfile:2:3"],
        ),
        builds(
            "a comment ends the directives",
            "# hello\n# escape=`\nFROM scratch\nLABEL a=x` b=1\n",
            [Field("Labels", r#"{"a":"x`","b":"1"}"#)],
        ),
        builds(
            "a blank line ends the directives",
            "\n# escape=`\nFROM scratch\nLABEL a=x` b=1\n",
            [Field("Labels", r#"{"a":"x`","b":"1"}"#)],
        ),
        builds(
            "an unknown key ends the directives",
            "# unknown=1\n# escape=`\nFROM scratch\nLABEL a=x` b=1\n",
            [Field("Labels", r#"{"a":"x`","b":"1"}"#)],
        ),
        builds(
            "check leaves rules out",
            "# check=skip=LegacyKeyValueFormat;error=true\nFROM scratch\nENV a 1\n",
            [Silent("ENV name=value")],
        ),
        refused(
            "check turns what is left into an error",
            "# check=error=true\nFROM scratch\nENV a 1\n",
            [
                "LegacyKeyValueFormat",
                "Containerfile:1:9",
                "Containerfile:3:5",
            ],
        ),
        refused(
            "check knows its options",
            "# check=sikp=all\nFROM scratch\n",
            ["sikp=all", "skip=RULE", "Containerfile:1:9"],
        ),
        builds(
            "a byte order mark is no text",
            "\u{feff}FROM scratch\nLABEL a=1\n",
            [Field("Labels", r#"{"a":"1"}"#)],
        ),
        builds(
            "nor in front of a directive",
            "\u{feff}# escape=`\nFROM scratch\nLABEL a=1 `\n b=2\n",
            [Field("Labels", r#"{"a":"1","b":"2"}"#)],
        ),
    ];
    check(&site!(), &rows);
}

#[test]
fn a_byte_order_mark_is_no_pattern_of_the_ignore_file() {
    let site = site!();
    site.place
        .write(".dockerignore", "\u{feff}hidden\n")
        .write("hidden", "1")
        .write("shown", "2");
    let built = site.build("FROM scratch\nCOPY . /\n", &[]);
    let entries = built.scratch();
    assert!(
        entries.contains(&r#"f 0644 0:0 shown = "2""#.to_owned()),
        "{entries:#?}"
    );
    assert!(
        !entries.iter().any(|entry| entry.contains("hidden =")),
        "{entries:#?}"
    );
}

#[test]
fn continuations() {
    let rows = [
        builds(
            "blanks may follow the escape character",
            "FROM scratch\nLABEL a=1 \\ \t\n b=2\n",
            [Field("Labels", r#"{"a":"1","b":"2"}"#)],
        ),
        builds(
            "an escaped escape character continues nothing",
            "FROM scratch\nLABEL a=x\\\\\nLABEL b=y\n",
            [Field("Labels", r#"{"a":"x\\","b":"y"}"#)],
        ),
        builds(
            "blanks in front stay on a continued line and go from the first",
            "FROM scratch\n   CMD a\\\n   b\n",
            [Field("Cmd", r#"["/bin/sh","-c","a   b"]"#)],
        ),
        builds(
            "comments inside vanish",
            "FROM scratch\nLABEL a=1 \\\n# c=3 \\\n  # d=4\n b=2\n",
            [
                Field("Labels", r#"{"a":"1","b":"2"}"#),
                Silent("empty line"),
            ],
        ),
        builds(
            "blank lines inside vanish with a warning",
            "FROM scratch\nLABEL a=1 \\\n\n b=2\n",
            [
                Field("Labels", r#"{"a":"1","b":"2"}"#),
                Warns("empty line inside a continuation"),
                Warns("Containerfile:3:1"),
            ],
        ),
        builds(
            "a backslash may end the file",
            "FROM scratch\nLABEL a=1 \\",
            [Field("Labels", r#"{"a":"1"}"#)],
        ),
        builds(
            "lines end in CR LF as well",
            "FROM scratch\r\nLABEL a=1 \\\r\n b=2\r\nLABEL c=3\r\n",
            [Field("Labels", r#"{"a":"1","b":"2","c":"3"}"#)],
        ),
        refused(
            "a line of 64 KiB is too long",
            format!("FROM scratch\nLABEL a={}\n", "x".repeat(65_536)),
            ["line is longer than 65535 bytes", "Containerfile:2:1"],
        ),
        refused(
            "one of a heredoc too",
            format!("FROM scratch\nCOPY <<f /\n{}\nf\n", "x".repeat(65_536)),
            ["line is longer than 65535 bytes", "Containerfile:3:1"],
        ),
        builds(
            "a longer instruction of shorter lines is none",
            format!(
                "FROM scratch\nLABEL a={}\\\n{}\n",
                "x".repeat(60_000),
                "y".repeat(60_000)
            ),
            [Silent("longer")],
        ),
        refused(
            "an error in a continued line has the line that it is in",
            "FROM scratch\nLABEL a=1 \\\n\n  # note\n  b\n",
            ["has no `=`", "Containerfile:5:3"],
        ),
    ];
    check(&site!(), &rows);
}

#[test]
fn the_json_form() {
    const NOT_STRINGS: &str = "an array in JSON form may hold strings only";
    const MALFORMED: &str = "is not well-formed, so it is read as plain text";
    let rows = [
        builds(
            "blanks around everything",
            "FROM scratch\nCMD   [ \"a b\" ,\t\"c\\u0041\\n\" ]  \n",
            [Field("Cmd", r#"["a b","cA\n"]"#), Silent(MALFORMED)],
        ),
        builds(
            "an empty array is legal",
            "FROM scratch\nCMD []\n",
            [Field("Cmd", "null")],
        ),
        refused(
            "a number",
            "FROM scratch\nCMD [\"a\", 1]\n",
            [NOT_STRINGS, "Containerfile:2:5"],
        ),
        refused(
            "a truth value",
            "FROM scratch\nENTRYPOINT [true]\n",
            [NOT_STRINGS, "Containerfile:2:12"],
        ),
        refused(
            "null",
            "FROM scratch\nRUN [null]\n",
            [NOT_STRINGS, "Containerfile:2:5"],
        ),
        refused(
            "an object",
            "FROM scratch\nVOLUME [{\"a\": \"b\"}]\n",
            [NOT_STRINGS, "Containerfile:2:8"],
        ),
        refused(
            "an array in it",
            "FROM scratch\nCOPY [[\"a\"], \"/\"]\n",
            [NOT_STRINGS, "Containerfile:2:6"],
        ),
        refused(
            "also in SHELL",
            "FROM scratch\nSHELL [\"a\", 1]\n",
            [NOT_STRINGS, "Containerfile:2:7"],
        ),
        refused(
            "also in HEALTHCHECK",
            "FROM scratch\nHEALTHCHECK CMD [1]\n",
            [NOT_STRINGS, "Containerfile:2:17"],
        ),
        refused(
            "also in ONBUILD",
            "FROM scratch\nONBUILD CMD [1]\n",
            [NOT_STRINGS, "Containerfile:2:13"],
        ),
        builds(
            "single quotes are the shell's",
            "FROM scratch\nCMD ['a', 'b']\n",
            [
                Field("Cmd", r#"["/bin/sh","-c","['a', 'b']"]"#),
                Warns(MALFORMED),
                Warns("Containerfile:2:5"),
            ],
        ),
        builds(
            "so is a missing bracket",
            "FROM scratch\nCMD [\"a\", \"b\"\n",
            [
                Field("Cmd", r#"["/bin/sh","-c","[\"a\", \"b\""]"#),
                Warns(MALFORMED),
            ],
        ),
        builds(
            "and what trails",
            "FROM scratch\nENTRYPOINT [\"a\"] b\n",
            [
                Field("Entrypoint", r#"["/bin/sh","-c","[\"a\"] b"]"#),
                Warns(MALFORMED),
            ],
        ),
        builds(
            "and a comma too many",
            "FROM scratch\nCMD [\"a\",]\n",
            [
                Field("Cmd", r#"["/bin/sh","-c","[\"a\",]"]"#),
                Warns(MALFORMED),
            ],
        ),
    ];
    check(&site!(), &rows);
}

#[test]
fn flags() {
    let site = site!();
    site.place.write("--link", "1").write("one", "2");
    let rows = [
        builds(
            "a bare flag is true",
            "FROM scratch\nCOPY --link one /x\n",
            [Entry(r#"f 0644 0:0 x = "2""#)],
        ),
        builds(
            "two dashes end the flags",
            "FROM scratch\nCOPY -- --link /x\n",
            [Entry(r#"f 0644 0:0 x = "1""#)],
        ),
        builds(
            "flags stand before the arguments only",
            "FROM scratch\nCOPY one --link /x/\n",
            [
                Entry(r#"f 0644 0:0 x/--link = "1""#),
                Entry(r#"f 0644 0:0 x/one = "2""#),
            ],
        ),
        refused(
            "a flag that is no list stands once",
            "FROM scratch\nCOPY --chown=1 --chown=2 one /\n",
            ["--chown is given twice", "Containerfile:2:16"],
        ),
        builds(
            "one that is a list may be repeated",
            "FROM scratch\nCOPY --exclude=a* --exclude=b* one /\n",
            [Entry(r#"f 0644 0:0 one = "2""#)],
        ),
        refused(
            "a value where none is wanted",
            "FROM scratch\nCOPY --link=maybe one /\n",
            ["--link is true or false", "Containerfile:2:6"],
        ),
        refused(
            "no value where one is",
            "FROM scratch\nCOPY --chown one /\n",
            ["--chown needs a value", "Containerfile:2:6"],
        ),
        refused(
            "a slip is mended",
            "FROM scratch\nCOPY --chwon=1:1 one /\n",
            ["COPY has no flag --chwon", "did you mean --chown?"],
        ),
        refused(
            "also in a trigger",
            "FROM scratch\nONBUILD COPY --chwon=1:1 one /\n",
            ["did you mean --chown?", "Containerfile:2:14"],
        ),
        refused(
            "buildah's order of stages needs a stage",
            "FROM scratch AS a\nFROM --after=b scratch\n",
            ["--after=b: there is no such stage", "Containerfile:2:14"],
        ),
    ];
    check(&site, &rows);
}

#[test]
fn an_unknown_flag_is_an_error_of_every_instruction() {
    let site = site!();
    for instruction in [
        "ADD a /",
        "ARG a",
        "CMD a",
        "COPY a /",
        "ENTRYPOINT a",
        "ENV a=1",
        "EXPOSE 1",
        "FROM scratch",
        "HEALTHCHECK CMD a",
        "HEALTHCHECK NONE",
        "LABEL a=1",
        "MAINTAINER a",
        "ONBUILD RUN a",
        "RUN a",
        "SHELL [\"a\"]",
        "STOPSIGNAL 9",
        "USER 1",
        "VOLUME /a",
        "WORKDIR /a",
    ] {
        let (keyword, rest) = instruction.split_once(' ').expect("two words");
        let stderr = site.fails(&format!("FROM scratch\n{keyword} --bogus=1 {rest}\n"), &[]);
        let place = format!("Containerfile:2:{}", keyword.len() + 2);
        assert!(
            stderr.contains(&format!("{keyword} has no flag --bogus")),
            "{stderr}"
        );
        assert!(stderr.contains(&place), "{place} in {stderr}");
    }
}

#[test]
fn instruction_names() {
    let rows = [
        builds(
            "any case",
            "from scratch\nlAbEl a=1\n",
            [Field("Labels", r#"{"a":"1"}"#)],
        ),
        refused(
            "an unknown one",
            "FROM scratch\nCOPPY a /\n",
            [
                "unknown instruction: COPPY",
                "did you mean COPY?",
                "Containerfile:2:1",
            ],
        ),
        refused(
            "also in a stage that is not needed",
            "FROM scratch AS unused\nINSTALL x\nFROM scratch\n",
            ["unknown instruction: INSTALL", "Containerfile:2:1"],
        ),
        refused(
            "also in a trigger",
            "FROM scratch\nONBUILD COPPY a /\n",
            ["unknown instruction: COPPY", "Containerfile:2:9"],
        ),
        refused(
            "all errors at once",
            "FROM scratch\nBOGUS\nCOPY --x=1 a /\nCMD [1]\n",
            [
                "unknown instruction: BOGUS",
                "COPY has no flag --x",
                "hold strings only",
            ],
        ),
    ];
    check(&site!(), &rows);
}

#[test]
fn heredocs() {
    let rows = [
        builds(
            "several, in order, named by their delimiters",
            "FROM scratch\nCOPY <<a.txt <<\"b c\" <<'d' /x/\n1\na.txt\n2\nb c\n3\nd\n",
            [
                Entry(r#"f 0644 0:0 x/a.txt = "1\n""#),
                Entry(r#"f 0644 0:0 x/b c = "2\n""#),
                Entry(r#"f 0644 0:0 x/d = "3\n""#),
            ],
        ),
        builds(
            "with a descriptor",
            "FROM scratch\nCOPY 3<<f /x/\n1\nf\n",
            [Entry(r#"f 0644 0:0 x/f = "1\n""#)],
        ),
        builds(
            "variables in the text, and their escapes",
            "FROM scratch\nARG v=1\nCOPY <<f /x\n$v ${v:-2} ${w:-3} \\$v \"$v\" '$v'\nf\n",
            [Entry(r#"f 0644 0:0 x = "1 1 3 $v \"1\" '1'\n""#)],
        ),
        builds(
            "a quote in any part of the delimiter keeps them",
            "FROM scratch\nARG v=1\nCOPY <<e\"o\"f /x/\n$v \\$v\neof\n",
            [Entry(r#"f 0644 0:0 x/eof = "$v \\$v\n""#)],
        ),
        builds(
            "<<- takes tabs away, and no blanks",
            "FROM scratch\nCOPY <<-f /x\n\t\tone\n \ttwo\n\tthree\tfour\n\tf\n",
            [Entry(r#"f 0644 0:0 x = "one\n \ttwo\nthree\tfour\n""#)],
        ),
        builds(
            "comments and continuations are text",
            "FROM scratch\nCOPY <<'f' /x\n# one \\\ntwo\n\nFROM no\nf\nLABEL a=1\n",
            [
                Entry(r##"f 0644 0:0 x = "# one \\\ntwo\n\nFROM no\n""##),
                Field("Labels", r#"{"a":"1"}"#),
            ],
        ),
        builds(
            "an empty one",
            "FROM scratch\nCOPY <<f /x\nf\n",
            [Entry(r#"f 0644 0:0 x = """#)],
        ),
        builds(
            "a carriage return in front of the line's end is no part of the delimiter",
            "FROM scratch\r\nCOPY <<f /x\r\none\r\nf\r\nLABEL a=1\r\n",
            [Field("Labels", r#"{"a":"1"}"#)],
        ),
        builds(
            "mode and owner",
            "FROM scratch\nCOPY --chmod=0750 --chown=7:8 <<f /x\n1\nf\n",
            [Entry(r#"f 0750 7:8 x = "1\n""#)],
        ),
        builds(
            "of ADD too",
            "FROM scratch\nADD <<f /x/\n1\nf\n",
            [Entry(r#"f 0644 0:0 x/f = "1\n""#)],
        ),
        builds(
            "in a trigger",
            "FROM scratch AS a\nONBUILD COPY <<f /x\n1\nf\nFROM a\n",
            [Entry(r#"f 0644 0:0 x = "1\n""#), Field("OnBuild", "null")],
        ),
        refused(
            "never ended",
            "FROM scratch\nCOPY <<f /x\n1\n f\n",
            ["unterminated heredoc", "Containerfile:2:6"],
        ),
        refused(
            "as the destination",
            "FROM scratch\nCOPY a <<f\n1\nf\n",
            ["heredoc", "Containerfile:2:8"],
        ),
        refused(
            "in the JSON form it is a name",
            "FROM scratch\nCOPY [\"<<f\", \"/x\"]\n",
            ["<<f", "Containerfile:2:"],
        ),
        refused(
            "three of them are none",
            "FROM scratch\nCOPY <<<f /x\n",
            ["<<<f", "Containerfile:2:"],
        ),
        refused(
            "only some instructions have them",
            "FROM scratch\nCMD cat <<f\nx\nf\n",
            ["unknown instruction: x", "Containerfile:3:1"],
        ),
    ];
    check(&site!(), &rows);
}

#[test]
fn heredocs_of_run() {
    use crate::language::Is::Said;
    let rows = [
        builds(
            "alone it is the script of SHELL",
            "FROM busybox\nSHELL [\"/bin/sh\", \"-uc\"]\nRUN <<f\ncase $- in *u*) echo $0 u; esac\nf\n",
            [Said("/bin/sh u")],
        ),
        builds(
            "with #! it is a program",
            "FROM busybox\nRUN <<f\n#!/bin/sh -u\necho $- $HOME\nf\n",
            [Said("u /root")],
        ),
        builds(
            "with a command the shell reads all, and rbuild expands nothing",
            "FROM busybox\nARG v=arg\nRUN cat <<f - <<'g'\n$v ${v#a}\nf\n$v\ng\n",
            [Said("$v")],
        ),
        builds(
            "its descriptor is the shell's",
            "FROM busybox\nRUN cat 3<<f <&3\nthree\nf\n",
            [Said("three")],
        ),
        builds(
            "in a trigger",
            "FROM busybox AS a\nONBUILD RUN <<f\necho triggered\nf\nFROM a\n",
            [Said("triggered")],
        ),
        builds(
            "after a continuation",
            "FROM busybox\nRUN cat \\\n  # note\n  <<-f\n\tindented\n\tf\n",
            [Said("indented")],
        ),
    ];
    check(&site!(run), &rows);
}
