//! Table 1.4 of the Containerfile reference, COPY, row by row: sources, destinations, owners, modes and flags. The invariant: what is
//! copied is read from the layer, by Python.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use crate::build_oracle::Site;
use crate::language::Is::{Entry, NoEntry, Warns};
use crate::language::{builds, check, refused};

/// A context with files, links, and names that are patterns.
fn filled(site: &Site) {
    site.place
        .write("d/a.txt", "a")
        .write("d/sub/b.txt", "b")
        .write("d/sub/c.md", "c")
        .write("one", "1")
        .write("two", "2")
        .write(".hidden", "h")
        .write("[odd]", "o")
        .write("a*b", "s")
        .write("github.com/a/b", "g");
    let context = site.place.context();
    for (target, name) in [
        ("d", "to-d"),
        ("one", "to-one"),
        ("nowhere", "dangling"),
        ("../one", "d/up"),
    ] {
        symlink(target, context.join(name)).expect("a link");
    }
    for (name, mode) in [("d", 0o750), ("d/sub", 0o711), ("one", 0o640)] {
        fs::set_permissions(context.join(name), fs::Permissions::from_mode(mode)).expect("a mode");
    }
}

#[test]
fn sources() {
    let site = site!();
    filled(&site);
    let rows = [
        builds(
            "`..` and a leading slash stay in the context",
            "FROM scratch\nCOPY ../../one /../d/a.txt /d/sub/../../two /x/\n",
            [
                Entry(r#"f 0640 0:0 x/one = "1""#),
                Entry(r#"f 0644 0:0 x/a.txt = "a""#),
                Entry(r#"f 0644 0:0 x/two = "2""#),
            ],
        ),
        builds(
            "a slash at the end says nothing",
            "FROM scratch\nCOPY one/ /x\nCOPY d/ /y\n",
            [
                Entry(r#"f 0640 0:0 x = "1""#),
                Entry(r#"f 0644 0:0 y/a.txt = "a""#),
            ],
        ),
        builds(
            "a directory is its contents, and nested links are links",
            "FROM scratch\nCOPY d /x\n",
            [
                Entry("d 0755 0:0 x"),
                Entry("d 0711 0:0 x/sub"),
                Entry("l 0777 0:0 x/up -> ../one"),
                NoEntry("x/d"),
            ],
        ),
        builds(
            "a link that is named is followed, at the end and on the way",
            "FROM scratch\nCOPY to-one /x\nCOPY to-d/sub/b.txt to-d/up /y/\n",
            [
                Entry(r#"f 0640 0:0 x = "1""#),
                Entry(r#"f 0644 0:0 y/b.txt = "b""#),
                Entry(r#"f 0640 0:0 y/up = "1""#),
            ],
        ),
        refused(
            "a link to nothing",
            "FROM scratch\nCOPY dangling /x\n",
            ["find '/dangling'", "Containerfile:2:"],
        ),
        builds(
            "`*` and `?` match within a component, hidden names too",
            "FROM scratch\nCOPY d/*/?.* *idde* /x/\n",
            [
                Entry(r#"f 0644 0:0 x/b.txt = "b""#),
                Entry(r#"f 0644 0:0 x/c.md = "c""#),
                Entry(r#"f 0644 0:0 x/.hidden = "h""#),
            ],
        ),
        builds(
            "classes, and classes turned round",
            "FROM scratch\nCOPY d/s[t-v]b/[^c-z]* [[]odd] /x/\n",
            [
                Entry(r#"f 0644 0:0 x/b.txt = "b""#),
                Entry(r#"f 0644 0:0 x/[odd] = "o""#),
                NoEntry("c.md"),
            ],
        ),
        builds(
            "an exclamation mark in a class is only itself",
            "FROM scratch\nCOPY [!o]ne one /x/\n",
            [Entry(r#"f 0640 0:0 x/one = "1""#)],
        ),
        builds(
            "`**` is no more than `*`",
            "FROM scratch\nCOPY **/b.txt one /x/\nCOPY d/**/c.md /y/\n",
            [NoEntry("x/b.txt"), Entry(r#"f 0644 0:0 y/c.md = "c""#)],
        ),
        builds(
            "a pattern may match nothing, even alone",
            "FROM scratch\nCOPY no-such-* /x/\n",
            [NoEntry("no-such")],
        ),
        refused(
            "a name may not",
            "FROM scratch\nCOPY two oen /x/\n",
            ["find '/oen'", "did you mean '/one'?", "Containerfile:2:"],
        ),
        refused(
            "half a class is no pattern",
            "FROM scratch\nCOPY one d/[a /x/\n",
            ["is no pattern", "Containerfile:2:10"],
        ),
        refused(
            "a source below a file",
            "FROM scratch\nCOPY one/x /x\n",
            ["find '/one/x'", "Containerfile:2:"],
        ),
        refused(
            "COPY fetches nothing",
            "FROM scratch\nCOPY https://localhost/x /x\n",
            ["COPY cannot fetch", "ADD can", "Containerfile:2:6"],
        ),
        builds(
            "what could be a directory is one",
            "FROM scratch\nCOPY github.com/a /x/\nADD github.com/a /y/\n",
            [
                Entry(r#"f 0644 0:0 x/b = "g""#),
                Entry(r#"f 0644 0:0 y/b = "g""#),
            ],
        ),
        refused(
            "from no repository either",
            "FROM scratch\nCOPY https://localhost/x.git#main /x\n",
            ["COPY cannot fetch", "ADD can", "Containerfile:2:6"],
        ),
    ];
    check(&site, &rows);
}

#[test]
fn destinations() {
    let site = site!();
    filled(&site);
    let rows = [
        builds(
            "a name, a directory, and one that is there",
            "FROM scratch\nCOPY one /a/b\nCOPY one /c/\nCOPY two /c\nCOPY one /e/.\n",
            [
                Entry(r#"f 0640 0:0 a/b = "1""#),
                Entry(r#"f 0640 0:0 c/one = "1""#),
                Entry(r#"f 0644 0:0 c/two = "2""#),
                Entry(r#"f 0640 0:0 e/one = "1""#),
            ],
        ),
        builds(
            "from the working directory",
            "FROM scratch\nWORKDIR /w/v\nCOPY one .\nCOPY one ./n/\nCOPY one ../up\nCOPY one m\n",
            [
                Entry(r#"f 0640 0:0 w/v/one = "1""#),
                Entry(r#"f 0640 0:0 w/v/n/one = "1""#),
                Entry(r#"f 0640 0:0 w/up = "1""#),
                Entry(r#"f 0640 0:0 w/v/m = "1""#),
            ],
        ),
        builds(
            "its parents are made, 0755",
            "FROM scratch\nCOPY one /p/q/r\n",
            [Entry("d 0755 0:0 p"), Entry("d 0755 0:0 p/q")],
        ),
        builds(
            "they belong to --chown",
            "FROM scratch\nCOPY --chown=7:8 one /p/q/r\n",
            [
                Entry("d 0755 7:8 p"),
                Entry("d 0755 7:8 p/q"),
                Entry(r#"f 0640 7:8 p/q/r = "1""#),
            ],
        ),
        refused(
            "several sources need a directory",
            "FROM scratch\nCOPY one two /x\n",
            [
                "it must be a directory and end with '/'",
                "Containerfile:2:",
            ],
        ),
        refused(
            "and so does a pattern with several",
            "FROM scratch\nCOPY [ot][nw][eo] /x\n",
            [
                "it must be a directory and end with '/'",
                "Containerfile:2:",
            ],
        ),
        builds(
            "a file becomes its directory's by a slash",
            "FROM scratch\nCOPY two /x\nCOPY one /x\n",
            [Entry(r#"f 0640 0:0 x = "1""#)],
        ),
        refused(
            "but no directory",
            "FROM scratch\nCOPY two /x\nCOPY one /x/\n",
            ["a file is there", "Containerfile:3:"],
        ),
        refused(
            "nor the parent of one",
            "FROM scratch\nCOPY two /x\nCOPY one /x/y\n",
            ["Containerfile:3:", "x"],
        ),
        builds(
            "an existing directory stays as it is",
            "FROM scratch\nCOPY --chown=5:6 --chmod=0705 d/sub/ /x/sub/\nCOPY --chmod=0444 d /x\n",
            [Entry("d 0755 5:6 x"), Entry("d 0444 0:0 x/sub")],
        ),
    ];
    check(&site, &rows);
}

#[test]
fn owners() {
    let site = site!();
    filled(&site);
    site.place
        .write("etc/passwd", "app:x:1000:2000::/:/bin/sh\n");
    site.place.write("etc/group", "grp:x:3000:\n");
    let rows = [
        builds(
            "of a context they are root's, whoever builds",
            "FROM scratch\nCOPY one d /x/\n",
            [
                Entry(r#"f 0640 0:0 x/one = "1""#),
                Entry("l 0777 0:0 x/up -> ../one"),
            ],
        ),
        builds(
            "numbers need no accounts; one number is both",
            "FROM scratch\nCOPY --chown=70000:4000000000 one /a\nCOPY --chown=9 one /b\n",
            [
                Entry(r#"f 0640 70000:4000000000 a = "1""#),
                Entry(r#"f 0640 9:9 b = "1""#),
            ],
        ),
        builds(
            "names are those of the image, and a name alone has its own group",
            "FROM scratch\nCOPY etc /etc\nCOPY --chown=app:grp one /a\nCOPY --chown=app one /b\nCOPY --chown=8:grp one /c\n",
            [
                Entry(r#"f 0640 1000:3000 a = "1""#),
                Entry(r#"f 0640 1000:2000 b = "1""#),
                Entry(r#"f 0640 8:3000 c = "1""#),
            ],
        ),
        refused(
            "a name that the image does not know",
            "FROM scratch\nCOPY etc /etc\nCOPY --chown=nobody one /a\n",
            ["nobody", "Containerfile:3:"],
        ),
        refused(
            "a group that the image does not know",
            "FROM scratch\nCOPY etc /etc\nCOPY --chown=app:app one /a\n",
            ["app", "Containerfile:3:"],
        ),
        refused(
            "no accounts at all",
            "FROM scratch\nCOPY --chown=app one /a\n",
            ["app", "Containerfile:2:"],
        ),
        refused(
            "a number that is none",
            "FROM scratch\nCOPY --chown=4294967295 one /a\n",
            ["4294967295", "Containerfile:2:"],
        ),
        builds(
            "a variable",
            "FROM scratch\nARG U=3 G=4\nCOPY --chown=${U}:${G} one /a\n",
            [Entry(r#"f 0640 3:4 a = "1""#)],
        ),
        builds(
            "of a stage they are kept; a new directory is root's",
            "FROM scratch AS a\nCOPY --chown=5:6 d /from/d\nFROM scratch\nCOPY --from=a /from /to/new\nCOPY --from=0 --chown=7 /from /other\n",
            [
                Entry("d 0755 0:0 to"),
                Entry("d 0755 0:0 to/new"),
                Entry(r#"f 0644 5:6 to/new/d/a.txt = "a""#),
                Entry("l 0777 5:6 to/new/d/up -> ../one"),
                Entry(r#"f 0644 7:7 other/d/a.txt = "a""#),
            ],
        ),
    ];
    check(&site, &rows);
}

#[test]
fn modes() {
    let site = site!();
    filled(&site);
    site.place.write_program("tool", "t");
    let rows = [
        builds(
            "octal, up to 7777, for directories too",
            "FROM scratch\nCOPY --chmod=7777 one /a\nCOPY --chmod=0 one /b\nCOPY --chmod=505 d /x\n",
            [
                Entry(r#"f 7777 0:0 a = "1""#),
                Entry(r#"f 0000 0:0 b = "1""#),
                Entry("d 0505 0:0 x/sub"),
                Entry(r#"f 0505 0:0 x/sub/b.txt = "b""#),
                Entry("l 0777 0:0 x/up -> ../one"),
            ],
        ),
        builds(
            "symbols, from what the file has",
            "FROM scratch\nCOPY --chmod=u=rwX,go=rX d tool /x/\nCOPY --chmod=a+x,o-r,g=u one /y\nCOPY --chmod=u+s,+t tool /z\n",
            [
                Entry("d 0755 0:0 x/sub"),
                Entry(r#"f 0644 0:0 x/a.txt = "a""#),
                Entry(r#"f 0755 0:0 x/tool = "t""#),
                Entry(r#"f 0771 0:0 y = "1""#),
                Entry(r#"f 5755 0:0 z = "t""#),
            ],
        ),
        builds(
            "a variable",
            "FROM scratch\nARG M=u=rw,go=r\nCOPY --chmod=$M one /a\n",
            [Entry(r#"f 0644 0:0 a = "1""#)],
        ),
        refused(
            "too large",
            "FROM scratch\nCOPY --chmod=10000 one /a\n",
            ["--chmod", "Containerfile:2:14"],
        ),
        refused(
            "no octal digit",
            "FROM scratch\nCOPY --chmod=089 one /a\n",
            ["--chmod", "Containerfile:2:14"],
        ),
        refused(
            "no symbol, in a stage that is not built",
            "FROM scratch\nCOPY --chmod=rwx one /a\nFROM scratch\nLABEL a=1\n",
            ["--chmod", "Containerfile:2:14"],
        ),
        refused(
            "a variable with a wrong value",
            "FROM scratch\nARG M=u=q\nCOPY --chmod=$M one /a\n",
            ["--chmod", "Containerfile:3:14"],
        ),
    ];
    check(&site, &rows);
}

#[test]
fn from() {
    let site = site!();
    filled(&site);
    let rows = [
        builds(
            "a number counts stages from 0",
            "FROM scratch AS a\nCOPY one /\nFROM scratch\nCOPY two /\nFROM scratch\nCOPY --from=0 /one /x/\nCOPY --from=1 /two /x/\n",
            [
                Entry(r#"f 0640 0:0 x/one = "1""#),
                Entry(r#"f 0644 0:0 x/two = "2""#),
            ],
        ),
        builds(
            "a name in any case",
            "FROM scratch AS first\nCOPY one /\nFROM scratch\nCOPY --from=FIRST /one /x/\n",
            [Entry(r#"f 0640 0:0 x/one = "1""#)],
        ),
        builds(
            "links lead inside the stage",
            "FROM scratch AS a\nCOPY one /real/\nCOPY d /d\nFROM scratch\nCOPY --from=a /d/sub/../../real/../real/one /x\n",
            [Entry(r#"f 0640 0:0 x = "1""#)],
        ),
        refused(
            "itself",
            "FROM scratch\nCOPY --from=0 /one /\n",
            ["Containerfile:2:"],
        ),
        refused(
            "a later stage",
            "FROM scratch\nCOPY --from=late /one /\nFROM scratch AS late\nCOPY --from=0 / /\n",
            ["late", "Containerfile:2:"],
        ),
        refused(
            "a number that is no stage",
            "FROM scratch\nCOPY --from=7 /one /\n",
            ["7", "Containerfile:2:"],
        ),
        refused(
            "a variable",
            "FROM scratch AS a\nARG s=a\nFROM scratch\nCOPY --from=$s /one /\n",
            ["--from does not expand variables", "Containerfile:4:"],
        ),
        refused(
            "a heredoc is no file of a stage",
            "FROM scratch AS a\nCOPY one /\nFROM scratch\nCOPY --from=a /two /x\n",
            ["find '/two'", "Containerfile:4:"],
        ),
        builds(
            "an image that is only named in a stage that is not built is not asked for",
            "FROM scratch AS unused\nCOPY --from=no.such.registry.invalid/x /x /\nFROM scratch\nCOPY one /x\n",
            [Entry(r#"f 0640 0:0 x = "1""#)],
        ),
    ];
    check(&site, &rows);
}

#[test]
fn link() {
    let site = site!();
    filled(&site);
    let odd = site.place.context().join("odd");
    fs::create_dir(&odd).expect("a directory");
    symlink("/elsewhere", odd.join("l")).expect("a link");
    let rows = [
        builds(
            "links of the destination are not followed",
            "FROM scratch\nCOPY odd /\nCOPY --link one /l/one\nCOPY --link one /l\n",
            [
                Entry("l 0777 0:0 l -> /elsewhere"),
                Entry("d 0755 0:0 l"),
                Entry(r#"f 0640 0:0 l/one = "1""#),
                Entry(r#"f 0640 0:0 l = "1""#),
                NoEntry("elsewhere/"),
            ],
        ),
        builds(
            "directories on the way get our mode and owner",
            "FROM scratch\nCOPY --chown=5:6 --chmod=0700 d /p/q/\nCOPY --link one /p/q/sub/one\n",
            [Entry("d 0700 5:6 p/q/sub"), Entry("d 0755 0:0 p/q/sub")],
        ),
        builds(
            "a bare destination is a file, whatever is there",
            "FROM scratch\nCOPY d /x\nCOPY --link one /x\n",
            [Entry(r#"f 0640 0:0 x = "1""#)],
        ),
        builds(
            "with --chmod and --chown",
            "FROM scratch\nCOPY --link --chmod=0604 --chown=3:4 one /x/\n",
            [Entry("d 0755 3:4 x"), Entry(r#"f 0604 3:4 x/one = "1""#)],
        ),
        builds(
            "false is a plain COPY",
            "FROM scratch\nCOPY d /x\nCOPY --link=false one /x\n",
            [Entry(r#"f 0640 0:0 x/one = "1""#)],
        ),
        builds(
            "from a stage",
            "FROM scratch AS links\nCOPY --chown=5 odd /in\nFROM scratch\nCOPY --link --from=links /in /y/\n",
            [Entry("l 0777 5:5 y/l -> /elsewhere")],
        ),
    ];
    check(&site, &rows);
}

#[test]
fn parents() {
    let site = site!();
    filled(&site);
    let rows = [
        builds(
            "keeps the directories of a source, and their modes",
            "FROM scratch\nCOPY --parents d/sub/b.txt one /x/\n",
            [
                Entry("d 0755 0:0 x"),
                Entry("d 0750 0:0 x/d"),
                Entry("d 0711 0:0 x/d/sub"),
                Entry(r#"f 0644 0:0 x/d/sub/b.txt = "b""#),
                Entry(r#"f 0640 0:0 x/one = "1""#),
                NoEntry("c.md"),
            ],
        ),
        builds(
            "from the pivot on",
            "FROM scratch\nCOPY --parents d/./sub/*.txt ./d/./a.txt /x/\n",
            [
                Entry(r#"f 0644 0:0 x/sub/b.txt = "b""#),
                Entry(r#"f 0644 0:0 x/a.txt = "a""#),
                NoEntry("x/d"),
            ],
        ),
        builds(
            "`**` is any number of directories, and none",
            "FROM scratch\nCOPY --parents **/*.txt /x/\nCOPY --parents ./d/./**/?.md /y/\n",
            [
                Entry(r#"f 0644 0:0 x/d/a.txt = "a""#),
                Entry(r#"f 0644 0:0 x/d/sub/b.txt = "b""#),
                Entry(r#"f 0644 0:0 y/sub/c.md = "c""#),
                NoEntry("y/d"),
            ],
        ),
        builds(
            "a directory with all that is in it",
            "FROM scratch\nCOPY --parents d/sub /x/\n",
            [
                Entry(r#"f 0644 0:0 x/d/sub/b.txt = "b""#),
                Entry(r#"f 0644 0:0 x/d/sub/c.md = "c""#),
                NoEntry("a.txt"),
            ],
        ),
        builds(
            "the owner is theirs too",
            "FROM scratch\nCOPY --parents --chown=3:4 d/sub/b.txt /x/\n",
            [
                Entry("d 0750 3:4 x/d"),
                Entry(r#"f 0644 3:4 x/d/sub/b.txt = "b""#),
            ],
        ),
        builds(
            "stays in the context",
            "FROM scratch\nCOPY --parents ../../d/a.txt /x/\n",
            [Entry(r#"f 0644 0:0 x/d/a.txt = "a""#)],
        ),
        builds(
            "of a stage",
            "FROM scratch AS a\nCOPY --chown=5:6 d /in/d\nFROM scratch\nCOPY --from=a --parents /in/./d/sub/*.md /x/\n",
            [
                Entry("d 0755 5:6 x/d"),
                Entry(r#"f 0644 5:6 x/d/sub/c.md = "c""#),
            ],
        ),
        builds(
            "a pattern may match nothing",
            "FROM scratch\nCOPY --parents **/*.none one /x/\n",
            [Entry(r#"f 0640 0:0 x/one = "1""#)],
        ),
        refused(
            "a name may not",
            "FROM scratch\nCOPY --parents d/./none /x/\n",
            ["find '/d/none'", "Containerfile:2:"],
        ),
    ];
    check(&site, &rows);
}

#[test]
fn exclude() {
    let site = site!();
    filled(&site);
    let rows = [
        builds(
            "from the directory that is copied, several times",
            "FROM scratch\nCOPY --exclude=*.txt --exclude=sub/*.md d /x\n",
            [
                Entry(r#"f 0644 0:0 x/sub/b.txt = "b""#),
                NoEntry("a.txt"),
                NoEntry("c.md"),
            ],
        ),
        builds(
            "the last match wins",
            "FROM scratch\nCOPY --exclude=**/*.txt --exclude=!sub/b.txt d /x\nCOPY --exclude=!a.txt --exclude=*.txt d /y\n",
            [
                Entry(r#"f 0644 0:0 x/sub/b.txt = "b""#),
                NoEntry("x/a.txt"),
                NoEntry("y/a.txt"),
            ],
        ),
        builds(
            "an exception below what is excluded",
            "FROM scratch\nCOPY --exclude=sub --exclude=!sub/c.md d /x\n",
            [
                Entry("d 0711 0:0 x/sub"),
                Entry(r#"f 0644 0:0 x/sub/c.md = "c""#),
                NoEntry("b.txt"),
            ],
        ),
        builds(
            "files that a pattern selects, by their names",
            "FROM scratch\nCOPY --exclude=t* --exclude=*.md one two d/sub/* /x/\n",
            [
                Entry(r#"f 0640 0:0 x/one = "1""#),
                Entry(r#"f 0644 0:0 x/b.txt = "b""#),
                NoEntry("two"),
                NoEntry("c.md"),
            ],
        ),
        builds(
            "variables, and a slash in front that means nothing",
            "FROM scratch\nARG E=txt\nCOPY --exclude=/sub/*.$E d /x\n",
            [
                Entry(r#"f 0644 0:0 x/sub/c.md = "c""#),
                Entry(r#"f 0644 0:0 x/a.txt = "a""#),
                NoEntry("b.txt"),
            ],
        ),
        builds(
            "with --parents from the root of the source, or the pivot",
            "FROM scratch\nCOPY --parents --exclude=d/sub/*.txt --exclude=*.md d one /x/\nCOPY --parents --exclude=sub/*.md d/./**/* /y/\n",
            [
                Entry(r#"f 0644 0:0 x/d/a.txt = "a""#),
                Entry(r#"f 0644 0:0 x/d/sub/c.md = "c""#),
                NoEntry("x/d/sub/b.txt"),
                Entry(r#"f 0644 0:0 y/sub/b.txt = "b""#),
                NoEntry("y/sub/c.md"),
            ],
        ),
        refused(
            "an exception to nothing",
            "FROM scratch\nCOPY --exclude=! d /x\n",
            ["--exclude", "Containerfile:2:16"],
        ),
        refused(
            "no pattern",
            "FROM scratch\nCOPY --exclude=[a d /x\n",
            ["--exclude", "Containerfile:2:16"],
        ),
    ];
    check(&site, &rows);
}

#[test]
fn flags() {
    let site = site!();
    filled(&site);
    let rows = [
        refused(
            "--checksum is ADD's",
            "FROM scratch\nCOPY --checksum=sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa one /\n",
            ["--checksum", "Containerfile:2:6"],
        ),
        refused(
            "--keep-git-dir is ADD's",
            "FROM scratch\nCOPY --keep-git-dir one /\n",
            ["--keep-git-dir", "Containerfile:2:6"],
        ),
        refused(
            "--unpack is ADD's",
            "FROM scratch\nCOPY --unpack one /\n",
            ["--unpack", "Containerfile:2:6"],
        ),
        refused(
            "--from is COPY's",
            "FROM scratch\nADD --from=0 one /\n",
            ["--from", "Containerfile:2:5"],
        ),
        refused(
            "--parents is COPY's",
            "FROM scratch\nADD --parents one /\n",
            ["--parents", "Containerfile:2:5"],
        ),
        refused(
            "once each",
            "FROM scratch\nCOPY --chown=1 --chown=2 one /\n",
            ["--chown", "Containerfile:2:16"],
        ),
        refused(
            "a value where there is none",
            "FROM scratch\nCOPY --link=perhaps one /\n",
            ["--link", "Containerfile:2:"],
        ),
        refused(
            "no value where there is one",
            "FROM scratch\nCOPY --chown one /\n",
            ["--chown", "Containerfile:2:6"],
        ),
        refused(
            "no destination",
            "FROM scratch\nCOPY one\n",
            ["at least one source and a destination", "Containerfile:2:"],
        ),
        builds(
            "a blank source is everything, and that is said",
            "FROM scratch\nARG none\nCOPY ${none} /x/\n",
            [
                Entry(r#"f 0640 0:0 x/one = "1""#),
                Warns("blank after expansion"),
            ],
        ),
    ];
    check(&site, &rows);
}
