//! Table 1.2 of the Containerfile reference, variables, row by row. The invariant: values are read from the image, never from
//! what the planner says of itself.

use serde_json::Value;

use crate::build_oracle::Site;
use crate::language::Is::{Entry, Field, Said, Silent, Warns};
use crate::language::{builds, check, refused};

/// The values that words have, each as the label of its own line in one build.
fn values(site: &Site, words: &[(&str, &str)]) {
    let mut file = "FROM scratch\nENV v=/a/foo/b/c.txt e= x=xxyy s=a***yy* ü=1 k=한국어 n=value\nENV w=\"two words\" d='$v'\n".to_owned();
    for (number, (word, _)) in words.iter().enumerate() {
        file.push_str(&format!("LABEL l{number}={word}\n"));
    }
    let built = site.build(&file, &[]);
    let labels: Value = built.config["config"]["Labels"].clone();
    for (number, (word, expected)) in words.iter().enumerate() {
        assert_eq!(labels[format!("l{number}")], *expected, "{word}");
    }
}

#[test]
fn names_and_values() {
    values(
        &site!(),
        &[
            ("$v", "/a/foo/b/c.txt"),
            ("${v}x", "/a/foo/b/c.txtx"),
            ("$vx", ""),
            ("$v.x", "/a/foo/b/c.txt.x"),
            ("<$unset>", "<>"),
            ("<$1><$@><$#><$?><$*><$!><$->", "<><><><><><><>"),
            ("$12a", "a"),
            ("${12}a", "a"),
            ("$ü$k", "1한국어"),
            ("$", "$"),
            ("a$/b", "a$/b"),
            // A value is never expanded again, and its blanks split no word here.
            ("$d", "$v"),
            ("$w", "two words"),
        ],
    );
}

#[test]
fn defaults_and_alternatives() {
    values(
        &site!(),
        &[
            ("${n:-w}${e:-w}${u:-w}", "valueww"),
            ("${n-w}<${e-w}>${u-w}", "value<>w"),
            ("${n:+w}<${e:+w}${u:+w}>", "w<>"),
            ("${n+w}${e+w}<${u+w}>", "ww<>"),
            ("${u:-${e:-${n}}}", "value"),
            ("${u:-'a b'}${u:-\"$n\"}${u:-\\}}", "a bvalue}"),
            ("${n:?never}${n?never}", "valuevalue"),
            ("<${e?set}>", "<>"),
        ],
    );
}

#[test]
fn trims_and_replacements() {
    values(
        &site!(),
        &[
            ("${v#/*/}", "foo/b/c.txt"),
            ("${v##/*/}", "c.txt"),
            ("${v%/*}", "/a/foo/b"),
            ("<${v%%/*}>", "<>"),
            ("${x#?}${x%%y*}", "xyyxx"),
            ("${x#z}${x#}", "xxyyxxyy"),
            ("${s%%\\**\\*}", "a"),
            ("${v#[/]}", "/a/foo/b/c.txt"),
            ("${x/x/z}${x//x/z}", "zxyyzzyy"),
            ("${x/x/}${x//y/}", "xyyxx"),
            ("${v//\\//-}", "-a-foo-b-c.txt"),
            ("${v/f?o/$n}", "/a/value/b/c.txt"),
            ("<${u#a}${u/a/b}>", "<>"),
        ],
    );
}

#[test]
fn quotes_and_escapes() {
    values(
        &site!(),
        &[
            ("'$n \"x\" \\$'", "$n \"x\" \\$"),
            ("\"$n \\\" \\$ \\\\ \\x\"", "value \" $ \\ \\x"),
            ("a\\ b\\$n\\\\c", "a b$n\\c"),
            ("\"a\"'b'c", "abc"),
            ("\"${n:-\"q\"}\"", "value"),
        ],
    );
}

#[test]
fn malformed_words() {
    let line = |word: &str| format!("FROM scratch\nENV v=1\nLABEL a={word}\n");
    let rows = [
        refused(
            "a message of one's own",
            line("${u:?gone}"),
            ["u: gone", "Containerfile:3:9"],
        ),
        refused(
            "none of one's own",
            line("${u?}"),
            ["u", "not allowed to be unset", "Containerfile:3:9"],
        ),
        refused(
            "empty is no value with :",
            line("${u:-${v/1/}${v+${e:?gone}}}"),
            ["e: gone"],
        ),
        refused(
            "an operator that there is none",
            line("${v:#x}"),
            [":#", "Containerfile:3:9"],
        ),
        refused(
            "no second /",
            line("${v/x}"),
            ["second /", "Containerfile:3:9"],
        ),
        refused("no }", line("${v"), ["}", "Containerfile:3:9"]),
        refused("no name", line("${}"), ["name", "Containerfile:3:9"]),
        refused(
            "no second quote",
            line("'x"),
            ["quote", "Containerfile:3:9"],
        ),
        refused(
            "an escape of nothing special in a pattern",
            line("${v#\\a}"),
            ["\\a", "Containerfile:3:9"],
        ),
    ];
    check(&site!(), &rows);
}

#[test]
fn where_words_are_expanded() {
    let site = site!();
    site.place.write("one", "1").write("two", "2");
    let rows = [
        builds(
            "COPY and ADD",
            "FROM scratch\nARG f=one\nCOPY $f /$f-x\nADD ${f} /y\n",
            [
                Entry(r#"f 0644 0:0 one-x = "1""#),
                Entry(r#"f 0644 0:0 y = "1""#),
            ],
        ),
        builds(
            "their JSON form",
            "FROM scratch\nARG f=one\nCOPY [\"$f\", \"/x $f\"]\n",
            [Entry(r#"f 0644 0:0 x one = "1""#)],
        ),
        builds(
            "their flags",
            "FROM scratch\nARG o=3:4\nARG m=0600\nARG x=tw*\nCOPY --chown=$o --chmod=$m --exclude=${x} . /d/\n",
            [Entry(r#"f 0600 3:4 d/one = "1""#)],
        ),
        builds(
            "ENV, its names too",
            "FROM scratch\nARG n=NAME\nENV $n=1 x=$n\n",
            [Field(
                "Env",
                r#"["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin","NAME=1","x=NAME"]"#,
            )],
        ),
        builds(
            "EXPOSE, and then it splits",
            "FROM scratch\nARG p=\"80 443/UDP\"\nEXPOSE $p\n",
            [Field("ExposedPorts", r#"{"443/udp":{},"80/tcp":{}}"#)],
        ),
        builds(
            "LABEL, its names too",
            "FROM scratch\nARG n=name\nLABEL $n=$n\n",
            [Field("Labels", r#"{"name":"name"}"#)],
        ),
        builds(
            "STOPSIGNAL",
            "FROM scratch\nARG s=SIGINT\nSTOPSIGNAL $s\n",
            [Field("StopSignal", r#""SIGINT""#)],
        ),
        builds(
            "USER",
            "FROM scratch\nARG u=7 g=8\nUSER $u:$g\n",
            [Field("User", r#""7:8""#)],
        ),
        builds(
            "VOLUME",
            "FROM scratch\nARG d=/v\nVOLUME $d ${d}x\n",
            [Field("Volumes", r#"{"/v":{},"/vx":{}}"#)],
        ),
        builds(
            "WORKDIR",
            "FROM scratch\nARG d=/w\nWORKDIR $d/x\n",
            [Field("WorkingDir", r#""/w/x""#)],
        ),
        builds(
            "FROM and its platform",
            "ARG b=scratch\nARG p=linux/amd64\nFROM --platform=$p ${b}\nLABEL a=1\n",
            [Field("Labels", r#"{"a":"1"}"#)],
        ),
        builds(
            "a trigger's, when it fires",
            "FROM scratch AS a\nENV d=parent\nONBUILD LABEL a=$d\nFROM a\n",
            [Field("Labels", r#"{"a":"parent"}"#)],
        ),
        builds(
            "neither CMD nor ENTRYPOINT nor HEALTHCHECK nor SHELL",
            "FROM scratch\nENV v=1\nSHELL [\"$v\"]\nCMD $v\nENTRYPOINT [\"$v\"]\n",
            [
                Field("Shell", r#"["$v"]"#),
                Field("Cmd", r#"["$v","$v"]"#),
                Field("Entrypoint", r#"["$v"]"#),
            ],
        ),
        refused(
            "not --from, and it says so",
            "FROM scratch AS a\nFROM scratch\nARG a=a\nCOPY --from=$a / /\n",
            ["--from", "Containerfile:4:"],
        ),
        refused(
            "nor a mount's from",
            "FROM scratch\nARG a=a\nRUN --mount=from=$a,target=/x true\n",
            ["from", "Containerfile:3:"],
        ),
    ];
    check(&site, &rows);
}

#[test]
fn one_line_sees_what_was_before_it() {
    let rows = [
        builds(
            "ENV",
            "FROM scratch\nENV a=old\nENV a=1 b=$a\nLABEL a=$a b=$b\n",
            [Field("Labels", r#"{"a":"1","b":"old"}"#)],
        ),
        builds(
            "LABEL",
            "FROM scratch\nENV a=old\nLABEL a=new b=$a\n",
            [Field("Labels", r#"{"a":"new","b":"old"}"#)],
        ),
        builds(
            "the old form takes the whole line",
            "FROM scratch\nENV a one  two $b\nLABEL l=$a\n",
            [Field("Labels", r#"{"l":"one  two "}"#)],
        ),
    ];
    check(&site!(), &rows);
}

#[test]
fn arguments() {
    let stage = "FROM scratch\nARG a=stage\nLABEL l=$a\n";
    let rows = [
        builds(
            "before FROM they name images and other arguments",
            "ARG a=scr b=${a}atch\nFROM $b\nLABEL l=<$b>\n",
            [Field("Labels", r#"{"l":"<>"}"#)],
        ),
        builds(
            "declared again they are imported",
            "ARG a=global\nFROM scratch\nARG a\nLABEL l=$a\n",
            [Field("Labels", r#"{"l":"global"}"#)],
        ),
        builds(
            "a default in the stage comes before",
            format!("ARG a=global\n{stage}"),
            [Field("Labels", r#"{"l":"stage"}"#)],
        ),
        builds(
            "the command line comes before both",
            format!("ARG a=global\n{stage}"),
            [Field("Labels", r#"{"l":"cli"}"#)],
        )
        .with(["--build-arg", "a=cli"]),
        builds(
            "several at once",
            "FROM scratch\nARG a b=1 c=\"2 3\"\nLABEL l=$a$b$c\n",
            [Field("Labels", r#"{"l":"12 3"}"#)],
        ),
        builds(
            "a stage on a stage has its parent's, another has not",
            "FROM scratch AS p\nARG a=1\nFROM p AS c\nLABEL l=<$a>\nFROM scratch\nLABEL m=<$a>\nCOPY --from=c / /\n",
            [Field("Labels", r#"{"m":"<>"}"#)],
        ),
        builds(
            "inherited",
            "FROM scratch AS p\nARG a=1\nFROM p\nLABEL l=<$a>\n",
            [Field("Labels", r#"{"l":"<1>"}"#)],
        ),
        builds(
            "ENV beats ARG before it",
            "FROM scratch\nENV a=env\nARG a=arg\nLABEL l=$a\n",
            [Field("Labels", r#"{"l":"env"}"#)],
        )
        .with(["--build-arg", "a=cli"]),
        builds(
            "ENV beats ARG after it",
            "FROM scratch\nARG a=arg\nENV a=env\nLABEL l=$a\n",
            [Field("Labels", r#"{"l":"env"}"#)],
        ),
        builds(
            "never in the image",
            "FROM scratch\nARG a=1\nENV b=2\n",
            [Field(
                "Env",
                r#"["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin","b=2"]"#,
            )],
        ),
        builds(
            "an undeclared one only warns",
            "FROM scratch\n",
            [Warns("no ARG declares --build-arg typo")],
        )
        .with(["--build-arg", "typo=1"]),
        builds(
            "those of BuildKit are accepted",
            "FROM scratch\n",
            [Warns("built"), Silent("no ARG declares")],
        )
        .with([
            "--build-arg",
            "BUILDKIT_INLINE_CACHE=1",
            "--build-arg",
            "BUILDKIT_MULTI_PLATFORM=0",
            "--build-arg",
            "BUILDKIT_SYNTAX=x/y:1",
            "--build-arg",
            "BUILDKIT_CACHE_MOUNT_NS=n",
        ]),
        builds(
            "platforms are imported by name",
            "FROM scratch\nARG TARGETOS TARGETSTAGE BUILDPLATFORM\nLABEL l=<$TARGETARCH> os=$TARGETOS stage=$TARGETSTAGE\n",
            [Field(
                "Labels",
                r#"{"l":"<>","os":"linux","stage":"default"}"#,
            )],
        ),
        builds(
            "and overridden",
            "FROM scratch\nARG TARGETARCH\nLABEL l=$TARGETARCH\n",
            [Field("Labels", r#"{"l":"mine"}"#)],
        )
        .with(["--build-arg", "TARGETARCH=mine"]),
        refused(
            "a name without one",
            "FROM scratch\nARG =1\n",
            ["ARG has a value without a name", "Containerfile:2:5"],
        ),
    ];
    check(&site!(), &rows);
}

#[test]
fn arguments_of_run() {
    let rows = [
        builds(
            "are its environment",
            "FROM busybox\nARG a=1 b\nENV c=3\nRUN echo $a-${b-unset}-$c\n",
            [Said("1-unset-3")],
        ),
        builds(
            "positional ones are the shell's",
            "FROM busybox\nRUN set -- x y; echo \"$# $1 ${2#y}\"\n",
            [Said("2 x ")],
        ),
        builds(
            "proxies are visible without ARG, and nowhere in the image",
            "FROM busybox\nRUN echo $HTTP_PROXY $no_proxy $all_proxy\nLABEL l=<$HTTP_PROXY>\n",
            [
                Said("http://p:1 none socks5://q"),
                Field("Labels", r#"{"l":"<>"}"#),
            ],
        )
        .with([
            "--build-arg",
            "HTTP_PROXY=http://p:1",
            "--build-arg",
            "no_proxy=none",
            "--build-arg",
            "all_proxy=socks5://q",
        ]),
    ];
    check(&site!(run), &rows);
}

#[test]
fn proxies_are_in_history_and_key_only_when_declared() {
    let site = site!(run);
    let proxy = |value: &'static str| ["--build-arg", value];
    let history = |built: &crate::build_oracle::Built| built.config["history"].to_string();
    let file = "FROM busybox\nRUN true\n";
    let first = site.build(file, &proxy("HTTP_PROXY=http://p:1"));
    assert!(!history(&first).contains("p:1"), "{}", first.config);
    let second = site.build(file, &proxy("HTTP_PROXY=http://p:2"));
    assert_eq!(second.cached(), 1, "{}", second.stderr);
    let file = "FROM busybox\nARG HTTP_PROXY\nRUN true\n";
    let declared = site.build(file, &proxy("HTTP_PROXY=http://p:1"));
    assert!(history(&declared).contains("p:1"), "{}", declared.config);
    assert_eq!(
        site.build(file, &proxy("HTTP_PROXY=http://p:2")).cached(),
        0
    );
}
