//! Table 1.3 of the Containerfile reference, the instructions, row by row. The invariant: what an instruction does is read from
//! the image's configuration and layers, or from what a RUN printed.

use crate::language::Is::{Entry, Field, NoEntry, Said, Warns};
use crate::language::{builds, check, refused};

#[test]
fn from() {
    let site = site!();
    site.place.write("one", "1");
    let rows = [
        builds(
            "names are found in any case",
            "FROM scratch AS Base\nCOPY one /\nFROM BASE\n",
            [
                Entry(r#"f 0644 0:0 one = "1""#),
                Warns("should be lower case"),
            ],
        ),
        refused(
            "names are names",
            "FROM scratch AS 1x\n",
            ["invalid name for a build stage", "Containerfile:1:17"],
        ),
        refused(
            "nor do they hold variables",
            "FROM scratch AS $x\n",
            ["invalid name for a build stage"],
        ),
        refused(
            "a base that is blank",
            "ARG x\nFROM $x\n",
            ["blank after expansion", "Containerfile:2:6"],
        ),
        refused(
            "nothing at all",
            "FROM\n",
            ["FROM takes an image", "Containerfile:1:1"],
        ),
        refused(
            "too much",
            "FROM scratch AS a b\n",
            ["FROM takes an image", "Containerfile:1:6"],
        ),
        refused(
            "only ARG stands before",
            "LABEL a=1\nFROM scratch\n",
            ["LABEL before the first FROM", "Containerfile:1:1"],
        ),
        refused("no FROM", "ARG a=1\n", ["no FROM"]),
        refused("an empty file", "", ["no instructions"]),
        refused("comments only", "# nothing\n", ["no instructions"]),
        builds(
            "a stage comes before an image of that name",
            "FROM scratch AS shadow.invalid\nCOPY one /\nFROM shadow.invalid\n",
            [Entry(r#"f 0644 0:0 one = "1""#)],
        ),
        builds(
            "a stage that is not needed is not built",
            "FROM no.such.registry.invalid/image AS unused\nFROM scratch\nLABEL a=1\n",
            [Field("Labels", r#"{"a":"1"}"#)],
        ),
        builds(
            "the same name twice means the last",
            "FROM scratch AS a\nFROM scratch AS a\nCOPY one /\nFROM a\n",
            [
                Entry(r#"f 0644 0:0 one = "1""#),
                Warns("duplicate stage name"),
            ],
        ),
        refused(
            "a stage comes before the one that starts from it",
            "FROM scratch\nCOPY --from=later / /\nFROM scratch AS later\nCOPY --from=0 / /\n",
            ["Containerfile:"],
        ),
        builds(
            "--target in any case",
            "FROM scratch AS first\nLABEL a=1\nFROM scratch\nLABEL a=2\n",
            [Field("Labels", r#"{"a":"1"}"#)],
        )
        .with(["--target", "FIRST"]),
    ];
    check(&site, &rows);
}

#[test]
fn env_and_label() {
    let rows = [
        builds(
            "many",
            "FROM scratch\nLABEL a=1 b=\"2 3\" c=4\\ 5\n",
            [Field("Labels", r#"{"a":"1","b":"2 3","c":"4 5"}"#)],
        ),
        builds(
            "the old form",
            "FROM scratch\nLABEL a 1 2=3\n",
            [
                Field("Labels", r#"{"a":"1 2=3"}"#),
                Warns("LABEL name=value should be used"),
            ],
        ),
        builds(
            "a repeated name keeps its place with the last value",
            "FROM scratch\nENV PATH=/p a=1 b=2\nENV a=3\n",
            [Field("Env", r#"["PATH=/p","a=3","b=2"]"#)],
        ),
        refused(
            "no name",
            "FROM scratch\nENV =1\n",
            ["without a name", "Containerfile:2:5"],
        ),
        refused(
            "a name that expands to nothing",
            "FROM scratch\nENV $none=1\n",
            ["blank", "Containerfile:2:5"],
        ),
        refused(
            "nothing",
            "FROM scratch\nENV\n",
            ["ENV needs at least one argument", "Containerfile:2:1"],
        ),
        refused(
            "a name alone",
            "FROM scratch\nENV a\n",
            [
                "ENV a has no value",
                "write ENV a=value",
                "Containerfile:2:5",
            ],
        ),
        refused(
            "a pair and a name",
            "FROM scratch\nENV a=1 b\n",
            ["has no `=`", "Containerfile:2:9"],
        ),
        builds(
            "empty values",
            "FROM scratch\nLABEL a= b=\"\"\n",
            [Field("Labels", r#"{"a":"","b":""}"#)],
        ),
        builds(
            "scratch has a PATH",
            "FROM scratch\nLABEL a=1\n",
            [Field(
                "Env",
                r#"["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]"#,
            )],
        ),
    ];
    check(&site!(), &rows);
}

#[test]
fn workdir() {
    let rows = [
        builds(
            "relative to the one before, clean, its end slash gone",
            "FROM scratch\nWORKDIR /a/\nWORKDIR b/../c//\n",
            [
                Field("WorkingDir", r#""/a/c""#),
                Entry("d 0755 0:0 a/c"),
                NoEntry("a/b"),
            ],
        ),
        builds(
            "made as the user in effect",
            "FROM scratch\nUSER 7:8\nWORKDIR /w/x/\n",
            [Entry("d 0755 7:8 w"), Entry("d 0755 7:8 w/x")],
        ),
        builds(
            "an existing one stays",
            "FROM scratch\nCOPY --chmod=0700 --chown=3 <<f /w/f\n1\nf\nUSER 7\nWORKDIR /w\n",
            [Entry("d 0755 3:3 w"), NoEntry("d 0755 7")],
        ),
        builds(
            "/ makes nothing",
            "FROM scratch\nWORKDIR /\n",
            [Field("WorkingDir", r#""/""#), NoEntry(" ")],
        ),
        builds(
            "the rest of the line is the path",
            "FROM scratch\nWORKDIR /a b\n",
            [Field("WorkingDir", r#""/a b""#)],
        ),
        refused(
            "none",
            "FROM scratch\nWORKDIR\n",
            ["WORKDIR needs exactly one argument", "Containerfile:2:1"],
        ),
        builds(
            "COPY starts there",
            "FROM scratch\nWORKDIR /w\nCOPY <<f .\n1\nf\n",
            [Entry(r#"f 0644 0:0 w/f = "1\n""#)],
        ),
    ];
    check(&site!(), &rows);
}

#[test]
fn user() {
    let rows = [
        builds(
            "kept as it is written",
            "FROM scratch\nUSER 65532:0100\n",
            [Field("User", r#""65532:0100""#)],
        ),
        builds(
            "also a name",
            "FROM scratch\nUSER nobody\n",
            [Field("User", r#""nobody""#)],
        ),
        builds(
            "the last one counts",
            "FROM scratch\nUSER 1\nUSER 2\n",
            [Field("User", r#""2""#)],
        ),
        refused(
            "none",
            "FROM scratch\nUSER\n",
            ["USER needs exactly one argument", "Containerfile:2:1"],
        ),
        builds(
            "one that expands to nothing is none",
            "FROM scratch\nUSER $none\n",
            [Field("User", "null")],
        ),
    ];
    check(&site!(), &rows);
}

#[test]
fn user_of_run() {
    const ACCOUNTS: &str = "FROM busybox\nRUN echo 'app:x:1000:1001::/home/app:/bin/sh' >>/etc/passwd && \\\n echo 'extra:x:2000:app' >>/etc/group\n";
    let run =
        |user: &str| format!("{ACCOUNTS}USER {user}\nRUN echo $(id -u):$(id -g):$(id -G):$HOME\n");
    let rows = [
        builds(
            "a name has its ids, groups and home",
            run("app"),
            [Said("1000:1001:1001 2000:/home/app")],
        ),
        builds(
            "its number has them too",
            run("1000"),
            [Said("1000:1001:1001 2000:/home/app")],
        ),
        builds(
            "with a group it has that alone",
            run("app:extra"),
            [Said("1000:2000:2000:/home/app")],
        ),
        builds(
            "by number too",
            run("app:3000"),
            [Said("1000:3000:3000:/home/app")],
        ),
        builds(
            "a number that nobody has",
            run("4242"),
            [Said("4242:0:0:/")],
        ),
        builds(
            "with a group that nobody has",
            run("4242:4343"),
            [Said("4242:4343:4343:/")],
        ),
        refused(
            "a name that nobody has",
            run("ghost"),
            ["ghost", "Containerfile:"],
        ),
        refused(
            "a group that nobody has",
            run("app:ghost"),
            ["ghost", "Containerfile:"],
        ),
    ];
    check(&site!(ids), &rows);
}

#[test]
fn expose() {
    let rows = [
        builds(
            "ports, ranges and protocols",
            "FROM scratch\nEXPOSE 80 443/TCP 1000-1002/Udp 53/sctp\n",
            [Field(
                "ExposedPorts",
                r#"{"1000/udp":{},"1001/udp":{},"1002/udp":{},"443/tcp":{},"53/sctp":{},"80/tcp":{}}"#,
            )],
        ),
        refused(
            "an address of the host",
            "FROM scratch\nEXPOSE 127.0.0.1:80:80\n",
            ["127.0.0.1:80:80", "Containerfile:2:8"],
        ),
        refused(
            "a port of the host",
            "FROM scratch\nEXPOSE 80:80\n",
            ["80:80", "Containerfile:2:8"],
        ),
        refused(
            "no port",
            "FROM scratch\nEXPOSE http\n",
            ["http", "Containerfile:2:8"],
        ),
        refused(
            "too large",
            "FROM scratch\nEXPOSE 65536\n",
            ["65536", "Containerfile:2:8"],
        ),
        refused(
            "backwards",
            "FROM scratch\nEXPOSE 90-80\n",
            ["90-80", "Containerfile:2:8"],
        ),
        refused(
            "a protocol that there is none",
            "FROM scratch\nEXPOSE 80/xyz\n",
            ["80/xyz", "Containerfile:2:8"],
        ),
        refused(
            "none",
            "FROM scratch\nEXPOSE\n",
            ["EXPOSE needs at least one argument"],
        ),
    ];
    check(&site!(), &rows);
}

#[test]
fn volume() {
    let rows = [
        builds(
            "words and JSON",
            "FROM scratch\nVOLUME /a /b\nVOLUME [\"/c d\"]\n",
            [Field("Volumes", r#"{"/a":{},"/b":{},"/c d":{}}"#)],
        ),
        builds(
            "what is written later stays",
            "FROM scratch\nVOLUME /v\nCOPY <<f /v/\n1\nf\n",
            [Entry(r#"f 0644 0:0 v/f = "1\n""#)],
        ),
        refused(
            "an empty path",
            "FROM scratch\nVOLUME [\"\"]\n",
            ["empty path", "Containerfile:2:9"],
        ),
        refused(
            "one that expands to nothing",
            "FROM scratch\nVOLUME $none\n",
            ["blank", "Containerfile:2:8"],
        ),
        refused(
            "none",
            "FROM scratch\nVOLUME\n",
            ["VOLUME needs at least one argument"],
        ),
    ];
    check(&site!(), &rows);
}

#[test]
fn writes_of_run_below_a_volume_stay() {
    let file = "FROM busybox\nVOLUME /v\nRUN mkdir /v && echo 1 >/v/f\n";
    check(
        &site!(run),
        &[builds(
            "later writes",
            file,
            [Entry(r#"f 0644 0:0 v/f = "1\n""#)],
        )],
    );
}

#[test]
fn cmd_and_entrypoint() {
    let rows = [
        builds(
            "shell form",
            "FROM scratch\nCMD a  $b\nENTRYPOINT c d\n",
            [
                Field("Cmd", r#"["/bin/sh","-c","a  $b"]"#),
                Field("Entrypoint", r#"["/bin/sh","-c","c d"]"#),
            ],
        ),
        builds(
            "the last one wins",
            "FROM scratch\nCMD a\nCMD [\"b\"]\nENTRYPOINT a\nENTRYPOINT [\"c\"]\n",
            [Field("Cmd", r#"["b"]"#), Field("Entrypoint", r#"["c"]"#)],
        ),
        builds(
            "ENTRYPOINT clears a CMD of the base",
            "FROM scratch AS a\nCMD [\"x\"]\nFROM a\nENTRYPOINT [\"y\"]\n",
            [Field("Cmd", "null")],
        ),
        builds(
            "and not its own",
            "FROM scratch AS a\nCMD [\"x\"]\nFROM a\nCMD [\"z\"]\nENTRYPOINT [\"y\"]\n",
            [Field("Cmd", r#"["z"]"#)],
        ),
        builds(
            "also after it",
            "FROM scratch AS a\nCMD [\"x\"]\nFROM a\nENTRYPOINT [\"y\"]\nCMD [\"z\"]\n",
            [Field("Cmd", r#"["z"]"#)],
        ),
        builds(
            "CMD leaves the base's ENTRYPOINT",
            "FROM scratch AS a\nENTRYPOINT [\"y\"]\nFROM a\nCMD [\"z\"]\n",
            [Field("Entrypoint", r#"["y"]"#)],
        ),
    ];
    check(&site!(), &rows);
}

#[test]
fn shell() {
    let rows = [
        builds(
            "changes the commands after it",
            "FROM scratch\nCMD a\nSHELL [\"/s\", \"-x\"]\nENTRYPOINT b\nHEALTHCHECK CMD c\n",
            [
                Field("Cmd", r#"["/bin/sh","-c","a"]"#),
                Field("Entrypoint", r#"["/s","-x","b"]"#),
                Field("Shell", r#"["/s","-x"]"#),
            ],
        ),
        builds(
            "of the base",
            "FROM scratch AS a\nSHELL [\"/s\"]\nFROM a\nCMD x\n",
            [Field("Cmd", r#"["/s","x"]"#)],
        ),
        refused(
            "JSON only",
            "FROM scratch\nSHELL /bin/sh -c\n",
            ["SHELL needs an array in JSON form", "Containerfile:2:7"],
        ),
        refused(
            "not empty",
            "FROM scratch\nSHELL []\n",
            ["SHELL needs at least one element", "Containerfile:2:7"],
        ),
    ];
    check(&site!(), &rows);
}

#[test]
fn healthcheck() {
    let rows = [
        builds(
            "all options",
            "FROM scratch\nHEALTHCHECK --interval=1m30s --timeout=500ms --start-period=2s --start-interval=1s --retries=4 CMD [\"/c\"]\n",
            [Field(
                "Healthcheck",
                r#"{"Interval":90000000000,"Retries":4,"StartInterval":1000000000,"StartPeriod":2000000000,"Test":["CMD","/c"],"Timeout":500000000}"#,
            )],
        ),
        builds(
            "shell form",
            "FROM scratch\nHEALTHCHECK CMD a  b\n",
            [Field("Healthcheck", r#"{"Test":["CMD-SHELL","a  b"]}"#)],
        ),
        builds(
            "NONE",
            "FROM scratch\nHEALTHCHECK none\n",
            [Field("Healthcheck", r#"{"Test":["NONE"]}"#)],
        ),
        builds(
            "zero is the engine's default",
            "FROM scratch\nHEALTHCHECK --interval=0 --retries=0 CMD a\n",
            [Field("Healthcheck", r#"{"Test":["CMD-SHELL","a"]}"#)],
        ),
        builds(
            "the last one wins",
            "FROM scratch\nHEALTHCHECK CMD a\nHEALTHCHECK CMD b\n",
            [Field("Healthcheck", r#"{"Test":["CMD-SHELL","b"]}"#)],
        ),
        refused(
            "less than a millisecond",
            "FROM scratch\nHEALTHCHECK --interval=999us CMD a\n",
            ["--interval is 0 or at least 1ms", "Containerfile:2:"],
        ),
        refused(
            "no duration",
            "FROM scratch\nHEALTHCHECK --timeout=5 CMD a\n",
            ["--timeout is a duration", "Containerfile:2:"],
        ),
        refused(
            "a negative duration",
            "FROM scratch\nHEALTHCHECK --timeout=-5s CMD a\n",
            ["--timeout is a duration"],
        ),
        refused(
            "negative retries",
            "FROM scratch\nHEALTHCHECK --retries=-1 CMD a\n",
            ["--retries is a count of 0 or more", "Containerfile:2:"],
        ),
        refused(
            "NONE and more",
            "FROM scratch\nHEALTHCHECK NONE a\n",
            ["HEALTHCHECK NONE takes no arguments", "Containerfile:2:18"],
        ),
        refused(
            "NONE and an option",
            "FROM scratch\nHEALTHCHECK --retries=1 NONE\n",
            ["--retries", "Containerfile:2:"],
        ),
        refused(
            "something else",
            "FROM scratch\nHEALTHCHECK MAYBE a\n",
            ["CMD and NONE", "Containerfile:2:"],
        ),
        refused(
            "no command",
            "FROM scratch\nHEALTHCHECK CMD\n",
            ["HEALTHCHECK CMD has no command", "Containerfile:2:13"],
        ),
    ];
    check(&site!(), &rows);
}

#[test]
fn stopsignal() {
    let stop = |signal: &str| format!("FROM scratch\nSTOPSIGNAL {signal}\n");
    let rows = [
        builds(
            "a name",
            stop("SIGQUIT"),
            [Field("StopSignal", r#""SIGQUIT""#)],
        ),
        builds(
            "without SIG",
            stop("HUP"),
            [Field("StopSignal", r#""HUP""#)],
        ),
        builds("a number", stop("9"), [Field("StopSignal", r#""9""#)]),
        builds(
            "one of real time",
            stop("SIGRTMIN+3"),
            [Field("StopSignal", r#""SIGRTMIN+3""#)],
        ),
        refused(
            "no signal",
            stop("SIGNOPE"),
            ["SIGNOPE", "Containerfile:2:12"],
        ),
        refused("no number of one", stop("65"), ["65", "Containerfile:2:12"]),
        refused("zero", stop("0"), ["0", "Containerfile:2:12"]),
        refused(
            "none",
            "FROM scratch\nSTOPSIGNAL\n",
            ["STOPSIGNAL needs exactly one argument"],
        ),
    ];
    check(&site!(), &rows);
}

#[test]
fn onbuild() {
    let site = site!();
    site.place.write("one", "1");
    let rows = [
        builds(
            "kept in the image as written",
            "FROM scratch\nONBUILD  COPY   one /\nONBUILD LABEL a=$b\n",
            [Field("OnBuild", r#"["COPY   one /","LABEL a=$b"]"#)],
        ),
        builds(
            "fires right after FROM, in order, and is gone",
            "FROM scratch AS a\nONBUILD LABEL x=1 y=1\nONBUILD LABEL y=2\nFROM a\nLABEL z=$none\n",
            [
                Field("Labels", r#"{"x":"1","y":"2","z":""}"#),
                Field("OnBuild", "null"),
            ],
        ),
        builds(
            "not in the stage itself",
            "FROM scratch\nONBUILD LABEL a=1\n",
            [Field("Labels", "null")],
        ),
        builds(
            "nor in a grandchild",
            "FROM scratch AS a\nONBUILD ENV a=1\nFROM a AS b\nFROM b\nLABEL l=$a\n",
            [Field("Labels", r#"{"l":"1"}"#), Field("OnBuild", "null")],
        ),
        builds(
            "may copy from a stage",
            "FROM scratch AS files\nCOPY one /\nFROM scratch AS a\nONBUILD COPY --from=files /one /two\nFROM a\n",
            [Entry(r#"f 0644 0:0 two = "1""#)],
        ),
        refused(
            "no ONBUILD in it",
            "FROM scratch\nONBUILD ONBUILD RUN x\n",
            ["ONBUILD cannot be a trigger", "Containerfile:2:9"],
        ),
        refused(
            "no FROM in it",
            "FROM scratch\nONBUILD FROM x\n",
            ["FROM cannot be a trigger", "Containerfile:2:9"],
        ),
        refused(
            "no MAINTAINER in it",
            "FROM scratch\nONBUILD MAINTAINER x\n",
            ["MAINTAINER cannot be a trigger", "Containerfile:2:9"],
        ),
        refused(
            "nothing in it",
            "FROM scratch\nONBUILD\n",
            ["ONBUILD needs an instruction", "Containerfile:2:1"],
        ),
    ];
    check(&site, &rows);
}

#[test]
fn maintainer() {
    let site = site!();
    let built = site.build("FROM scratch\nMAINTAINER Ada <ada@example.org>\n", &[]);
    assert_eq!(built.config["author"], "Ada <ada@example.org>");
    assert!(
        built.stderr.contains("MAINTAINER is deprecated"),
        "{}",
        built.stderr
    );
    check(
        &site,
        &[refused(
            "nobody",
            "FROM scratch\nMAINTAINER\n",
            ["MAINTAINER needs exactly one argument"],
        )],
    );
}

#[test]
fn run() {
    let rows = [
        builds(
            "ENTRYPOINT has no part in it",
            "FROM busybox\nENTRYPOINT [\"/no\"]\nRUN echo shell\nRUN [\"echo\", \"exec\"]\n",
            [Said("shell"), Said("exec")],
        ),
        builds(
            "nothing comes in",
            "FROM busybox\nRUN cat; echo end\n",
            [Said("end")],
        ),
        builds(
            "the shell sees quotes and variables as written",
            "FROM busybox\nENV a=1\nRUN echo \"$a\" '$a' \\$a\n",
            [Said("1 $a $a")],
        ),
        builds(
            "exec form expands nothing",
            "FROM busybox\nENV a=1\nRUN [\"echo\", \"$a\"]\n",
            [Said("$a")],
        ),
        refused(
            "its exit code is shown",
            "FROM busybox\nRUN exit 42\n",
            ["exit code 42", "Containerfile:2:1"],
        ),
        builds(
            "injected files leave nothing",
            "FROM busybox\nRUN rm -f /etc/hosts /etc/resolv.conf; cat /etc/hosts /etc/resolv.conf /etc/hostname >/dev/null; true\n",
            [
                NoEntry("resolv.conf"),
                NoEntry("hosts"),
                NoEntry("hostname"),
            ],
        ),
        builds(
            "a program alone in scratch",
            "FROM scratch\nCOPY --from=busybox /bin/busybox /busybox\nRUN [\"/busybox\", \"echo\", \"alone\"]\n",
            [Said("alone"), NoEntry("etc")],
        ),
        refused(
            "a shell that is missing is named",
            "FROM scratch\nRUN true\n",
            ["/bin/sh", "Containerfile:2:1"],
        ),
    ];
    check(&site!(run), &rows);
}
